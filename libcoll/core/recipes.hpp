// The recipes that callers named, by number: a Call holds a byte, not a string. Numbers are of this
// process; what ranks compare is the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace libcoll::detail {

// 1 to 255; 0 if there are too many different ones already.
std::uint8_t recipe_number(std::string_view text);
const std::string& recipe_text(std::uint8_t number);

}  // namespace libcoll::detail
