#include "home.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <list>
#include <mutex>

#include "memory.hpp"
#include "settings.hpp"

namespace libcoll::pmpi {

namespace {

enum class Stage : int { none, claimed, ready, failed };

// Left to the process's end on purpose: a program may leave without MPI_Finalize, from any thread.
struct Home {
  std::mutex mutex;                   // never held while ranks wait for each other
  Stage stage = Stage::none;
  const State* claimant = nullptr;
  Comm comm;
  std::list<Comm> retired;
  MPI_Comm probed = MPI_COMM_NULL;    // of all ranks, private: see progress_mpi
};
Home& home() {
  static Home& h = *new Home;
  return h;
}

// MPI's own traffic moves on while it looks for a message that never comes. Only on a communicator of several ranks:
// MPICH looks at one of its own without any progress.
void progress_mpi() {
  int arrived = 0;
  PMPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, home().probed, &arrived, MPI_STATUS_IGNORE);
}

void allgather(const void* send, void* recv, std::size_t bytes, MPI_Comm comm) {
  const int n = static_cast<int>(bytes);
  if (PMPI_Allgather(send, n, MPI_BYTE, recv, n, MPI_BYTE, comm) != MPI_SUCCESS)
    throw Error(Errc::bootstrap, "libcoll: MPI_Allgather failed while a communicator was made");
}

Config configuration() {
  Config c = Config::from_environment();
  // MPI waits for ever: a rank may compute for hours while others wait in a collective.
  constexpr double for_ever_s = 1e9;
  if (std::getenv("LIBCOLL_CALL_TIMEOUT") == nullptr) c.timeout_s = for_ever_s;
  if (mode() == Mode::check) c.check = true;
  c.lent = lent_memory();
  c.progress_thread = false;  // nothing is ever started, and MPI may not be called by another thread
  return c;
}

// The exchange is among the members of a communicator that has all ranks, in its own order.
Comm make_home(const State& s) {
  int rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const auto exchange = [&s](const void* send, void* recv, std::size_t bytes) {
    std::vector<std::byte> all(bytes * static_cast<std::size_t>(s.size));
    allgather(send, all.data(), bytes, s.handle);
    for (std::size_t r = 0; r < s.world_ranks.size(); ++r)
      std::memcpy(static_cast<std::byte*>(recv) + static_cast<std::size_t>(s.world_ranks[r]) * bytes, all.data() + r * bytes, bytes);
  };
  Comm comm = Comm::from_callback(rank, s.size, exchange, configuration());
  PMPI_Comm_split(s.handle, 0, s.rank, &home().probed);  // not dup: it would call the program's attribute functions
  PMPI_Comm_set_errhandler(home().probed, MPI_ERRORS_RETURN);
  comm.set_progress_hook([](void*) { progress_mpi(); }, nullptr);
  return comm;
}

// What this rank's home is to a communicator that asks: claimed means by this very communicator.
Stage look(const State& s, int world_size) {
  Home& h = home();
  const std::lock_guard lock(h.mutex);
  if (h.stage == Stage::none && s.size == world_size) {
    h.stage = Stage::claimed;
    h.claimant = &s;
  }
  if (h.stage == Stage::claimed && h.claimant != &s) return Stage::none;
  return h.stage;
}

void leave_home(Stage stage, Comm&& comm) {
  Home& h = home();
  const std::lock_guard lock(h.mutex);
  h.comm = std::move(comm);
  h.claimant = nullptr;
  h.stage = stage;
}

void complain(const State& s, const char* what) noexcept {
  if (s.rank == 0) std::fprintf(stderr, "%s\nlibcoll: collectives on this communicator of %d ranks are left to MPI\n", what, s.size);
}

bool all_are(const std::vector<int>& stages, Stage wanted) {
  for (const int s : stages)
    if (s != static_cast<int>(wanted)) return false;
  return true;
}

}  // namespace

// Members may look when others are in the middle of making the home through another communicator (threads), or have
// never heard of one: they go on only if all say the same, else ask again later. Nobody waits for anything but this exchange.
void settle(State& s) noexcept try {
  int world_size = 1;
  PMPI_Comm_size(MPI_COMM_WORLD, &world_size);
  const int mine = static_cast<int>(look(s, world_size));
  std::vector<int> all(static_cast<std::size_t>(s.size));
  allgather(&mine, all.data(), sizeof mine, s.handle);
  for (const int stage : all)
    if (stage == static_cast<int>(Stage::failed)) {
      s.settled = true;
      s.reason = Reason::creation_failed;
      return;
    }
  if (all_are(all, Stage::claimed)) {
    try {
      leave_home(Stage::ready, make_home(s));
    } catch (...) {  // thrown on all ranks or on none
      leave_home(Stage::failed, Comm());
      throw;
    }
  } else if (!all_are(all, Stage::ready)) {
    if (mine == static_cast<int>(Stage::claimed)) leave_home(Stage::none, Comm());
    constexpr std::uint32_t longest_skip = 1024;
    s.skip = s.next_skip;
    s.next_skip = std::min(s.next_skip * 2, longest_skip);
    s.reason = Reason::no_world_yet;
    return;
  }
  sweep();  // before, so that memory of freed communicators serves the new one
  s.comm = home().comm.subset(s.world_ranks, [&s](const void* send, void* recv, std::size_t n) { allgather(send, recv, n, s.handle); });
  if (mode() == Mode::report) s.comm.note_ways();
  s.reason = Reason::handled;
  s.settled = true;
} catch (const std::exception& e) {
  s.settled = true;
  s.reason = Reason::creation_failed;
  complain(s, e.what());
}

void retire(Comm&& comm) noexcept {
  if (!comm) return;
  Home& h = home();
  {
    const std::lock_guard lock(h.mutex);
    h.retired.push_back(std::move(comm));
  }
  sweep();
}

void sweep() noexcept {
  Home& h = home();
  const std::lock_guard lock(h.mutex);
  for (auto c = h.retired.begin(); c != h.retired.end();) {
    bool closed = true;  // one that is broken has nothing to give back
    try {
      closed = c->try_close();
    } catch (const std::exception&) {
    }
    c = closed ? h.retired.erase(c) : std::next(c);
  }
}

std::atomic<bool> one_sided{false};
void catch_up(int ranks) noexcept {
  constexpr int most = 8;
  for (int looks = std::min(ranks, most); looks > 0; --looks) progress_mpi();
}

void close_home(std::vector<State*> live) noexcept {
  Home& h = home();
  {
    const std::lock_guard lock(h.mutex);
    if (h.stage != Stage::ready) return;  // on all ranks alike
    h.stage = Stage::failed;
    for (State* s : live)
      if (s->comm) h.retired.push_back(std::move(s->comm));
    h.retired.push_back(std::move(h.comm));
  }
  // Between hosts, leaving takes messages that only these calls move on.
  using Clock = std::chrono::steady_clock;
  const auto give_up = Clock::now() + std::chrono::seconds(5);
  for (sweep(); !h.retired.empty() && Clock::now() < give_up; sweep()) progress_mpi();
  PMPI_Barrier(MPI_COMM_WORLD);
  sweep();
  PMPI_Comm_free(&h.probed);
}

}  // namespace libcoll::pmpi
