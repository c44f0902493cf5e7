// Communicators that have more than one MPI_COMM_WORLD (spawn), or none behind them (sessions of MPI 4): passed down, and right.
#include "check.hpp"

namespace {

using namespace pmpi_test;

void check_sum(MPI_Comm c, const char* what) {
  long one = 1, out = 0;
  const int n = size_of(c);
  MPI_Allreduce(&one, &out, 1, MPI_LONG, MPI_SUM, c);
  require(out == n, std::string("sum over ") + what);
  MPI_Barrier(c);
}

// Both sides: over the intercommunicator, over all of both worlds, and over their own world before and after.
void meet(MPI_Comm others, bool is_child) {
  check_sum(MPI_COMM_WORLD, "a world that met another");
  int remote = 0;
  MPI_Comm_remote_size(others, &remote);
  long one = 1, theirs = 0;
  MPI_Allreduce(&one, &theirs, 1, MPI_LONG, MPI_SUM, others);
  require(theirs == remote, "sum over the intercommunicator of a spawn");
  MPI_Comm both;
  MPI_Intercomm_merge(others, is_child, &both);
  require(size_of(both) == size_of() + remote, "size of the merged worlds");
  check_sum(both, "two worlds");
  MPI_Comm_free(&both);
  check_sum(MPI_COMM_WORLD, "a world after it met another");
  MPI_Comm_disconnect(&others);
}

#if MPI_VERSION >= 4
void check_sessions() {
  MPI_Session session;
  MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_ARE_FATAL, &session);
  MPI_Group group;
  MPI_Group_from_session_pset(session, "mpi://WORLD", &group);
  MPI_Comm c;
  MPI_Comm_create_from_group(group, "libcoll.test", MPI_INFO_NULL, MPI_ERRORS_ARE_FATAL, &c);
  check_sum(c, "a communicator of a session");
  int root = rank_of(c) == size_of(c) - 1 ? 7 : 0;
  MPI_Bcast(&root, 1, MPI_INT, size_of(c) - 1, c);
  require(root == 7, "bcast over a communicator of a session");
  if (rank_of(c) == 0) std::printf("pmpi test: passed\n");
  std::fflush(stdout);
  MPI_Barrier(c);
  MPI_Comm_free(&c);
  MPI_Group_free(&group);
  MPI_Session_finalize(&session);
}
#endif

}  // namespace

// Usage: pmpi_spawn spawn COMMAND ARGUMENTS... (this program again, as the children run it), or sessions: without MPI_Init.
int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
#if MPI_VERSION >= 4
  if (what == "sessions") return check_sessions(), 0;
#endif
  MPI_Init(&argc, &argv);
  MPI_Comm parent, children;
  MPI_Comm_get_parent(&parent);
  if (parent != MPI_COMM_NULL) {
    meet(parent, true);
  } else {
    require(what == "spawn" && argc > 3, "usage: pmpi_spawn spawn COMMAND PROGRAM");
    check_sum(MPI_COMM_WORLD, "the world before the spawn");
    MPI_Comm_spawn(argv[2], argv + 3, 2, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children, MPI_ERRCODES_IGNORE);
    meet(children, false);
    passed();
  }
  MPI_Finalize();
}
