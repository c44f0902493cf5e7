#include "libcoll/schedule/problem.hpp"

#include <algorithm>
#include <numeric>

namespace libcoll::sched {

Team team_of(std::vector<int> ranks, int rank) {
  const auto at = std::find(ranks.begin(), ranks.end(), rank);
  const int me = at == ranks.end() ? -1 : static_cast<int>(at - ranks.begin());
  return {std::move(ranks), me};
}

Team everyone(int size, int rank) {
  Team team{std::vector<int>(static_cast<std::size_t>(size)), rank};
  std::iota(team.ranks.begin(), team.ranks.end(), 0);
  return team;
}

int Problem::group_with(const std::vector<int>& members) const {
  const auto at = std::find(groups.begin(), groups.end(), members);
  return at == groups.end() ? -1 : static_cast<int>(at - groups.begin());
}

const char* name_of(Kind k) noexcept {
  static constexpr const char* names[] = {"send", "recv", "copy", "reduce", "finish", "native"};
  return names[static_cast<int>(k)];
}

}  // namespace libcoll::sched
