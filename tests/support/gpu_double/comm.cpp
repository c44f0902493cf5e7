#include "tests/support/gpu_double/comm.hpp"

#include <fmt/format.h>

namespace libcoll::test::gpu_double {

using nccl::Code;

std::string text_of(const Comm& c) { return c.group ? fmt::format("rank {} of communicator {}", c.rank, c.group->id) : fmt::format("rank {} of a communicator to be", c.rank); }

std::string text_of(const Op& op) {
  constexpr const char* names[] = {"allreduce", "broadcast", "reduce", "allgather", "reduce_scatter", "send", "recv"};
  constexpr const char* redops[] = {"sum", "prod", "max", "min", "avg", "premulsum"};
  std::string text = fmt::format("{} of {} {}", names[static_cast<int>(op.operation)], op.count, name_of(dtype_of(op.type)));
  const bool reduces = op.operation == Operation::all_reduce || op.operation == Operation::reduce || op.operation == Operation::reduce_scatter;
  if (reduces) text += fmt::format(" by {}", redops[op.redop]);
  if (op.operation == Operation::broadcast || op.operation == Operation::reduce) text += fmt::format(" with root {}", op.root);
  return text;
}

void fail_group(State& s, CommGroup& g, const std::string& text, Code code, const Comm* culprit, Code culprit_code) {
  for (Comm* c : g.members)
    if (c && c->async == Code::success) {
      c->async = c == culprit ? culprit_code : code;
      c->text = text;
    }
  // What is being computed ends by itself.
  const auto end = [&](auto& matches) {
    for (auto& [seq, m] : matches)
      if (m->arrived < m->expected) s.fire(*m);
    std::erase_if(matches, [](const auto& entry) { return entry.second->done; });
  };
  end(g.collectives);
  for (auto& [pair, matches] : g.messages) end(matches);
  for (auto& [seq, meeting] : g.splits)
    for (const auto& c : meeting->comms)
      if (c && c->async == Code::success) {
        c->async = code;
        c->text = text;
      }
  g.splits.clear();
  ++s.progress;
  s.notify_hosts();
}

Use use_comm(State& s, nccl::Comm handle, const char* function, bool ready) {
  Use use;
  use.code = Code::invalid_argument;
  const auto c = s.comms.find(handle);
  if (!c) {
    if (handle) s.report(fmt::format("{}: {}", function, s.comms.was(handle) ? "a communicator after its destruction" : "not a communicator"));
    return use;
  }
  const auto me = std::this_thread::get_id(), nobody = std::thread::id();
  if (s.options.strict && ((c->user != nobody && c->user != me) || (c->grouped_by != nobody && c->grouped_by != me))) {
    s.report(fmt::format("{}: {} is used by two threads at once", function, text_of(*c)));
    use.code = Code::invalid_usage;
    return use;
  }
  if (ready && c->async != Code::success) {
    use.code = c->async;
    return use;
  }
  if (ready && (!c->group || c->polls > 0)) {
    s.report(fmt::format("{}: {} before its previous call was complete", function, text_of(*c)));
    return use;
  }
  if (ready && c->finalized) {
    s.report(fmt::format("{}: {} after it was finalized", function, text_of(*c)));
    use.code = Code::invalid_usage;
    return use;
  }
  c->user = me;
  use.comm = c;
  use.code = Code::success;
  return use;
}

void report_comm_leaks(State& s) {
  for (const auto& [h, c] : s.comms.live) {
    s.report("leak: " + text_of(*c));
    if (!c->registrations.empty()) s.report(fmt::format("leak: {} buffers registered with {}", c->registrations.size(), text_of(*c)));
    if (!c->redops.empty()) s.report(fmt::format("leak: {} operations of {}", c->redops.size(), text_of(*c)));
  }
}

}  // namespace libcoll::test::gpu_double
