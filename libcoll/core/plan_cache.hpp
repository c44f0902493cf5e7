// Call -> Plan. A second equal call is one hash and one comparison. Sets of four: with one place each, two calls that a
// program makes by turns would now and then be made anew every time (a barrier and a bcast of 512 bytes were).
#pragma once

#include <array>
#include <memory>
#include <utility>

#include "libcoll/core/plan.hpp"

namespace libcoll::detail {

template <int set_bits>
class PlanTable {
 public:
  // `numbers`: plans are numbered from there on. Tables of one communicator must not number alike.
  explicit PlanTable(std::uint32_t numbers = 0) : made_(numbers) {}

  // The first of its set only: others come there when they are looked for by find().
  const Plan* find_quickly(const Call& call) const noexcept {
    const CallWords k = words_of(call);
    const Plan& p = plans_[first_of(k)];
    return p.words == k ? &p : nullptr;
  }
  // References to plans hold until the next call of this or of insert().
  const Plan* find(const Call& call) {
    const CallWords k = words_of(call);
    const std::size_t first = first_of(k);
    for (std::size_t i = first; i < first + ways; ++i) {
      if (!(plans_[i].words == k)) continue;
      if (i != first) {
        std::swap(plans_[i], plans_[first]);
        if (programs_ != nullptr) std::swap((*programs_)[i], (*programs_)[first]);
      }
      return &plans_[first];
    }
    return nullptr;
  }
  // `program`: what plan.program points to, kept as long as the plan. It goes first; the last of its set is forgotten.
  const Plan& insert(Plan plan, std::shared_ptr<exec::Program> program = nullptr) {
    plan.words = words_of(plan.call);
    plan.number = new_number();
    const std::size_t first = first_of(plan.words);
    std::size_t i = first;
    while (i < first + ways - 1 && !(plans_[i].words == plan.words) && !(plans_[i].words == no_call)) ++i;
    if (program != nullptr && programs_ == nullptr) programs_ = std::make_unique<Programs>();
    for (; i > first; --i) {
      plans_[i] = plans_[i - 1];
      if (programs_ != nullptr) (*programs_)[i] = std::move((*programs_)[i - 1]);
    }
    if (programs_ != nullptr) (*programs_)[first] = std::move(program);
    return plans_[first] = plan;
  }

  // For a plan that is kept elsewhere, too.
  std::uint32_t new_number() noexcept { return ++made_; }

 private:
  static constexpr std::size_t ways = 4, places = ways << set_bits;
  using Programs = std::array<std::shared_ptr<exec::Program>, places>;
  static std::size_t first_of(const CallWords& k) noexcept {
    return (((k.w[0] << 8 ^ k.w[1] ^ k.w[2]) * 0x9e3779b97f4a7c15u) >> (64 - set_bits)) * ways;
  }
  std::array<Plan, places> plans_{};
  std::uint32_t made_;
  std::unique_ptr<Programs> programs_;  // where schedules are needed at all
};

using PlanCache = PlanTable<5>;

}  // namespace libcoll::detail
