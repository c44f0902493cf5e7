// Communicators of the NCCL table: meeting, split, ends, errors, registration, memory.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "tests/support/gpu_double/comm.hpp"

namespace libcoll::test::gpu_double {

using nccl::Code;

namespace {

constexpr char id_mark[] = "FAKE NCCL";

// Those of one color, by rank or by key and then rank, are a communicator.
void found(State& s, std::vector<std::shared_ptr<Comm>> members) {
  auto g = std::make_shared<CommGroup>();
  g->id = s.next_group++;
  for (const auto& c : members) {
    const bool twice = std::find(g->devices.begin(), g->devices.end(), c->device) != g->devices.end();
    g->devices.push_back(c->device);
    g->members.push_back(c.get());
    if (!twice) continue;
    for (const auto& all : members) {
      all->async = Code::invalid_usage;
      all->text = fmt::format("two ranks of a communicator on device {}", c->device);
    }
    return s.notify_hosts();
  }
  s.group_devices[g->id] = g->devices;
  for (std::size_t r = 0; r < members.size(); ++r) {
    members[r]->rank = static_cast<int>(r);
    members[r]->group = g;
  }
  ++s.progress;
  s.notify_hosts();
}

void arrive(State& s, Meeting& m, std::shared_ptr<Comm> c, std::size_t rank, int color, int key) {
  m.here[rank] = true;
  m.comms[rank] = std::move(c);
  m.colors[rank] = color;
  m.keys[rank] = key;
  if (++m.arrived < static_cast<int>(m.comms.size())) return;
  std::map<int, std::vector<std::size_t>> by_color;
  for (std::size_t r = 0; r < m.comms.size(); ++r)
    if (m.comms[r]) by_color[m.colors[r]].push_back(r);
  for (auto& [col, ranks] : by_color) {
    std::stable_sort(ranks.begin(), ranks.end(), [&](auto a, auto b) { return m.keys[a] < m.keys[b]; });
    std::vector<std::shared_ptr<Comm>> members;
    for (auto r : ranks) members.push_back(m.comms[r]);
    found(s, std::move(members));
  }
  for (auto& member : m.comms) member = nullptr;
}

void resize(Meeting& m, int n) {
  const auto ranks = static_cast<std::size_t>(n);
  m.comms.resize(ranks);
  m.here.resize(ranks);
  m.colors.resize(ranks);
  m.keys.resize(ranks);
}

std::shared_ptr<Comm> make_comm(State& s, nccl::Comm* out, int device, bool blocking) {
  auto c = std::make_shared<Comm>();
  c->device = device;
  c->blocking = blocking;
  c->handle = reinterpret_cast<nccl::Comm>(s.comms.add(c));
  c->out = out;
  *out = c->handle;
  return c;
}

// Waits for those that are to be complete when the call returns.
Code join(State& s, Lock& lock, const std::shared_ptr<Comm>& c) {
  if (!c->blocking) {
    c->polls = 1;
    return Code::in_progress;
  }
  s.host_wait(lock, fmt::format("the ranks of a communicator to be (as rank {}, device {})", c->rank, c->device), [&] { return c->group || c->async != Code::success; });
  if (c->group && c->async == Code::success) return Code::success;
  const Code code = c->async != Code::success ? c->async : Code::internal_error;
  s.comms.erase(c->handle);
  *c->out = nullptr;
  return code;
}

Code join_or_defer(State& s, Lock& lock, std::shared_ptr<Comm> c) {
  if (local().group_depth == 0) return join(s, lock, c);
  local().group_joins.push_back(std::move(c));
  return Code::success;
}

bool valid_config(State& s, const nccl::Config* config, const char* function) {
  if (!config || (config->magic == nccl::Config{}.magic && config->size >= offsetof(nccl::Config, cga_cluster_size))) return true;
  s.report(fmt::format("{}: a configuration that was not initialized", function));
  return false;
}

bool blocks(const nccl::Config* config, bool otherwise) { return !config || config->blocking == nccl::undefined_int ? otherwise : config->blocking != 0; }

Code init(State& s, Lock& lock, nccl::Comm* out, int n, const nccl::UniqueId& id, int rank, const nccl::Config* config) {
  if (!out || n < 1 || rank < 0 || rank >= n || std::memcmp(id.internal, id_mark, sizeof(id_mark)) != 0 || !valid_config(s, config, "ncclCommInitRankConfig"))
    return Code::invalid_argument;
  auto& meeting = s.meetings[std::string(id.internal, sizeof(id.internal))];
  if (!meeting) {
    meeting = std::make_shared<Meeting>();
    resize(*meeting, n);
  }
  const auto r = static_cast<std::size_t>(rank);
  if (static_cast<int>(meeting->comms.size()) != n || meeting->here[r]) {
    s.report(fmt::format("ncclCommInitRankConfig: rank {} of {} came to a meeting of {}{}", rank, n, meeting->comms.size(), r < meeting->here.size() && meeting->here[r] ? ", twice" : ""));
    return Code::invalid_argument;
  }
  auto c = make_comm(s, out, global_device(s, local().device), blocks(config, true));
  c->rank = rank;
  arrive(s, *meeting, c, r, 0, 0);
  return join_or_defer(s, lock, std::move(c));
}

Code split(State& s, Lock& lock, nccl::Comm handle, int color, int key, nccl::Comm* out, const nccl::Config* config) {
  const Use use = use_comm(s, handle, "ncclCommSplit", true);
  if (!use.comm) return use.code;
  if (!out || (color < 0 && color != nccl::split_no_color) || !valid_config(s, config, "ncclCommSplit")) return Code::invalid_argument;
  Comm& parent = *use.comm;
  const std::uint64_t number = parent.next_split++;
  auto meeting = parent.group->splits[number];
  if (!meeting) {
    meeting = parent.group->splits[number] = std::make_shared<Meeting>();
    resize(*meeting, parent.group->size());
  }
  *out = nullptr;
  std::shared_ptr<Comm> c;
  if (color != nccl::split_no_color) {
    c = make_comm(s, out, parent.device, blocks(config, parent.blocking));
    c->rank = parent.rank;
  }
  arrive(s, *meeting, c, static_cast<std::size_t>(parent.rank), color, key);
  if (meeting->arrived == parent.group->size()) parent.group->splits.erase(number);
  return c ? join_or_defer(s, lock, std::move(c)) : Code::success;
}

// Until what this rank issued is done, or failed.
void drain(State& s, Lock& lock, const std::shared_ptr<Comm>& c, const char* function) {
  s.host_wait(lock, fmt::format("{} ({})", function, text_of(*c)), [&] { return c->outstanding == 0; });
}

Code finalize(State& s, Lock& lock, nccl::Comm handle) {
  const Use use = use_comm(s, handle, "ncclCommFinalize", true);
  if (!use.comm) return use.code;
  use.comm->finalized = true;
  if (!use.comm->blocking) return use.comm->polls = 1, Code::in_progress;
  drain(s, lock, use.comm, "ncclCommFinalize");
  return use.comm->async;
}

void remove(State& s, Comm& c) {
  if (c.destroyed) return;  // aborted by another thread
  c.destroyed = true;
  for (const auto& [h, r] : c.registrations)
    if (Block* b = s.memory.find(r.at)) --b->registrations;
  if (!c.registrations.empty()) s.report(fmt::format("{} ended with {} buffers registered", text_of(c), c.registrations.size()));
  if (!c.redops.empty()) s.report(fmt::format("{} ended with {} operations of its own", text_of(c), c.redops.size()));
  if (c.group) c.group->members[static_cast<std::size_t>(c.rank)] = nullptr;
  s.comms.erase(c.handle);
}

Code destroy(State& s, Lock& lock, nccl::Comm handle) {
  if (!handle) return Code::success;
  const Use use = use_comm(s, handle, "ncclCommDestroy", false);
  if (!use.comm) return use.code;
  if (use.comm->outstanding > 0 && use.comm->async == Code::success && !use.comm->finalized)
    s.report(fmt::format("ncclCommDestroy: {} with {} operations in flight", text_of(*use.comm), use.comm->outstanding));
  if (use.comm->grouped_by == std::this_thread::get_id()) {
    s.report(fmt::format("ncclCommDestroy: {} has operations in an open group", text_of(*use.comm)));
    return Code::invalid_usage;
  }
  drain(s, lock, use.comm, "ncclCommDestroy");
  remove(s, *use.comm);
  return Code::success;
}

// From any thread, also while another is in a function that waits.
Code abort(State& s, Lock& lock, nccl::Comm handle) {
  if (!handle) return Code::success;
  const auto c = s.comms.find(handle);
  if (!c) return use_comm(s, handle, "ncclCommAbort", false).code;
  if (c->group) {
    fail_group(s, *c->group, fmt::format("{} aborted", text_of(*c)), Code::remote_error);
    s.group_devices.erase(c->group->id);  // its operations wait for nobody any more, in whichever order
    s.host_wait(lock, "ncclCommAbort", [&] { return c->group->computing == 0; });
  } else if (c->async == Code::success) {
    c->async = Code::remote_error;
    c->text = "aborted";
    s.notify_hosts();
  }
  c->registrations.clear();
  c->redops.clear();
  remove(s, *c);
  return Code::success;
}

Code async_error(State& s, nccl::Comm handle, Code* out) {
  const auto c = s.comms.find(handle);
  if (!c || !out) return c ? Code::invalid_argument : use_comm(s, handle, "ncclCommGetAsyncError", false).code;
  if (c->async != Code::success) *out = c->async;
  else if (!c->group || c->polls > 0 || (c->finalized && c->outstanding > 0)) {
    if (c->group && c->polls > 0) --c->polls;
    *out = Code::in_progress;
  } else *out = Code::success;
  return Code::success;
}

// A number that a communicator knows once its ranks have met.
template <class F>
Code query(nccl::Comm handle, int* out, const char* function, F f) {
  return nccl_call([&](State& s, Lock&) {
    const auto c = s.comms.find(handle);
    if (!c) return use_comm(s, handle, function, false).code;
    if (!out || !c->group) return Code::invalid_argument;
    *out = f(s, *c);
    return Code::success;
  });
}

Code register_buffer(State& s, nccl::Comm handle, void* at, std::size_t bytes, void** out) {
  const Use use = use_comm(s, handle, "ncclCommRegister", true);
  if (!use.comm) return use.code;
  if (!out || bytes == 0) return Code::invalid_argument;
  if (std::string wrong = s.memory.fault_of(at, bytes, false); !wrong.empty()) {
    s.report("ncclCommRegister: " + wrong);
    return Code::invalid_argument;
  }
  static std::atomic<std::uintptr_t> next{0x1000};
  const std::uintptr_t h = next.fetch_add(16);
  use.comm->registrations[h] = {at, bytes};
  ++s.memory.find(at)->registrations;
  *out = reinterpret_cast<void*>(h);
  return Code::success;
}

Code deregister(State& s, nccl::Comm handle, void* registration) {
  const Use use = use_comm(s, handle, "ncclCommDeregister", false);
  if (!use.comm) return use.code;
  const auto i = use.comm->registrations.find(reinterpret_cast<std::uintptr_t>(registration));
  if (i == use.comm->registrations.end()) {
    s.report(fmt::format("ncclCommDeregister: no such registration with {}", text_of(*use.comm)));
    return Code::invalid_argument;
  }
  if (Block* b = s.memory.find(i->second.at)) --b->registrations;
  use.comm->registrations.erase(i);
  return Code::success;
}

}  // namespace

void fill_comm_functions(nccl::Table& t) {
  t.get_unique_id = [](nccl::UniqueId* id) {
    return nccl_call([&](State& s, Lock&) {
      if (!id) return Code::invalid_argument;
      *id = {};
      std::memcpy(id->internal, id_mark, sizeof(id_mark));
      const std::uint64_t number = s.next_unique_id++;
      std::memcpy(id->internal + 16, &number, sizeof(number));
      return Code::success;
    });
  };
  t.comm_init_rank_config = [](nccl::Comm* out, int n, nccl::UniqueId id, int rank, nccl::Config* config) {
    return nccl_call([&](State& s, Lock& l) { return init(s, l, out, n, id, rank, config); });
  };
  t.comm_split = [](nccl::Comm c, int color, int key, nccl::Comm* out, nccl::Config* config) {
    return nccl_call([&](State& s, Lock& l) { return split(s, l, c, color, key, out, config); });
  };
  t.comm_finalize = [](nccl::Comm c) { return nccl_call([&](State& s, Lock& l) { return finalize(s, l, c); }); };
  t.comm_destroy = [](nccl::Comm c) { return nccl_call([&](State& s, Lock& l) { return destroy(s, l, c); }); };
  t.comm_abort = [](nccl::Comm c) { return nccl_call([&](State& s, Lock& l) { return abort(s, l, c); }); };
  t.comm_get_async_error = [](nccl::Comm c, Code* out) { return nccl_call([&](State& s, Lock&) { return async_error(s, c, out); }); };
  t.comm_count = [](nccl::Comm c, int* n) { return query(c, n, "ncclCommCount", [](State&, Comm& comm) { return comm.group->size(); }); };
  t.comm_user_rank = [](nccl::Comm c, int* n) { return query(c, n, "ncclCommUserRank", [](State&, Comm& comm) { return comm.rank; }); };
  t.comm_cu_device = [](nccl::Comm c, int* n) {
    return query(c, n, "ncclCommCuDevice", [](State& s, Comm& comm) { return comm.device % s.options.devices_per_host; });
  };
  t.comm_register = [](nccl::Comm c, void* at, std::size_t n, void** out) { return nccl_call([&](State& s, Lock&) { return register_buffer(s, c, at, n, out); }); };
  t.comm_deregister = [](nccl::Comm c, void* h) { return nccl_call([&](State& s, Lock&) { return deregister(s, c, h); }); };
}

Code end_joins(State& s, Lock& lock) {
  Code code = Code::success;
  for (const auto& c : std::exchange(local().group_joins, {}))
    if (const Code e = join(s, lock, c); e != Code::success) code = e;
  return code;
}

}  // namespace libcoll::test::gpu_double
