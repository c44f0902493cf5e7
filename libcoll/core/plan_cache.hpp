// Call -> Plan. Direct-mapped: a second equal call is one hash and one comparison.
#pragma once

#include <array>
#include <memory>

#include "libcoll/core/plan.hpp"

namespace libcoll::detail {

class PlanCache {
 public:
  const Plan* find(const Call& call) const noexcept {
    const Plan& p = plans_[index(call)];
    return p.run != nullptr && p.call == call ? &p : nullptr;
  }
  const Plan& insert(const Plan& plan) { return plans_[index(plan.call)] = plan; }

 private:
  static constexpr std::size_t bits = 6;
  static std::size_t index(const Call& call) noexcept {
    const CallWords k = words_of(call);
    return ((k.w[0] ^ k.w[1] * 0x9e3779b97f4a7c15u ^ k.w[2]) * 0xd6e8feb86659fd93u) >> (64 - bits);
  }
  std::array<Plan, std::size_t{1} << bits> plans_{};
};

}  // namespace libcoll::detail
