#include "libcoll/core/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>

#include <cstdlib>

namespace libcoll::detail {

spdlog::logger& log() {
  // Leaked on purpose: destructors of static communicators may still log at exit.
  static spdlog::logger* logger = [] {
    auto* l = new spdlog::logger("libcoll", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    const char* level = std::getenv("LIBCOLL_LOG");
    l->set_level(level ? spdlog::level::from_str(level) : spdlog::level::warn);
    l->set_pattern("[%n %P %l] %v");
    return l;
  }();
  return *logger;
}

}  // namespace libcoll::detail
