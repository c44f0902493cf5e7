// One logger for the library: stderr, level from LIBCOLL_LOG (trace, debug, info, warn, error, off;
// default warn). Never used on a hot path.
#pragma once

#include <spdlog/spdlog.h>

namespace libcoll::detail {
spdlog::logger& log();
}  // namespace libcoll::detail
