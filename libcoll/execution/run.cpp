#include "libcoll/execution/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "libcoll/error.hpp"
#include "libcoll/execution/ranges.hpp"
#include "libcoll/kernels/convert.hpp"
#include "libcoll/kernels/copy.hpp"

namespace libcoll::exec {

using sched::Kind;
using sched::Range;
using sched::Step;
using xport::Transfer;

Run::Run(const Program& program) : program_(&program) {
  const Program& p = *program_;
  needs_.resize(p.needs.size());
  transfers_ = std::make_unique<Transfer[]>(steps().size());
  scratch_.resize(static_cast<std::size_t>(p.schedule.scratch) * p.call.element_bytes + 64);
  std::size_t most = 1;
  for (std::uint32_t i = 0; i < steps().size(); ++i) {
    if (steps()[i].kind == Kind::native) natives_.push_back(i);
    if (steps()[i].kind == Kind::reduce) most = std::max<std::size_t>(most, steps()[i].many);
  }
  operands_.resize(most);
  ready_.reserve(steps().size());
  inflight_.reserve(steps().size());
}

Run::~Run() = default;

void Run::start(const Args& args, std::uint64_t communicator, std::uint32_t sequence) {
  args_ = args;
  const Count** tables[] = {&args_.send_counts, &args_.send_displs, &args_.recv_counts, &args_.recv_displs};
  for (std::size_t i = 0; i < 4; ++i) {
    if (*tables[i] == nullptr) continue;
    tables_[i].assign(*tables[i], *tables[i] + program_->schedule.size);
    *tables[i] = tables_[i].data();
  }
  if (program_->wide) {
    wide_send_.resize(static_cast<std::size_t>(program_->send_elements));
    wide_recv_.resize(static_cast<std::size_t>(program_->recv_elements));
    kernels::widen(program_->outer_type, wide_send_.data(), args.send, wide_send_.size());
    outer_recv_ = args.recv;
    args_.send = wide_send_.data();
    args_.recv = wide_recv_.data();
  }
  if (program_->call.coll == detail::Coll::alltoallv && program_->call.in_place != 0) {
    std::int64_t end = 0;
    for (std::size_t r = 0; r < tables_[0].size(); ++r) end = std::max(end, tables_[0][r] == 0 ? 0 : tables_[0][r] + tables_[1][r]);
    put_aside_.resize(static_cast<std::size_t>(end) * program_->call.element_bytes);
    if (end != 0) kernels::copy(put_aside_.data(), args.recv, put_aside_.size());
    args_.send = put_aside_.data();
  }
  communicator_ = communicator;
  sequence_ = sequence;
  std::copy(program_->needs.begin(), program_->needs.end(), needs_.begin());
  ready_.clear();
  inflight_.clear();
  next_native_ = 0;
  native_running_ = false;
  done_ = 0;
  ended_ = false;
  for (std::uint32_t i = 0; i < steps().size(); ++i)
    if (needs_[i] == 0 && steps()[i].kind != Kind::native) ready_.push_back(i);
}

std::byte* Run::at(const Range& r) const {
  // Aligned as the widest vectors like it.
  auto* scratch = const_cast<std::byte*>(scratch_.data());
  scratch += -reinterpret_cast<std::uintptr_t>(scratch) % 64;
  return locate(r, args_, scratch, program_->call.element_bytes);
}

std::uint64_t Run::bytes(const Range& r) const { return static_cast<std::uint64_t>(length(r, args_)) * program_->call.element_bytes; }

void Run::complete(std::uint32_t step) {
  ++done_;
  const Program& p = *program_;
  for (std::uint32_t k = p.first_next[step]; k < p.first_next[step + 1]; ++k) {
    const std::uint32_t next = p.next[k];
    if (--needs_[next] == 0 && steps()[next].kind != Kind::native) ready_.push_back(next);
  }
}

void Run::compute(const Step& s) {
  const Call& call = program_->call;
  if (s.kind == Kind::copy) {
    // The same place where a v-form is in place.
    if (at(s.to) != at(s.from) && bytes(s.to) != 0) kernels::copy(at(s.to), at(s.from), bytes(s.to));
    return;
  }
  std::byte* to = at(s.to);
  const std::uint64_t n = bytes(s.to);
  void* dsts[] = {to};
  if (s.kind == Kind::finish) {
    const void* srcs[] = {to};
    if (program_->divide != nullptr) program_->divide({dsts, 1, srcs, 1, n / call.element_bytes, program_->schedule.size, false});
    return;
  }
  for (std::uint32_t k = 0; k < s.many; ++k) operands_[k] = at(program_->schedule.operands[s.first + k]);
  if (program_->reduce != nullptr) {
    program_->reduce({dsts, 1, operands_.data(), static_cast<int>(s.many), n / call.element_bytes, 1, false});
    return;
  }
  // A user's function: inout = in (op) inout, from the right, so that `in` holds the lower ranks.
  sum_.resize(std::max<std::size_t>(sum_.size(), n));
  std::memcpy(sum_.data(), operands_[s.many - 1], n);
  for (std::uint32_t k = s.many - 1; k-- > 0;) args_.custom->function(operands_[k], sum_.data(), n / call.element_bytes, call.dtype, args_.custom->context);
  std::memcpy(to, sum_.data(), n);
}

void Run::post(std::uint32_t step, xport::Messenger& messenger) {
  const Step& s = steps()[step];
  const xport::MessageKey key{communicator_, sequence_, static_cast<std::uint32_t>(s.message), program_->signature};
  const int peer = program_->world_rank[static_cast<std::size_t>(s.peer)];
  Transfer& t = transfers_[step];
  t.state.store(Transfer::State::idle, std::memory_order_relaxed);
  if (s.kind == Kind::send) messenger.send(peer, key, at(s.from), bytes(s.from), t);
  else messenger.recv(peer, key, at(s.to), bytes(s.to), t);
  inflight_.push_back(step);
}

bool Run::look_at_transfers() {
  bool any = false;
  for (std::size_t i = 0; i < inflight_.size();) {
    const std::uint32_t step = inflight_[i];
    const Transfer& t = transfers_[step];
    if (!t.finished()) {
      ++i;
      continue;
    }
    inflight_[i] = inflight_.back();
    inflight_.pop_back();
    if (t.state.load(std::memory_order_acquire) == Transfer::State::failed) fail(t, steps()[step].peer);
    complete(step);
    any = true;
  }
  return any;
}

void Run::fail(const Transfer& t, int peer) const {
  const std::string what = fmt::format("{}: {}{}", describe(), t.mismatch ? "arguments differ: " : fmt::format("lost rank {}: ", peer), t.error);
  throw Error(t.mismatch ? Errc::mismatch : Errc::peer_lost, what, peer);
}

std::string Run::describe() const {
  return fmt::format("libcoll: rank {} of {}: {} #{}", program_->schedule.rank, program_->schedule.size, name_of(program_->call.coll), sequence_);
}

Args Run::args_of(std::uint32_t step) const {
  const Step& s = steps()[step];
  const Native& n = program_->natives[program_->native_of[step]];
  const auto data = [](const std::vector<Count>& v) { return v.empty() ? nullptr : v.data(); };
  Args a{.send = at(s.from), .recv = at(s.to), .custom = args_.custom, .timeout_s = args_.timeout_s};
  switch (s.native) {
    case detail::Coll::alltoallv:
      a.send_counts = data(n.send_counts), a.send_displs = data(n.send_displs);
      a.recv_counts = data(n.counts), a.recv_displs = data(n.displs);
      a.local_count = n.counts[static_cast<std::size_t>(n.plan.group->rank())];
      break;
    case detail::Coll::scatterv:
      a.send_counts = data(n.counts), a.send_displs = data(n.displs);
      a.local_count = s.to.count;
      break;
    case detail::Coll::reduce_scatter:
      a.recv_counts = data(n.counts);
      a.local_count = s.to.count;
      break;
    default:
      a.recv_counts = data(n.counts), a.recv_displs = data(n.displs);
      a.local_count = s.from.count;
      break;
  }
  return a;
}

bool Run::run_natives(Fiber& fiber) {
  if (native_running_) {
    const std::uint64_t before = fiber.waits();
    if (fiber.busy()) fiber.resume();
    if (fiber.busy()) return fiber.waits() != before;
    native_running_ = false;
    if (const auto error = fiber.take_error()) std::rethrow_exception(error);
    complete(natives_[next_native_++]);
    return true;
  }
  if (!native_ready() || fiber.busy()) return false;
  native_running_ = true;
  fiber.start([this, &fiber] {
    const std::uint32_t now = natives_[next_native_];
    const Native& n = program_->natives[program_->native_of[now]];
    // Numbered by the operation: also ranks that gave an earlier one up agree on the next number.
    n.plan.group->align(first_native(sequence_));
    run_suspendable(*n.plan.group, fiber, [&] { n.native.run(*n.plan.group, args_of(now), n.plan); });
  });
  return true;
}

void Run::finish() {
  ended_ = true;
  const Program& p = *program_;
  const auto n = static_cast<std::size_t>(p.recv_elements);
  if (p.canonical && p.reduce != nullptr && n != 0) {
    void* dsts[] = {args_.recv};
    const void* srcs[] = {args_.recv};
    p.reduce({dsts, 1, srcs, 1, n, 1, false});
  }
  if (p.wide) kernels::narrow(p.outer_type, outer_recv_, wide_recv_.data(), n);
}

bool Run::may_block() const {
  constexpr std::uint64_t eager = 16384;  // arrives whether or not this rank looks after it meanwhile
  return !native_running_ && std::all_of(inflight_.begin(), inflight_.end(), [&](std::uint32_t i) { return steps()[i].kind == Kind::recv && bytes(steps()[i].to) <= eager; });
}

bool Run::run_native_blocking(const xport::shm::Group::Hook& listen) {
  if (!native_ready() || !may_block()) return false;
  const std::uint32_t step = natives_[next_native_];
  const Native& n = program_->natives[program_->native_of[step]];
  n.plan.group->align(first_native(sequence_));
  n.plan.group->set_listener(listen);
  struct Restore {
    xport::shm::Group* group;
    ~Restore() { group->set_listener({}); }
  } const restore{n.plan.group};
  n.native.run(*n.plan.group, args_of(step), n.plan);
  ++next_native_;
  complete(step);
  return true;
}

bool Run::advance(xport::Messenger* messenger, Fiber* fiber) {
  bool any = false;
  for (bool again = true; again;) {
    again = look_at_transfers();
    for (std::size_t i = 0; i < ready_.size(); ++i) {  // grows meanwhile
      const std::uint32_t step = ready_[i];
      const Step& s = steps()[step];
      if (s.kind == Kind::send || s.kind == Kind::recv) {
        post(step, *messenger);
      } else {
        compute(s);
        complete(step);
      }
      again = true;
    }
    ready_.clear();
    if (fiber != nullptr) again |= run_natives(*fiber);
    any |= again;
  }
  if (done_ == steps().size() && !ended_) finish();
  return any;
}

int Run::first_missing() const { return inflight_.empty() ? -1 : steps()[inflight_.front()].peer; }

std::string Run::stuck(double limit_s) const {
  std::string who;
  for (const std::uint32_t step : inflight_) who += fmt::format("{}{}", who.empty() ? "" : ", ", steps()[step].peer);
  return fmt::format("{}: no progress within {:g} s; it waits for messages of rank {}", describe(), limit_s, who.empty() ? "-" : who);
}

void Run::cancel(xport::Messenger* messenger) {
  for (const std::uint32_t step : inflight_)
    if (!transfers_[step].finished()) messenger->cancel(transfers_[step]);
  inflight_.clear();
  ready_.clear();
}

}  // namespace libcoll::exec
