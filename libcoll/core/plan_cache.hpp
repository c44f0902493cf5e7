// Call -> Plan. Direct-mapped: a second equal call is one hash and one comparison.
#pragma once

#include <array>
#include <memory>
#include <utility>

#include "libcoll/core/plan.hpp"

namespace libcoll::detail {

class PlanCache {
 public:
  // `numbers`: plans are numbered from there on. Caches of one communicator must not number alike.
  explicit PlanCache(std::uint32_t numbers = 0) : made_(numbers) {}
  const Plan* find(const Call& call) const noexcept {
    const CallWords k = words_of(call);
    const Plan& p = plans_[index(k)];
    return p.words == k ? &p : nullptr;
  }
  // `program`: what plan.program points to, kept as long as the plan.
  const Plan& insert(Plan plan, std::shared_ptr<exec::Program> program = nullptr) {
    plan.words = words_of(plan.call);
    plan.number = new_number();
    const std::size_t i = index(plan.words);
    if (program != nullptr || programs_ != nullptr) {
      if (programs_ == nullptr) programs_ = std::make_unique<Programs>();
      (*programs_)[i] = std::move(program);
    }
    return plans_[i] = plan;
  }

  // For a plan that is kept elsewhere, too.
  std::uint32_t new_number() noexcept { return ++made_; }

 private:
  static constexpr std::size_t bits = 6;
  using Programs = std::array<std::shared_ptr<exec::Program>, std::size_t{1} << bits>;
  static std::size_t index(const CallWords& k) noexcept {
    return ((k.w[0] << 8 ^ k.w[1] ^ k.w[2]) * 0x9e3779b97f4a7c15u) >> (64 - bits);
  }
  std::array<Plan, std::size_t{1} << bits> plans_{};
  std::uint32_t made_;
  std::unique_ptr<Programs> programs_;  // where schedules are needed at all
};

}  // namespace libcoll::detail
