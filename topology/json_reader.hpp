// Checked access to parsed JSON. Throws Malformed, which the importers turn into a Failure: half a
// dozen nested lookups read better without a Result at each.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace libcoll::topo {

struct Malformed {
  std::string what;
};

inline constexpr std::size_t max_json_bytes = 64u << 20;

inline nlohmann::json parse_json(std::string_view text) {
  if (text.size() > max_json_bytes) throw Malformed{"JSON larger than 64 MiB"};
  nlohmann::json j = nlohmann::json::parse(text, nullptr, false);
  if (j.is_discarded()) throw Malformed{"not JSON"};
  return j;
}

inline std::string dump_json(const nlohmann::json& j) {
  // Names come from the system and need not be UTF-8; a dump must not throw for that.
  return j.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

inline const nlohmann::json& member(const nlohmann::json& j, const char* key) {
  if (!j.is_object()) throw Malformed{std::string("expected an object that holds '") + key + "'"};
  const auto it = j.find(key);
  if (it == j.end()) throw Malformed{std::string("'") + key + "' is missing"};
  return *it;
}

inline const nlohmann::json& array_member(const nlohmann::json& j, const char* key, std::size_t most) {
  const nlohmann::json& a = member(j, key);
  if (!a.is_array() || a.size() > most)
    throw Malformed{std::string("'") + key + "' must be an array of at most " + std::to_string(most)};
  return a;
}

inline std::string string_member(const nlohmann::json& j, const char* key, std::size_t most = 4096) {
  const nlohmann::json& s = member(j, key);
  if (!s.is_string() || s.get_ref<const std::string&>().size() > most)
    throw Malformed{std::string("'") + key + "' must be a short string"};
  return s.get<std::string>();
}

// Integers only: 1.5, 1e300 and NaN have no conversion that is defined.
inline std::int64_t to_int(const nlohmann::json& n, const char* key, std::int64_t low, std::int64_t high) {
  bool fits = n.is_number_integer();
  std::int64_t v = 0;
  if (fits && n.is_number_unsigned()) {
    const auto u = n.get<std::uint64_t>();
    fits = u <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    v = static_cast<std::int64_t>(fits ? u : 0);
  } else if (fits) {
    v = n.get<std::int64_t>();
  }
  if (!fits || v < low || v > high)
    throw Malformed{std::string("'") + key + "' must be an integer from " + std::to_string(low) + " to " +
                    std::to_string(high)};
  return v;
}

inline std::int64_t int_member(const nlohmann::json& j, const char* key, std::int64_t low,
                               std::int64_t high) {
  return to_int(member(j, key), key, low, high);
}

}  // namespace libcoll::topo
