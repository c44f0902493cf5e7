// Which way a call on GPU memory goes: a device schedule, or (null) host memory. Depends on values that are equal on all ranks.
#include <fmt/format.h>

#include <algorithm>

#include "libcoll/core/comm_impl.hpp"
#include "libcoll/core/recipes.hpp"
#include "transports/nccl/nccl_ops.hpp"

namespace libcoll::detail {

namespace {

bool reduces(Coll c) {
  return c == Coll::reduce || c == Coll::allreduce || c == Coll::reduce_scatter || c == Coll::reduce_scatter_block || c == Coll::scan || c == Coll::exscan;
}

}  // namespace

// Why NCCL cannot do this, or nothing.
std::string DeviceSide::objection(const Call& call) const {
  if (!staged_only_.empty()) return staged_only_;
  if (!reduces(call.coll)) return {};
  if (call.op == Op::custom) return "operations of the caller run on CPUs";
  if (!nccl::supports(call.dtype, call.op, runtime_->nccl->version)) return fmt::format("NCCL has no {} of {}", name_of(call.op), name_of(call.dtype));
  if (static_cast<Determinism>(call.determinism) == Determinism::placement) return "NCCL's order of operands depends on the placement";
  return {};
}

sched::Problem DeviceSide::problem_of(const Call& call, std::span<const Count> counts) const {
  sched::Problem p = comm_.problem_of(call, counts);
  p.in_place = call.in_place != 0 && call.coll != Coll::alltoallv;  // whose operands are put aside, see launch
  p.levels.clear();
  p.groups.clear();
  for (const exec::DeviceGroup& g : site_->groups) p.groups.push_back(g.ranks);
  return p;
}

Result<algo::DeviceRecipe> DeviceSide::choose(const sched::Problem& problem, const Call& call) {
  const std::string wish = comm_.device_wish_for(call);
  if (wish.empty()) {
    const auto all = algo::device_candidates(problem, device_groups_);
    if (all.empty()) return failure(Errc::unsupported, "no NCCL operation does this");
    return all.front();
  }
  const auto recipe = algo::parse_device_recipe(wish);
  if (!recipe) return tl::make_unexpected(recipe.error());
  if (std::string why = algo::refuses_device(problem, device_groups_, *recipe); !why.empty()) return failure(Errc::invalid_argument, fmt::format("algorithm \"{}\": {}", wish, why));
  return *recipe;
}

const exec::DeviceProgram* DeviceSide::program_for(const Call& call, const Args& args) {
  const bool wants_staging = comm_.device_wish_for(call) == staged_recipe;
  if (wants_staging || !objection(call).empty()) return nullptr;
  const std::span<const Count> counts = counts_are_hashed(call.coll) ? std::span(args.recv_counts, static_cast<std::size_t>(comm_.size())) : std::span<const Count>{};
  const CallWords words = words_of(call);
  const std::tuple key(words.w[0], words.w[1], words.w[2]);
  if (const auto known = programs_.find(key); known != programs_.end()) {
    const exec::DeviceProgram& p = known->second;
    if (std::equal(counts.begin(), counts.end(), p.counts.begin(), p.counts.end())) return &p;
    programs_.erase(known);
  }
  const sched::Problem problem = problem_of(call, counts);
  const auto recipe = choose(problem, call);
  if (!recipe) {
    if (recipe.error().code == Errc::invalid_argument) comm_.refuse(call.coll, recipe.error().text);
    return nullptr;
  }
  const device::Current current(runtime_->cuda, device_);
  auto program = exec::compile_for_devices(call, algo::build_device(problem, device_groups_, *recipe, comm_.rank()), *site_);
  if (!program) throw Error(program.error().code, fmt::format("libcoll: rank {} of {}: {}", comm_.rank(), comm_.size(), program.error().text));
  program->text = algo::to_text(*recipe);
  program->counts.assign(counts.begin(), counts.end());
  if (programs_.size() >= most_programs) programs_.clear();
  return &programs_.emplace(key, std::move(*program)).first->second;
}

}  // namespace libcoll::detail
