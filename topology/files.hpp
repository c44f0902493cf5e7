// Small files, whole. Also the seam through which tests hand in their own /proc and /sys.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "libcoll/core/result.hpp"

namespace libcoll::topo {

// A failure names the path and the reason; more than `most_bytes` is a failure as well.
detail::Result<std::string> read_file(const std::string& path, std::size_t most_bytes);
detail::Result<void> write_file(const std::string& path, std::string_view text);

// The content of a path; nothing where it can't be read.
using FileReader = std::function<std::optional<std::string>(const std::string& path)>;
FileReader system_files();

}  // namespace libcoll::topo
