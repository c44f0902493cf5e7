#include "libcoll/algorithms/recipe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace libcoll::algo {

namespace {

using detail::failure;
using detail::Result;

constexpr std::int64_t max_slices = 1 << 20, max_radix = 1 << 20;

auto wrong(std::string_view recipe, std::string text) {
  return failure(Errc::invalid_argument, fmt::format("recipe \"{}\": {}", recipe, text));
}

bool is_name(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

std::optional<Level> level_named(std::string_view name) {
  for (int i = 0; i < level_count; ++i)
    if (name == name_of(static_cast<Level>(i))) return static_cast<Level>(i);
  return std::nullopt;
}

std::optional<std::int64_t> number(std::string_view s) {
  std::int64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (s.empty() || error != std::errc{} || end != s.data() + s.size()) return std::nullopt;
  return v;
}

// Cuts off and returns what comes before the first `by`; all of it if there is none.
std::string_view cut(std::string_view& rest, char by) {
  const auto at = rest.find(by);
  const std::string_view head = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view{} : rest.substr(at + 1);
  return head;
}

// One "key=value"; an error text, or nothing.
std::string take_option(Recipe& r, std::string_view option) {
  std::string_view value = option;
  const std::string_view key = cut(value, '=');
  if (option.find('=') == std::string_view::npos) return fmt::format("\"{}\" is not of the form key=value", option);
  if (key != "slices" && key != "chunk" && key != "radix") return fmt::format("unknown key \"{}\": there are slices, chunk and radix", key);
  if (key == "slices" && value == "all") {
    r.slices = all_slices;
    return {};
  }
  const auto v = number(value);
  if (!v) return fmt::format("{} is \"{}\", which is not a number{}", key, value, key == "slices" ? " nor \"all\"" : "");
  if (key == "slices") {
    if (*v < 1 || *v > max_slices) return fmt::format("slices is {}; it must be all or 1 to {}", *v, max_slices);
    r.slices = static_cast<int>(*v);
  } else if (key == "chunk") {
    if (*v < 1) return fmt::format("chunk is {}; it must be at least 1 element", *v);
    r.chunk = *v;
  } else {
    if (*v < 2 || *v > max_radix) return fmt::format("radix is {}; it must be 2 to {}", *v, max_radix);
    r.radix = static_cast<int>(*v);
  }
  return {};
}

}  // namespace

Result<Recipe> parse_recipe(std::string_view text) {
  Recipe r;
  std::string_view rest = text;
  const bool has_options = text.find(':') != std::string_view::npos;
  std::string_view head = cut(rest, ':');
  if (const auto slash = head.find('/'); slash != std::string_view::npos) {
    std::string_view levels = head.substr(0, slash);
    head.remove_prefix(slash + 1);
    if (levels.empty()) return wrong(text, "no level before the slash");
    for (bool more = true; more;) {
      more = levels.find(',') != std::string_view::npos;
      const std::string_view name = cut(levels, ',');
      const auto level = level_named(name);
      if (!level) return wrong(text, fmt::format("unknown level \"{}\"", name));
      if (*level == Level::world) return wrong(text, "the world is where the algorithm itself runs; leave it out");
      if (std::find(r.over.begin(), r.over.end(), *level) != r.over.end()) return wrong(text, fmt::format("level {} is named twice", name));
      r.over.push_back(*level);
    }
  }
  if (head.empty()) return wrong(text, "no algorithm");
  if (!is_name(head)) return wrong(text, fmt::format("\"{}\" is not an algorithm's name: small letters, digits and underscores", head));
  r.algorithm = head;
  if (has_options && rest.empty()) return wrong(text, "nothing after the colon");
  std::vector<std::string_view> seen;
  for (bool more = has_options; more;) {
    more = rest.find(',') != std::string_view::npos;
    const std::string_view option = cut(rest, ',');
    if (const std::string error = take_option(r, option); !error.empty()) return wrong(text, error);
    const std::string_view key = option.substr(0, option.find('='));
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) return wrong(text, fmt::format("{} is given twice", key));
    seen.push_back(key);
  }
  return r;
}

std::string to_text(const Recipe& r) {
  std::string out;
  for (const Level level : r.over) out += fmt::format("{}{}", out.empty() ? "" : ",", name_of(level));
  if (!out.empty()) out += '/';
  out += r.algorithm;
  char before = ':';
  const auto add = [&](std::string_view key, const auto& value) {
    out += fmt::format("{}{}={}", before, key, value);
    before = ',';
  };
  if (r.slices == all_slices) add("slices", "all");
  else if (r.slices != 1) add("slices", r.slices);
  if (r.chunk != 0) add("chunk", r.chunk);
  if (r.radix != 2) add("radix", r.radix);
  return out;
}

}  // namespace libcoll::algo
