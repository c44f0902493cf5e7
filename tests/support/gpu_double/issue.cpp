// How calls of ranks meet: each rank's k-th collective is matched with the others' k-th, a send with the receive of equal
// number between the two; calls that differ fail everybody; orders that differ between communicators are reported.
#include <fmt/format.h>

#include <algorithm>

#include "tests/support/gpu_double/comm.hpp"

namespace libcoll::test::gpu_double {

using nccl::Code;

namespace {

struct Part {
  std::shared_ptr<Match> match;
  std::shared_ptr<CommGroup> group;
  Op op;
};

bool is_message(const Op& op) { return op.operation == Operation::send || op.operation == Operation::recv; }

bool equal_calls(const Op& a, const Op& b) {
  if (is_message(a)) return a.count == b.count && a.type == b.type;
  return a.operation == b.operation && a.count == b.count && a.type == b.type && a.redop == b.redop && a.root == b.root;
}

// Two communicators, two devices that belong to both: one device issued an operation of X before one of Y, the other the
// two the other way round. On hardware, where a kernel keeps its multiprocessors while it waits, this can hang.
void check_order(State& s, const Match& m, std::uint64_t own, int device) {
  const auto of = [](const std::map<std::uint64_t, std::uint64_t>& counts, std::uint64_t id) {
    const auto i = counts.find(id);
    return i == counts.end() ? 0 : i->second;
  };
  const Match::Order& here = m.orders.at(device);
  for (const auto& [id, devices] : s.group_devices) {
    if (id == own || std::find(devices.begin(), devices.end(), device) == devices.end()) continue;
    for (const auto& [other, there] : m.orders) {
      if (other == device || std::find(devices.begin(), devices.end(), other) == devices.end()) continue;
      const bool here_first = of(here.before, id) > of(there.with, id), there_first = of(there.before, id) > of(here.with, id);
      if (!here_first && !there_first) continue;
      const int low = std::min(device, other), high = std::max(device, other);
      const bool id_first = here_first == (device == low);  // on the lower of the two
      const std::string key = fmt::format("{} {} {} {}", std::min(own, id), std::max(own, id), low, high);
      if (s.order_reports.insert(key).second)
        s.report(fmt::format("order inversion: device {} issued an operation of communicator {} before one of communicator {}, device {} the other way round", low, id_first ? id : own, id_first ? own : id, high));
    }
  }
}

// The match of a call, or null: it failed the communicator.
std::shared_ptr<Match> match_call(State& s, Op& op) {
  Comm& c = *op.comm;
  CommGroup& g = *c.group;
  const bool message = is_message(op), sends = op.operation == Operation::send;
  std::uint64_t seq;
  std::shared_ptr<Match>* slot;
  if (message) {
    seq = sends ? c.sent[op.root]++ : c.received[op.root]++;
    slot = &g.messages[sends ? std::pair(c.rank, op.root) : std::pair(op.root, c.rank)][seq];
  } else {
    seq = c.next_collective++;
    slot = &g.collectives[seq];
  }
  if (!*slot) {
    *slot = std::make_shared<Match>();
    (*slot)->first = op;
    (*slot)->first.comm = nullptr;
    (*slot)->first_rank = c.rank;
    (*slot)->expected = message ? 2 : g.size();
    (*slot)->ops.resize(static_cast<std::size_t>((*slot)->expected));
  }
  const auto m = *slot;
  if (!equal_calls(m->first, op)) {
    const std::string text = fmt::format("mismatch in communicator {}: as {} {} rank {} called {}, rank {} called {}", g.id, message ? "message" : "operation", seq, m->first_rank,
                                         text_of(m->first), c.rank, text_of(op));
    fail_group(s, g, text, Code::invalid_usage);
    return nullptr;
  }
  Op stored = op;
  stored.comm = nullptr;  // the match belongs to the group, which the communicator belongs to
  m->ops[static_cast<std::size_t>(message ? (sends ? 0 : 1) : c.rank)] = std::move(stored);
  ++m->issued;
  return m;
}

void forget(CommGroup& g, const std::shared_ptr<Match>& m) {
  const auto drop = [&](auto& matches) { std::erase_if(matches, [&](const auto& entry) { return entry.second == m; }); };
  if (!is_message(m->first)) return drop(g.collectives);
  for (auto& [pair, matches] : g.messages) drop(matches);
}

// The operation is at the head of this rank's stream. Who comes last computes for all.
void arrive(State& s, Lock& lock, const Part& part) {
  Match& m = *part.match;
  if (m.done) return;  // failed
  if (s.device_errors.contains(part.op.stream->device)) return fail_group(s, *part.group, fmt::format("{}: an error of its device", text_of(*part.op.comm)), Code::remote_error, part.op.comm.get(), Code::unhandled_cuda_error);
  ++s.progress;
  if (++m.arrived < m.expected) return;
  ++part.group->computing;
  lock.unlock();
  compute(m, part.group->size());
  lock.lock();
  --part.group->computing;
  forget(*part.group, part.match);
  s.fire(m);
}

std::vector<Range> buffers_of(const Op& op) {
  const std::size_t bytes = op.count * size_of(dtype_of(op.type)), all = bytes * static_cast<std::size_t>(op.comm->group->size());
  const bool root = op.root == op.comm->rank;
  switch (op.operation) {
    case Operation::all_reduce: return {{op.send, bytes}, {op.recv, bytes}};
    case Operation::broadcast: return {{root ? op.send : op.recv, bytes}, {op.recv, bytes}};
    case Operation::reduce: return {{op.send, bytes}, {root ? op.recv : op.send, bytes}};
    case Operation::all_gather: return {{op.send, bytes}, {op.recv, all}};
    case Operation::reduce_scatter: return {{op.send, all}, {op.recv, bytes}};
    case Operation::send: return {{op.send, bytes}};
    case Operation::recv: return {{op.recv, bytes}};
  }
  return {};
}

// The operations of a group on one stream are one kernel: all of them are under way together.
Code launch(State& s, Lock& lock, Stream& stream, std::vector<Part> parts) {
  Task t;
  for (const Part& p : parts) {
    if (!t.text.empty()) t.text += " and ";
    t.text += fmt::format("{} ({})", text_of(p.op), text_of(*p.op.comm));
    for (const Range& r : buffers_of(p.op)) t.uses.push_back(r);
    t.after.push_back(p.match);
    ++p.op.comm->outstanding;
  }
  const auto shared = std::make_shared<std::vector<Part>>(std::move(parts));
  t.start = [&s, shared](Lock& inner) {
    for (const Part& p : *shared) arrive(s, inner, p);
  };
  t.finish = [&s, shared] {
    for (const Part& p : *shared) --p.op.comm->outstanding;
    s.notify_hosts();
  };
  if (s.enqueue(lock, stream, std::move(t)) == cuda::Error::success) return Code::success;
  for (const Part& p : *shared) {
    --p.op.comm->outstanding;
    fail_group(s, *p.group, fmt::format("{}: its device or the double failed before: {}", text_of(*p.op.comm), s.dead_text), Code::remote_error, p.op.comm.get(), Code::unhandled_cuda_error);
  }
  return Code::unhandled_cuda_error;
}

Code issue_now(State& s, Lock& lock, std::vector<Op> ops) {
  std::map<int, std::map<std::uint64_t, std::uint64_t>> before;
  for (const Op& op : ops) {
    if (op.comm->destroyed || op.comm->finalized) {
      s.report(fmt::format("{} of a graph: {} after its destruction", text_of(op), text_of(*op.comm)));
      return Code::invalid_usage;
    }
    before.emplace(op.comm->device, s.issued[op.comm->device]);
  }
  std::map<Stream*, std::vector<Part>> by_stream;
  for (Op& op : ops) {
    if (op.comm->async != Code::success) return op.comm->async;
    const auto m = match_call(s, op);
    if (!m) continue;  // an asynchronous error of everybody
    const auto group = op.comm->group;
    if (!is_message(op)) {
      ++s.issued[op.comm->device][group->id];
      m->orders[op.comm->device].before = before[op.comm->device];
    }
    by_stream[op.stream].push_back({m, group, std::move(op)});
  }
  Code code = Code::success;
  for (auto& [stream, parts] : by_stream) {
    for (const Part& p : parts) {
      if (is_message(p.op)) continue;
      p.match->orders[p.op.comm->device].with = s.issued[p.op.comm->device];
      if (s.options.strict) check_order(s, *p.match, p.group->id, p.op.comm->device);
    }
    if (const Code c = launch(s, lock, *stream, std::move(parts)); c != Code::success) code = c;
  }
  return code;
}

}  // namespace

Code issue(State& s, Lock& lock, std::vector<Op> ops) {
  std::vector<Op> now, captured;
  for (Op& op : ops) {
    if (std::string wrong; [&] {
          for (const Range& r : buffers_of(op))
            if (wrong = s.memory.fault_of(r.at, r.bytes, false); !wrong.empty()) return true;
          return false;
        }()) {
      s.report(fmt::format("{} ({}): {}", text_of(op), text_of(*op.comm), wrong));
      return Code::invalid_argument;
    }
    (op.stream->capture ? captured : now).push_back(std::move(op));
  }
  if (!captured.empty()) {
    Stream& first = *captured.front().stream;
    for (const Op& op : captured)
      if (op.stream != &first) ++op.stream->capture->clocks[op.stream][op.stream];
    const auto shared = std::make_shared<std::vector<Op>>(std::move(captured));
    const auto e = s.submit(lock, first, [&s, shared](Lock& l, Stream& on) {
      std::vector<Op> again = *shared;
      for (Op& op : again) op.stream = &on;
      return issue_now(s, l, std::move(again)) == Code::success ? cuda::Error::success : cuda::Error::launch_failure;
    });
    if (e != cuda::Error::success) return Code::unhandled_cuda_error;
  }
  return now.empty() ? Code::success : issue_now(s, lock, std::move(now));
}

}  // namespace libcoll::test::gpu_double
