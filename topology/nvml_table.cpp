#include "topology/nvml_table.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <string>
#include <type_traits>

namespace libcoll::topo::nvml {

std::uint64_t mb_per_link(LinkVersion version) noexcept {
  switch (version) {
    case LinkVersion::v1_0: return 20000;
    // From 2 to 4, lanes became faster and links narrower.
    case LinkVersion::v2_0:
    case LinkVersion::v2_2:
    case LinkVersion::v3_0:
    case LinkVersion::v3_1:
    case LinkVersion::v4_0: return 25000;
    case LinkVersion::v5_0: return 50000;
  }
  return 0;
}

std::string complaints_of(unsigned health_mask) {
  struct Item {
    unsigned shift, bits, first_bad, last_bad;
    const char* text;
  };
  // 0 is "not supported" in each. What is in order is 2 in the first four, 1 in the fifth.
  constexpr Item items[] = {{0, 3, 1, 1, "degraded bandwidth"},
                            {2, 3, 1, 1, "route recovery in progress"},
                            {4, 3, 1, 1, "route unhealthy"},
                            {6, 3, 1, 1, "recovering from an access timeout"},
                            {8, 15, 2, 15, "incorrect configuration"}};
  std::string all;
  for (const Item& item : items)
    if (const unsigned v = health_mask >> item.shift & item.bits; v >= item.first_bad && v <= item.last_bad)
      all += (all.empty() ? "" : ", ") + std::string(item.text);
  return all;
}

detail::Result<Table> load_nvml(const char* library) {
  const auto unsupported = [](std::string text) {
    return detail::failure(Errc::unsupported, std::move(text));
  };
  void* const handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = ::dlerror();
    return unsupported(why != nullptr ? why : fmt::format("{}: cannot be opened", library));
  }
  Table table;
  std::string missing;
  for_each_function(table, [&](const char* symbol, auto& member, bool is_required) {
    member = reinterpret_cast<std::remove_reference_t<decltype(member)>>(::dlsym(handle, symbol));
    if (member == nullptr && is_required) missing += (missing.empty() ? "" : ", ") + std::string(symbol);
  });
  if (missing.empty()) return table;
  ::dlclose(handle);
  return unsupported(fmt::format("{} lacks {}", library, missing));
}

}  // namespace libcoll::topo::nvml
