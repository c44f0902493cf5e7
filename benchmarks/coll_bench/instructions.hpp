// Counts the instructions of one 8-byte allreduce under valgrind's callgrind.
#pragma once

namespace bench {

struct InstructionCount {
  double per_call = 0;       // from the entry of Comm::allreduce to its return, without the waiting loop
  double started = 0;        // the same of Comm::iallreduce and Request::wait
  double persistent = 0;     // of Persistent::start and wait
  double late_fraction = 0;  // of calls that had to wait for the peer
  int calls = 0;
};

// Starts this program twice as two ranks. Throws std::runtime_error that says what to do.
InstructionCount count_instructions();
// One of those ranks: makes `calls` calls; `form` is 0 for blocking, 1 for started, 2 for persistent ones.
void run_counted_calls(int form, int calls);

}  // namespace bench
