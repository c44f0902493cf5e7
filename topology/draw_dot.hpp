// What the writers of DOT share.
#pragma once

#include <string>
#include <string_view>

namespace libcoll::topo::drawing {

// In quotes and escaped: any text is one label, that is shown as it is.
std::string dot_string(std::string_view);
// The beginning of a graph, up to its first statement.
std::string dot_head(std::string_view label);

}  // namespace libcoll::topo::drawing
