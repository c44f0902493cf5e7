#include "libcoll/planning/tuning.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

namespace libcoll::planning {

using detail::Coll;
using detail::failure;
using Json = nlohmann::ordered_json;

std::string fingerprint_of(const sched::Problem& p) {
  std::string text = fmt::format("{}", p.size);
  for (auto level = p.levels.rbegin(); level != p.levels.rend(); ++level) {
    const auto& groups = level->members;
    const bool equal = std::all_of(groups.begin(), groups.end(), [&](const auto& g) { return g.size() == groups[0].size(); });
    std::string shape;
    if (equal) shape = fmt::format("{}x{}", groups.size(), groups[0].size());
    else
      for (const auto& g : groups) shape += fmt::format("{}{}", shape.empty() ? "" : ",", g.size());
    text += fmt::format("/{} {}", name_of(level->level), shape);
  }
  return text;
}

namespace {

constexpr const char* by_library = "default";

detail::Result<Coll> coll_named(const std::string& name) {
  for (int i = 0; i < detail::coll_count; ++i)
    if (name == name_of(static_cast<Coll>(i))) return static_cast<Coll>(i);
  return failure(Errc::invalid_argument, fmt::format("collective \"{}\" is unknown", name));
}

template <class T>
detail::Result<T> field(const Json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end()) return failure(Errc::invalid_argument, fmt::format("\"{}\" is missing", name));
  try {
    return at->template get<T>();
  } catch (const Json::exception&) {
    return failure(Errc::invalid_argument, fmt::format("\"{}\" has the wrong type", name));
  }
}

detail::Result<std::pair<Coll, TuningTable::Rule>> rule_from(const Json& json) {
  const auto name = field<std::string>(json, "collective");
  if (!name) return tl::unexpected(name.error());
  const auto coll = coll_named(*name);
  if (!coll) return tl::unexpected(coll.error());
  const auto at = json.find("up_to_bytes");
  if (at == json.end() || !at->is_number_unsigned()) return failure(Errc::invalid_argument, "\"up_to_bytes\" must be a number of bytes");
  const auto text = field<std::string>(json, "recipe");
  if (!text) return tl::unexpected(text.error());
  if (*text == by_library) return std::pair{*coll, TuningTable::Rule{at->get<std::uint64_t>(), {}}};
  auto recipe = algo::parse_recipe(*text);
  if (!recipe) return tl::unexpected(recipe.error());
  return std::pair{*coll, TuningTable::Rule{at->get<std::uint64_t>(), std::move(*recipe)}};
}

}  // namespace

std::uint64_t block_bytes(const sched::Problem& p, std::uint32_t element_bytes) {
  const std::int64_t count = p.counts.empty() ? p.count : std::accumulate(p.counts.begin(), p.counts.end(), std::int64_t{0}) / p.size;
  return static_cast<std::uint64_t>(count) * element_bytes;
}

void TuningTable::remove(const std::string& fingerprint, Coll coll) {
  if (const auto job = jobs_.find(fingerprint); job != jobs_.end()) job->second.erase(coll);
}

void TuningTable::add(const std::string& fingerprint, Coll coll, const Rule& rule) {
  auto& rules = jobs_[fingerprint][coll];
  const auto at = std::upper_bound(rules.begin(), rules.end(), rule, [](const Rule& a, const Rule& b) { return a.up_to_bytes < b.up_to_bytes; });
  rules.insert(at, rule);
}

detail::Result<TuningTable> TuningTable::parse(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return failure(Errc::invalid_argument, "not JSON");
  if (!json.is_object()) return failure(Errc::invalid_argument, "not a JSON object");
  const auto version = field<int>(json, "libcoll_tuning");
  if (!version) return tl::unexpected(version.error());
  if (*version != 1) return failure(Errc::invalid_argument, fmt::format("\"libcoll_tuning\" is {}; this version reads 1", *version));
  const auto jobs = json.find("jobs");
  if (jobs == json.end() || !jobs->is_array()) return failure(Errc::invalid_argument, "\"jobs\" must be an array");
  TuningTable table;
  for (std::size_t j = 0; j < jobs->size(); ++j) {
    const Json& job = (*jobs)[j];
    const auto fail = [&](std::size_t rule, const std::string& what) { return failure(Errc::invalid_argument, fmt::format("jobs[{}].rules[{}]: {}", j, rule, what)); };
    if (!job.is_object()) return failure(Errc::invalid_argument, fmt::format("jobs[{}] is not an object", j));
    const auto fingerprint = field<std::string>(job, "fingerprint");
    if (!fingerprint) return failure(Errc::invalid_argument, fmt::format("jobs[{}]: {}", j, fingerprint.error().text));
    const auto rules = job.find("rules");
    if (rules == job.end() || !rules->is_array()) return failure(Errc::invalid_argument, fmt::format("jobs[{}]: \"rules\" must be an array", j));
    for (std::size_t i = 0; i < rules->size(); ++i) {
      if (!(*rules)[i].is_object()) return fail(i, "not an object");
      const auto rule = rule_from((*rules)[i]);
      if (!rule) return fail(i, rule.error().text);
      table.add(*fingerprint, rule->first, rule->second);
    }
  }
  return table;
}

const algo::Recipe* TuningTable::find(const sched::Problem& p, std::uint32_t element_bytes) const {
  const auto job = jobs_.find(fingerprint_of(p));
  if (job == jobs_.end()) return nullptr;
  const auto rules = job->second.find(p.coll);
  if (rules == job->second.end()) return nullptr;
  const std::uint64_t bytes = block_bytes(p, element_bytes);
  for (const Rule& r : rules->second)
    if (bytes <= r.up_to_bytes) return r.recipe.algorithm.empty() ? nullptr : &r.recipe;
  return nullptr;
}

std::string TuningTable::to_json() const {
  Json json{{"libcoll_tuning", 1}, {"jobs", Json::array()}};
  for (const auto& [fingerprint, colls] : jobs_) {
    Json job{{"fingerprint", fingerprint}, {"rules", Json::array()}};
    for (const auto& [coll, rules] : colls)
      for (const Rule& r : rules) job["rules"].push_back({{"collective", name_of(coll)}, {"up_to_bytes", r.up_to_bytes}, {"recipe", r.recipe.algorithm.empty() ? by_library : algo::to_text(r.recipe)}});
    json["jobs"].push_back(std::move(job));
  }
  return json.dump(1);
}

}  // namespace libcoll::planning
