#include "libcoll/execution/device_program.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "libcoll/error.hpp"
#include "libcoll/execution/ranges.hpp"
#include "transports/nccl/nccl_ops.hpp"

namespace libcoll::exec {

using detail::Args;
using detail::Call;
using detail::Coll;
using device::require;
using sched::Kind;
using sched::Part;
using sched::Step;

namespace {

using Op = DeviceProgram::Op;

bool is_message(Kind k) { return k == Kind::send || k == Kind::recv; }

// Which operation a step belongs to. Messages that do not wait for each other are one NCCL group: that is how they get
// by without an order between them. So are natives of one group of ranks that follow each other: one launch.
class Sorter {
 public:
  Sorter(DeviceProgram& p, const DeviceSite& site) : p_(p), site_(site) {}

  void add(std::uint32_t i) {
    const Step& s = p_.schedule.steps[i];
    if (!joins_open(s)) {
      // Copies are no launches of NCCL: what follows them may still join what came before.
      if (s.kind != Kind::copy) open_ = static_cast<std::int64_t>(p_.ops.size());
      Op op;
      op.kind = is_message(s.kind) ? Kind::send : s.kind;
      if (s.kind == Kind::native) op.lane = site_.groups[static_cast<std::size_t>(s.group)].lane;
      p_.ops.push_back(std::move(op));
      op_of_.push_back(static_cast<std::uint32_t>(p_.ops.size() - 1));
    } else {
      op_of_.push_back(static_cast<std::uint32_t>(open_));
    }
    Op& op = p_.ops[op_of_.back()];
    op.steps.push_back(i);
    for (std::uint32_t k = 0; k < s.many_after; ++k) {
      const std::uint32_t before = op_of_[p_.schedule.after[s.first_after + k]];
      if (p_.ops[before].lane != op.lane) op.waits.push_back(before);
    }
  }

 private:
  bool joins_open(const Step& s) const {
    if (open_ < 0 || s.kind == Kind::copy) return false;
    const Op& open = p_.ops[static_cast<std::size_t>(open_)];
    if (open.kind != (is_message(s.kind) ? Kind::send : Kind::native)) return false;
    if (s.kind == Kind::native && p_.schedule.steps[open.steps[0]].group != s.group) return false;
    for (std::uint32_t k = 0; k < s.many_after; ++k)
      if (op_of_[p_.schedule.after[s.first_after + k]] >= open_) return false;
    return true;
  }

  DeviceProgram& p_;
  const DeviceSite& site_;
  std::int64_t open_ = -1;              // the last operation of NCCL
  std::vector<std::uint32_t> op_of_;    // by step
};

// A lane runs in order: of the operations of another lane only the last one matters.
void keep_last(DeviceProgram& p, Op& op) {
  std::vector<std::uint32_t> last;
  for (int lane = 0; lane < most_lanes; ++lane) {
    std::uint32_t latest = 0;
    bool any = false;
    for (const std::uint32_t w : op.waits)
      if (p.ops[w].lane == lane) latest = std::max(latest, w), any = true;
    if (any) last.push_back(latest);
  }
  op.waits = std::move(last);
}

// One execution.
struct Run {
  const DeviceProgram& p;
  const Args& args;
  DeviceSite& site;
  const device::Between& between;
  cuda::Stream lanes[most_lanes];
  std::byte* scratch = nullptr;
  const nccl::Table& t;
  // Movements are of bytes.
  nccl::Type type = nccl::Type::u8;
  nccl::RedOp op = nccl::RedOp::sum;

  std::byte* at(const sched::Range& r) const { return locate(r, args, scratch, p.call.element_bytes); }
  std::size_t bytes(std::int64_t elements) const { return static_cast<std::size_t>(elements) * p.call.element_bytes; }
  std::size_t bytes(const sched::Range& r) const { return bytes(length(r, args)); }

  // Several calls as one, each of which only says what it could not even begin.
  template <class Calls>
  void as_group(device::Communicator& c, const char* name, const Calls& calls) const {
    c.settle(t.group_start(), "ncclGroupStart", between);
    nccl::Code first = nccl::Code::success;
    calls([&](nccl::Code code) {
      if (first == nccl::Code::success && code != nccl::Code::in_progress) first = code;
    });
    const nccl::Code end = t.group_end();
    c.settle(first != nccl::Code::success ? first : end, name, between);
  }

  void messages(const Op& o) const {
    device::Communicator& c = *site.groups[0].nccl;
    as_group(c, "ncclSend, ncclRecv", [&](const auto& say) {
      for (const std::uint32_t i : o.steps) {
        const Step& s = p.schedule.steps[i];
        const sched::Range& r = s.kind == Kind::send ? s.from : s.to;
        const std::size_t n = bytes(r);
        if (n == 0) continue;  // on both sides
        say(s.kind == Kind::send ? t.send(at(r), n, nccl::Type::u8, s.peer, c.get(), lanes[o.lane]) : t.recv(at(r), n, nccl::Type::u8, s.peer, c.get(), lanes[o.lane]));
      }
    });
  }

  void copy(const Step& s, cuda::Stream stream) const {
    std::byte *to = at(s.to), *from = at(s.from);
    if (to == from || bytes(s.to) == 0) return;
    require(site.runtime.cuda, site.runtime.cuda.memcpy_async(to, from, bytes(s.to), cuda::CopyKind::device_to_device, stream), "cudaMemcpyAsync");
  }

  void natives(const Op& o) const {
    const Step& first = p.schedule.steps[o.steps[0]];
    device::Communicator& c = *site.groups[static_cast<std::size_t>(first.group)].nccl;
    const char* name = detail::name_of(first.native);
    if (o.steps.size() == 1 && is_one_call(first)) return native(first, c, lanes[o.lane], [&](nccl::Code code) { c.settle(code, name, between); });
    as_group(c, name, [&](const auto& say) {
      for (const std::uint32_t i : o.steps) native(p.schedule.steps[i], c, lanes[o.lane], say);
    });
  }

  std::span<const Part> parts_of(const Step& s) const { return {p.schedule.parts.data() + s.first, s.many}; }
  bool is_one_call(const Step& s) const { return (s.native != Coll::reduce_scatter && s.native != Coll::allgatherv) || equal_and_packed(parts_of(s)); }

  template <class Say>
  void native(const Step& s, device::Communicator& c, cuda::Stream stream, const Say& say) const {
    const auto n = static_cast<std::size_t>(std::max(s.from.count, s.to.count));
    switch (s.native) {
      case Coll::barrier: return say(t.all_reduce(site.word->data(), site.word->data(), 1, nccl::Type::i32, nccl::RedOp::sum, c.get(), stream));
      case Coll::bcast: return say(t.broadcast(at(s.to), at(s.to), bytes(s.to), nccl::Type::u8, s.root, c.get(), stream));
      case Coll::allreduce: return say(t.all_reduce(at(s.from), at(s.to), n, type, op, c.get(), stream));
      case Coll::reduce: return say(t.reduce(at(s.from), at(s.to), n, type, op, s.root, c.get(), stream));
      case Coll::reduce_scatter: return reduce_scatter(s, c, stream, say);
      default: return allgather(s, c, stream, say);
    }
  }

  std::size_t place_in(const Step& s) const {
    const std::vector<int>& ranks = site.groups[static_cast<std::size_t>(s.group)].ranks;
    return static_cast<std::size_t>(std::find(ranks.begin(), ranks.end(), p.schedule.rank) - ranks.begin());
  }

  template <class Say>
  void reduce_scatter(const Step& s, device::Communicator& c, cuda::Stream stream, const Say& say) const {
    const auto parts = parts_of(s);
    if (is_one_call(s)) return say(t.reduce_scatter(at(s.from), at(s.to), static_cast<std::size_t>(parts[0].count), type, op, c.get(), stream));
    const std::size_t me = place_in(s);
    for (std::size_t m = 0; m < parts.size(); ++m) {
      std::byte* mine = at(s.from) + bytes(parts[m].offset);
      if (parts[m].count != 0) say(t.reduce(mine, m == me ? at(s.to) : mine, static_cast<std::size_t>(parts[m].count), type, op, static_cast<int>(m), c.get(), stream));
    }
  }

  template <class Say>
  void allgather(const Step& s, device::Communicator& c, cuda::Stream stream, const Say& say) const {
    const auto parts = parts_of(s);
    if (is_one_call(s)) return say(t.all_gather(at(s.from), at(s.to), bytes(parts[0].count), nccl::Type::u8, c.get(), stream));
    const std::size_t me = place_in(s);
    for (std::size_t m = 0; m < parts.size(); ++m) {
      std::byte* there = at(s.to) + bytes(parts[m].offset);
      if (parts[m].count != 0) say(t.broadcast(m == me ? at(s.from) : there, there, bytes(parts[m].count), nccl::Type::u8, static_cast<int>(m), c.get(), stream));
    }
  }

  void run(const Op& o) const {
    for (const std::uint32_t w : o.waits) p.ops[w].done->make_wait(lanes[o.lane]);
    if (o.kind == Kind::send) messages(o);
    else if (o.kind == Kind::copy) copy(p.schedule.steps[o.steps[0]], lanes[o.lane]);
    else natives(o);
    if (o.done) o.done->record(lanes[o.lane]);
  }
};

bool can_run(const Step& s) {
  if (s.kind == Kind::reduce || s.kind == Kind::finish) return false;
  if (s.kind != Kind::native) return true;
  for (const Coll c : {Coll::barrier, Coll::bcast, Coll::allreduce, Coll::reduce, Coll::reduce_scatter, Coll::allgatherv})
    if (s.native == c) return true;
  return false;
}

}  // namespace

detail::Result<DeviceProgram> compile_for_devices(const Call& call, sched::Schedule schedule, const DeviceSite& site) {
  DeviceProgram p;
  p.call = call;
  p.schedule = std::move(schedule);
  Sorter sorter(p, site);
  for (std::uint32_t i = 0; i < p.schedule.steps.size(); ++i) {
    if (!can_run(p.schedule.steps[i])) return detail::failure(Errc::internal, fmt::format("a device cannot run the step \"{}\"", sched::to_text(p.schedule, i)));
    sorter.add(i);
  }
  bool forks = false;
  for (Op& op : p.ops) {
    keep_last(p, op);
    for (const std::uint32_t w : op.waits)
      if (!p.ops[w].done) p.ops[w].done = std::make_unique<device::Event>(site.runtime.cuda);
    forks = forks || op.lane != 0;
  }
  if (forks) p.begun = std::make_unique<device::Event>(site.runtime.cuda), p.ended = std::make_unique<device::Event>(site.runtime.cuda);
  return p;
}

void enqueue(const DeviceProgram& p, const Args& args, DeviceSite& site, cuda::Stream stream, const device::Between& between) {
  const cuda::Table& cuda = site.runtime.cuda;
  Run run{.p = p, .args = args, .site = site, .between = between, .lanes = {stream, site.lanes[1] ? site.lanes[1]->get() : stream}, .t = *site.runtime.nccl};
  run.type = nccl::nccl_type(p.call.dtype).value_or(nccl::Type::u8);
  run.op = nccl::nccl_op(p.call.op).value_or(nccl::RedOp::sum);
  std::optional<device::StreamMemory> scratch;
  if (p.schedule.scratch != 0) run.scratch = scratch.emplace(cuda, run.bytes(p.schedule.scratch), stream).data();
  if (p.begun) {
    p.begun->record(stream);
    p.begun->make_wait(run.lanes[1]);
  }
  for (const Op& op : p.ops) run.run(op);
  if (p.ended) {
    p.ended->record(run.lanes[1]);
    p.ended->make_wait(stream);
  }
  if (scratch) scratch->give_back();
}

}  // namespace libcoll::exec
