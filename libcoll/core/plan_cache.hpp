// Call -> Plan. Direct-mapped: a second equal call is one hash and one comparison.
#pragma once

#include <array>

#include "libcoll/core/plan.hpp"

namespace libcoll::detail {

class PlanCache {
 public:
  const Plan* find(const Call& call) const noexcept {
    const CallWords k = words_of(call);
    const Plan& p = plans_[index(k)];
    return p.words == k && p.run != nullptr ? &p : nullptr;
  }
  const Plan& insert(Plan plan) {
    plan.words = words_of(plan.call);
    return plans_[index(plan.words)] = plan;
  }

 private:
  static constexpr std::size_t bits = 6;
  static std::size_t index(const CallWords& k) noexcept {
    return ((k.w[0] << 8 ^ k.w[1] ^ k.w[2]) * 0x9e3779b97f4a7c15u) >> (64 - bits);
  }
  std::array<Plan, std::size_t{1} << bits> plans_{};
};

}  // namespace libcoll::detail
