#include "state.hpp"

#include <cstdio>
#include <memory>
#include <mutex>
#include <set>

#include "home.hpp"
#include "memory.hpp"
#include "settings.hpp"
#include "sites.hpp"
#include "types.hpp"

namespace libcoll::pmpi {

constinit thread_local Recent recent{MPI_COMM_NULL, 0, nullptr};
std::atomic<std::uint64_t> epoch{1};

namespace {

// Left to the process's end on purpose, like the home.
struct Book {
  std::mutex mutex;
  std::atomic<bool> started = false, finalizing = false;
  int comm_key = MPI_KEYVAL_INVALID, last_key = MPI_KEYVAL_INVALID;
  MPI_Comm self = MPI_COMM_NULL;
  std::set<State*> live;
};
Book& book() {
  static Book& b = *new Book;
  return b;
}

extern "C" int forget_state(MPI_Comm, int, void* value, void*) {
  auto* s = static_cast<State*>(value);
  epoch.fetch_add(1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(book().mutex);
    book().live.erase(s);
  }
  retire(std::move(s->comm));
  delete s;
  return MPI_SUCCESS;
}

// The first attribute of MPI_COMM_SELF is deleted last: the program's own callbacks may still use collectives before,
// and MPI still works. Later ones are passed down, on all ranks alike.
extern "C" int last_callback(MPI_Comm, int, void*, void*) {
  Book& b = book();
  std::vector<State*> live;
  {
    const std::lock_guard lock(b.mutex);
    b.finalizing = true;
    live.assign(b.live.begin(), b.live.end());
  }
  epoch.fetch_add(1, std::memory_order_relaxed);
  close_home(std::move(live));
  if (mode() == Mode::report) print_report();
  if (mode() == Mode::compare) print_sites();
  PMPI_Comm_free(&b.self);
  return MPI_SUCCESS;
}

bool mpi_is_up() {
  int initialized = 0, finalized = 0;
  PMPI_Initialized(&initialized);
  if (initialized == 0) return false;
  PMPI_Finalized(&finalized);
  return finalized == 0;
}

// All that can be said without asking others, equal on all ranks.
Reason judge(State& s, MPI_Comm comm) {
  int inter = 0;
  PMPI_Comm_test_inter(comm, &inter);
  if (inter != 0) return Reason::intercommunicator;
  PMPI_Comm_rank(comm, &s.rank);
  PMPI_Comm_size(comm, &s.size);
  if (s.size == 1) return Reason::one_rank;
  MPI_Group mine, world;
  PMPI_Comm_group(comm, &mine);
  PMPI_Comm_group(MPI_COMM_WORLD, &world);
  std::vector<int> ranks(static_cast<std::size_t>(s.size));
  s.world_ranks.resize(ranks.size());
  for (std::size_t r = 0; r < ranks.size(); ++r) ranks[r] = static_cast<int>(r);
  PMPI_Group_translate_ranks(mine, s.size, ranks.data(), world, s.world_ranks.data());
  PMPI_Group_free(&mine);
  PMPI_Group_free(&world);
  // Whoever has members from two worlds has one outside his own, whichever his is.
  for (const int r : s.world_ranks)
    if (r == MPI_UNDEFINED) return Reason::several_worlds;
  return Reason::handled;
}

State* find(MPI_Comm comm) {
  void* value = nullptr;
  int found = 0;
  if (PMPI_Comm_get_attr(comm, book().comm_key, static_cast<void*>(&value), &found) != MPI_SUCCESS) return nullptr;
  if (found != 0) return static_cast<State*>(value);
  auto s = std::make_unique<State>();
  s->handle = comm;
  s->reason = judge(*s, comm);
  s->settled = s->reason != Reason::handled;
  if (PMPI_Comm_set_attr(comm, book().comm_key, s.get()) != MPI_SUCCESS) return nullptr;
  const std::lock_guard lock(book().mutex);
  book().live.insert(s.get());
  return s.release();
}

}  // namespace

void start() noexcept {
  Book& b = book();
  const std::lock_guard lock(b.mutex);
  if (b.started || mode() == Mode::off || !mpi_is_up()) return;
  PMPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, forget_state, &b.comm_key, nullptr);
  PMPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, last_callback, &b.last_key, nullptr);
  PMPI_Comm_set_attr(MPI_COMM_SELF, b.last_key, &b);
  PMPI_Comm_dup(MPI_COMM_SELF, &b.self);
  PMPI_Comm_set_errhandler(b.self, MPI_ERRORS_RETURN);
  learn_types();
  start_arena();
  b.started = true;
}

MPI_Comm self() noexcept { return book().self; }

State* enter(MPI_Comm comm, Reason& why) noexcept {
  const Book& b = book();
  why = Reason::off;
  if (mode() == Mode::off) return nullptr;
  if (!b.started) start();
  why = Reason::outside_mpi;
  if (!b.started) return nullptr;
  why = Reason::finalizing;
  if (b.finalizing) return nullptr;
  why = Reason::bad_arguments;
  if (comm == MPI_COMM_NULL) return nullptr;
  State* s = find(comm);
  if (s == nullptr) return nullptr;
  if (!s->settled) {
    if (s->skip != 0) --s->skip;
    else settle(*s);
  }
  why = s->reason;
  if (!s->ready()) return nullptr;
  if (mode() == Mode::on) recent = {comm, epoch.load(std::memory_order_relaxed), s};
  return s;
}

int raise(MPI_Comm comm, const char* what) noexcept {
  std::fprintf(stderr, "%s\n", what);
  static const int code = [] {
    int made = MPI_ERR_OTHER;  // MPICH adds codes only to classes that were added too
    if (PMPI_Add_error_class(&made) == MPI_SUCCESS) PMPI_Add_error_string(made, "libcoll could not complete the collective (see its message)");
    return made;
  }();
  PMPI_Comm_call_errhandler(comm, code);
  return code;
}

}  // namespace libcoll::pmpi
