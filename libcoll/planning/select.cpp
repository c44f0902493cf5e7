#include "libcoll/planning/select.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace libcoll::planning {

using detail::failure;

std::vector<Choice> rank_candidates(const sched::Problem& p, const Costs& costs, std::uint32_t element_bytes) {
  std::vector<Choice> all;
  for (algo::Recipe& r : algo::candidates(p)) {
    const double us = predict_us(p, r, costs, element_bytes);
    all.push_back({std::move(r), us, "cost model"});
  }
  // Ties keep the catalogue's order, which is the same everywhere.
  std::stable_sort(all.begin(), all.end(), [](const Choice& a, const Choice& b) { return a.predicted_us < b.predicted_us; });
  // Predictions are no better than this. What waits less often for other ranks and sends no more is then the better guess: over
  // TCP an allreduce of two hosts in one exchange took 0.6 of the time of halving and doubling, where both were predicted alike.
  constexpr double doubt = 1.1;
  auto best = all.begin();
  Messages fewest = all.empty() ? Messages{} : messages_of(p, best->recipe);
  for (auto c = all.begin(); c != all.end() && c->predicted_us <= doubt * all.front().predicted_us; ++c)
    if (const Messages m = messages_of(p, c->recipe); m.rounds < fewest.rounds && m.elements <= fewest.elements) best = c, fewest = m;
  std::rotate(all.begin(), best, best == all.end() ? best : std::next(best));
  return all;
}

detail::Result<Choice> choose(const sched::Problem& p, const Wish& wish, const TuningTable* tuning, const Costs& costs, std::uint32_t element_bytes) {
  if (!wish.recipe.empty()) {
    const auto recipe = algo::parse_recipe(wish.recipe);
    if (!recipe) return tl::unexpected(recipe.error());
    if (const std::string why = algo::refuses(p, *recipe); !why.empty())
      return failure(Errc::invalid_argument, fmt::format("algorithm \"{}\": {}", wish.recipe, why));
    return Choice{*recipe, predict_us(p, *recipe, costs, element_bytes), wish.whose};
  }
  if (tuning != nullptr) {
    const algo::Recipe* r = tuning->find(p, element_bytes);
    if (r != nullptr && algo::refuses(p, *r).empty()) return Choice{*r, predict_us(p, *r, costs, element_bytes), "tuning file"};
  }
  std::vector<Choice> all = rank_candidates(p, costs, element_bytes);
  if (all.empty()) return failure(Errc::internal, fmt::format("no algorithm solves {} of {} ranks", name_of(p.coll), p.size));
  return std::move(all.front());
}

}  // namespace libcoll::planning
