#include "libcoll/execution/program.hpp"

#include "libcoll/execution/ranges.hpp"
#include "libcoll/execution/run.hpp"
#include "libcoll/kernels/convert.hpp"

#include <algorithm>
#include <numeric>

namespace libcoll::exec {

using detail::Coll;
using sched::Kind;
using sched::Part;
using sched::Step;

namespace {

std::uint32_t mix(std::uint64_t h, std::uint64_t v) {
  h = (h ^ v) * 0x9e3779b97f4a7c15u;
  return static_cast<std::uint32_t>((h ^ h >> 29) >> 16);
}

// The operation of one native step as a plan of its group. Its members find the same shape, since parts
// of operations whose shape depends on them are equal on all.
Native native_for(const Call& call, std::uint32_t signature, std::uint64_t ordinal, const sched::Schedule& s, const Step& step, xport::shm::Group& group) {
  Native n;
  std::span<const Part> parts(s.parts.data() + step.first, step.many);
  Call c = call;
  c.coll = step.native;
  c.root = static_cast<std::uint32_t>(step.root);
  c.in_place = 0;
  // The caller's word about shapes inside a host goes for the native steps that have them.
  const bool shaped = call.algorithm == detail::Algorithm::grouped ? step.native == Coll::barrier : step.native == Coll::reduce || step.native == Coll::allreduce;
  if (!shaped) c.algorithm = detail::Algorithm::automatic;
  c.count = std::max(step.from.count, step.to.count);
  const auto split = [](std::span<const Part> from, std::vector<Count>& counts, std::vector<Count>& displs) {
    for (const Part& p : from) counts.push_back(p.count), displs.push_back(p.offset);
  };
  const auto members = static_cast<std::size_t>(group.size());
  switch (step.native) {
    case Coll::allgatherv:
      c.count = 0;
      if (equal_and_packed(parts)) c.coll = Coll::allgather, c.count = parts[0].count;
      else split(parts, n.counts, n.displs);
      break;
    case Coll::reduce_scatter:
      c.count = 0;
      if (equal_and_packed(parts)) c.coll = Coll::reduce_scatter_block, c.count = parts[0].count;
      else split(parts, n.counts, n.displs);
      break;
    case Coll::gatherv:
    case Coll::scatterv:
      c.count = 0;
      split(parts, n.counts, n.displs);
      break;
    case Coll::alltoallv:
      c.count = 0;
      split(parts.first(members), n.send_counts, n.send_displs);
      split(parts.subspan(members), n.counts, n.displs);
      break;
    case Coll::allreduce:
    case Coll::reduce:
      c.in_place = step.from == step.to && step.to.count != 0;
      break;
    default: break;
  }
  if (c.op == Op::avg) c.op = Op::sum;  // the schedule divides at its end
  Plan& p = n.plan;
  p.call = c;
  p.group = &group;
  p.bytes = static_cast<std::uint64_t>(c.count) * c.element_bytes;
  p.reduce = c.op == Op::custom ? nullptr : kernels::find_reduce(c.dtype, c.op);
  p.reduce_small = c.op == Op::custom ? nullptr : kernels::find_reduce_small(c.dtype, c.op);
  p.signature = mix(signature, ordinal << 40 ^ static_cast<std::uint64_t>(c.coll) << 32 ^ static_cast<std::uint64_t>(c.root) << 24 ^ static_cast<std::uint64_t>(c.count));
  if (p.signature == xport::shm::refused_signature) p.signature = 0;
  n.native = xport::shm::find_native(c, group);
  return n;
}

}  // namespace

Program::Program() = default;
Program::~Program() = default;

bool runs_wide(const Call& c) noexcept {
  // The others are exact in the small type.
  return detail::is_reduction(c.coll) && kernels::is_small_float(c.dtype) && (c.op == Op::sum || c.op == Op::prod || c.op == Op::avg);
}

namespace {

// Elements of this rank's buffers in a reduction.
void measure_buffers(Program& p) {
  const int rank = p.schedule.rank;
  const Call& c = p.call;
  p.send_elements = p.recv_elements = c.count;
  if (c.coll == Coll::reduce && static_cast<int>(c.root) != rank) p.recv_elements = 0;
  if (c.coll == Coll::exscan && rank == 0) p.recv_elements = 0;
  if (c.coll == Coll::reduce_scatter_block) p.send_elements *= p.schedule.size;
  if (c.coll == Coll::reduce_scatter) {
    p.send_elements = std::accumulate(p.counts.begin(), p.counts.end(), Count{0});
    p.recv_elements = p.counts[static_cast<std::size_t>(rank)];
  }
}

}  // namespace

std::shared_ptr<Program> compile(Call call, std::uint32_t signature, sched::Schedule schedule, const std::vector<NativeGroup>& groups, std::vector<int> world_ranks,
                                 std::span<const Count> counts) {
  auto program = std::make_shared<Program>();
  Program& p = *program;
  p.outer_type = call.dtype;
  p.wide = runs_wide(call);
  if (p.wide) call.dtype = DType::f32, call.element_bytes = sizeof(float);
  p.call = call;
  p.signature = signature;
  p.counts.assign(counts.begin(), counts.end());
  p.schedule = std::move(schedule);
  measure_buffers(p);
  const int first_alone = call.coll == Coll::scan ? 0 : call.coll == Coll::exscan ? 1 : -1;
  p.canonical = p.schedule.rank == first_alone && call.op != Op::custom;
  p.world_rank = std::move(world_ranks);
  const std::vector<Step>& steps = p.schedule.steps;
  p.native_of.assign(steps.size(), 0);
  p.needs.resize(steps.size());
  p.first_next.assign(steps.size() + 1, 0);
  std::vector<std::uint64_t> ordinal(groups.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& s = steps[i];
    p.needs[i] = s.many_after;
    for (std::uint32_t k = 0; k < s.many_after; ++k) ++p.first_next[p.schedule.after[s.first_after + k] + 1];
    if (s.kind != Kind::native) continue;
    const auto g = static_cast<std::size_t>(s.group);
    p.native_of[i] = static_cast<std::uint32_t>(p.natives.size());
    p.natives.push_back(native_for(call, signature, ordinal[g]++, p.schedule, s, *groups[g].group));
  }
  for (std::size_t i = 0; i < steps.size(); ++i) p.first_next[i + 1] += p.first_next[i];
  p.next.resize(p.first_next.back());
  std::vector<std::uint32_t> at(p.first_next.begin(), p.first_next.end() - 1);
  for (std::size_t i = 0; i < steps.size(); ++i)
    for (std::uint32_t k = 0; k < steps[i].many_after; ++k) p.next[at[p.schedule.after[steps[i].first_after + k]]++] = static_cast<std::uint32_t>(i);
  if (call.op != Op::custom) {
    p.reduce = kernels::find_reduce(call.dtype, call.op == Op::avg ? Op::sum : call.op);
    if (call.op == Op::avg) p.divide = kernels::find_reduce(call.dtype, Op::avg);
  }
  return program;
}

}  // namespace libcoll::exec
