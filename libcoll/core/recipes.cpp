#include "libcoll/core/recipes.hpp"

#include <deque>
#include <mutex>

namespace libcoll::detail {

namespace {
std::mutex mutex;
std::deque<std::string>& texts() {
  static std::deque<std::string> all(1);
  return all;
}
}  // namespace

std::uint8_t recipe_number(std::string_view text) {
  const std::lock_guard lock(mutex);
  auto& all = texts();
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i] == text) return static_cast<std::uint8_t>(i);
  if (all.size() > 255) return 0;
  all.emplace_back(text);
  return static_cast<std::uint8_t>(all.size() - 1);
}

const std::string& recipe_text(std::uint8_t number) {
  const std::lock_guard lock(mutex);
  return texts()[number];  // a deque's elements stay where they are
}

}  // namespace libcoll::detail
