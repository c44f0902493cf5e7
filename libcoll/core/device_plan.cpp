// Which way a call on GPU memory goes: a device schedule, or (null) host memory. Depends on values that are equal on all ranks.
#include <fmt/format.h>

#include <algorithm>

#include "libcoll/core/comm_impl.hpp"
#include "libcoll/core/recipes.hpp"
#include "transports/nccl/nccl_ops.hpp"

namespace libcoll::detail {

// Why NCCL cannot do this, or nothing.
std::string DeviceSide::objection(const Call& call) const {
  if (!staged_only_.empty()) return staged_only_;
  if (!is_reduction(call.coll)) return {};
  if (call.op == Op::custom) return "operations of the caller run on CPUs";
  if (!nccl::supports(call.dtype, call.op, runtime_->nccl->version)) return fmt::format("NCCL has no {} of {}", name_of(call.op), name_of(call.dtype));
  if (static_cast<Determinism>(call.determinism) == Determinism::placement) return "NCCL's order of operands depends on the placement";
  return {};
}

bool DeviceSide::passes_through_host_memory(const Call& call) const {
  if (static_cast<int>(call.dtype) >= dtype_count || static_cast<int>(call.op) > op_count) return false;
  return comm_.device_wish_for(call) == staged_recipe || !objection(call).empty();
}

sched::Problem DeviceSide::problem_of(const Call& call, std::span<const Count> counts) const {
  sched::Problem p = comm_.problem_of(call, counts);
  p.in_place = call.in_place != 0 && call.coll != Coll::alltoallv;  // whose operands are put aside, see launch
  p.levels.clear();
  p.groups.clear();
  for (const exec::DeviceGroup& g : site_->groups) p.groups.push_back(g.ranks);
  return p;
}

planning::DeviceSituation DeviceSide::situation_of(const Call& call, std::span<const Count> counts, const CallOptions& o) {
  planning::DeviceSituation s;
  // A call on a stream is to return before its work is done; through host memory it would not.
  if (o.stream.given) s.capturing = is_capturing(call, stream_of(o));
  else s.host_us = comm_.predicted_us(call, counts);
  return s;
}

// No recipe: through host memory.
Result<std::optional<algo::DeviceRecipe>> DeviceSide::choose(const sched::Problem& problem, const Call& call, const planning::DeviceSituation& situation) {
  const std::string wish = comm_.device_wish_for(call);
  if (wish == staged_recipe) return std::nullopt;
  if (wish.empty()) {
    const auto all = planning::choose_device(problem, device_groups_, comm_.world().device_costs, call.element_bytes, situation);
    if (all.empty() || all.front().staged) return std::nullopt;
    return all.front().recipe;
  }
  const auto recipe = algo::parse_device_recipe(wish);
  if (!recipe) return tl::make_unexpected(recipe.error());
  if (std::string why = algo::refuses_device(problem, device_groups_, *recipe); !why.empty()) return failure(Errc::invalid_argument, fmt::format("algorithm \"{}\": {}", wish, why));
  return *recipe;
}

const exec::DeviceProgram* DeviceSide::program_for(const Call& call, const Args& args, const CallOptions& o) {
  if (const std::string why = objection(call); !why.empty()) {
    const std::string wish = comm_.device_wish_for(call);
    if (!wish.empty() && wish != staged_recipe) comm_.refuse_alike(call.coll, fmt::format("algorithm \"{}\": {}", wish, why));
    return nullptr;
  }
  const std::span<const Count> counts = counts_are_hashed(call.coll) ? std::span(args.recv_counts, static_cast<std::size_t>(comm_.size())) : std::span<const Count>{};
  const CallWords words = words_of(call);
  const std::tuple key(words.w[0], words.w[1], words.w[2], !o.stream.given ? 0 : is_capturing(call, stream_of(o)) ? 2 : 1);
  if (const auto at = known_.find(key); at != known_.end()) {
    if (std::equal(counts.begin(), counts.end(), at->second.counts.begin(), at->second.counts.end())) return at->second.program ? &*at->second.program : nullptr;
    known_.erase(at);
  }
  const sched::Problem problem = problem_of(call, counts);
  const auto recipe = choose(problem, call, situation_of(call, counts, o));
  if (!recipe) comm_.refuse_alike(call.coll, recipe.error().text);
  if (known_.size() >= most_programs) known_.clear();
  Known made{.counts = {counts.begin(), counts.end()}, .program = {}};
  if (*recipe) {
    try {
      const device::Current current(runtime_->cuda, device_);
      auto program = exec::compile_for_devices(call, algo::build_device(problem, device_groups_, **recipe, comm_.rank()), *site_);
      if (!program) throw Error(program.error().code, fmt::format("libcoll: {}", program.error().text));
      program->text = algo::to_text(**recipe);
      made.program = std::move(*program);
    } catch (const std::exception& error) {
      give_up(name_of(call.coll), error);
    }
  }
  const auto at = known_.insert_or_assign(key, std::move(made)).first;
  return at->second.program ? &*at->second.program : nullptr;
}

std::string DeviceSide::explain(const Call& call, std::span<const Count> counts, const CallOptions& o) {
  if (!connected_) return "  on GPU memory: decided at the first such call, when ranks tell each other what GPUs they have\n";
  if (const std::string why = objection(call); !why.empty()) return fmt::format("  on GPU memory: staged through host memory ({}), then as in host memory\n", why);
  const sched::Problem problem = problem_of(call, counts);
  const planning::DeviceSituation situation = situation_of(call, counts, o);
  const auto chosen = choose(problem, call, situation);
  if (!chosen) throw Error(chosen.error().code, fmt::format("libcoll: rank {} of {}: {}: {}", comm_.rank(), comm_.size(), name_of(call.coll), chosen.error().text));
  const std::string way = *chosen ? algo::to_text(**chosen) : staged_recipe;
  std::string text = fmt::format("  on GPU memory: {}{}\n", way, comm_.device_wish_for(call).empty() ? "" : " (caller or environment)");
  for (const planning::DeviceChoice& c : planning::choose_device(problem, device_groups_, comm_.world().device_costs, call.element_bytes, situation))
    text += fmt::format("    {:<44} {:>12.2f} us  {}\n", c.staged ? staged_recipe : algo::to_text(c.recipe), c.predicted_us, c.why);
  return text;
}

}  // namespace libcoll::detail
