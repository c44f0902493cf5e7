// Runs the ranks of a job inside a test, as threads or as forked processes, and reports what went wrong
// in terms of ranks. Nothing here can hang: a watchdog ends what does not end by itself.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "libcoll/libcoll.hpp"

namespace libcoll::test {

// Knobs for tests: no calibration, a small arena, a timeout that ends a hang within the watchdog's time.
Config quiet_config();

struct Launch {
  int ranks = 2;
  Config config = quiet_config();
  double watchdog_s = 120;
};
using Body = std::function<void(Comm&)>;

// Both run `body` on every rank of a fresh world and close it. Return "" or one line for each rank
// that failed, culprits before those that only lost a peer.
// Threads: where a rank hangs the whole process ends, after saying which rank it was.
std::string run_threads(const Launch&, const Body& body);
// Call with no other thread running.
std::string run_forked(const Launch&, const Body& body);

// -- The pieces, for tests that need more.

// An allgather in shared memory; works between threads and between forked processes. Every exchange
// of a job that was stopped, or that takes too long, throws.
class Board {
 public:
  explicit Board(int ranks);
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  void allgather(int rank, const void* send, void* recv, std::size_t bytes);
  AllgatherFunction function_for(int rank);
  void stop() { head_->stopped.store(1); }
  // A word that every rank and the parent see, for the test's own use; starts as 0.
  std::atomic<std::uint64_t>& word(int i) { return head_->words[i]; }
  // What a rank has to say to the parent.
  void report(int rank, const std::string& text);
  std::string text_of(int rank) const;

  static constexpr int word_count = 64;

 private:
  static constexpr std::size_t cell_bytes = 4096, text_bytes = 2048;
  struct Head {
    std::atomic<std::uint32_t> arrived, generation, stopped;
    std::atomic<std::uint64_t> words[word_count];
  };
  void meet();
  char* cell(int rank) const { return cells_ + static_cast<std::size_t>(rank) * cell_bytes; }

  int ranks_;
  std::size_t mapped_bytes_;
  Head* head_;
  char* cells_;
  char* texts_;
};

// Forked ranks that a test may kill. Unreaped ones are killed and reaped by the destructor.
class Processes {
 public:
  struct End {
    bool ended = false;   // false: the watchdog had to kill it
    int exit_code = -1;   // -1: ended by `signal`
    int signal = 0;
    bool good() const { return ended && exit_code == 0; }
  };
  // body(rank) returns the exit code; an exception is reported on the board, exit code 1.
  Processes(Board&, int ranks, const std::function<int(int)>& body);
  ~Processes();
  pid_t pid(int rank) const { return pids_[static_cast<std::size_t>(rank)]; }
  void signal(int rank, int number) const;
  // Waits for all of them until the deadline, then kills the rest.
  const std::vector<End>& wait(double seconds);
  // Waits for one, without killing it.
  bool wait_for(int rank, double seconds);

 private:
  bool reap(std::size_t rank);
  std::vector<pid_t> pids_;
  std::vector<End> ends_;
};

// Polls until `done` or until so many seconds have passed; returns done().
bool wait_until(double seconds, const std::function<bool()>& done);

}  // namespace libcoll::test
