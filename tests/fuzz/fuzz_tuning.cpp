// Tuning files and recipes: whatever the bytes, an error or a value that survives a round trip.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "libcoll/planning/tuning.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto recipe = libcoll::algo::parse_recipe(text)) {
    const auto again = libcoll::algo::parse_recipe(libcoll::algo::to_text(*recipe));
    if (!again || *again != *recipe) std::abort();
  }
  if (const auto table = libcoll::planning::TuningTable::parse(text)) {
    const auto again = libcoll::planning::TuningTable::parse(table->to_json());
    if (!again || again->to_json() != table->to_json()) std::abort();
  }
  return 0;
}
