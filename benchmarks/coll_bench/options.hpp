// What the command line asks for, and the one place that knows its defaults.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coll_bench/collectives.hpp"
#include "libcoll/types.hpp"

namespace bench {

enum class Buffers { hot, dirty, cold };
enum class Memory { private_, shared };
const char* name_of(Buffers);
const char* name_of(Memory);
// Whose separates calls. own: each library's its own calls.
enum class Barrier { ours, mpi, own };
const char* name_of(Barrier);

struct Options {
  std::vector<Coll> collectives;
  std::uint64_t min_bytes = 1, max_bytes = std::uint64_t{1} << 20;
  int iterations = 0;  // 0: OSU's, by size
  int warmup = -1;     // -1: OSU's, by size
  int repetitions = 0;  // 0: 5, and 25 shorter ones of many algorithms (parse fills it in)
  libcoll::DType dtype = libcoll::DType::f32;
  std::string dtype_name = "float";
  libcoll::Op op = libcoll::Op::sum;
  int root = 0;
  bool check = false, full = false;
  bool keep_clock = false;      // in the times, as OSU does
  bool versus_mpi = false;
  Barrier barrier = Barrier::ours;
  bool through_mpi = false;     // MPI_Allreduce and so on instead of libcoll's own functions: for coll-preload
  bool versus_pmpi = false;     // the same by PMPI_ names
  bool started = false;         // start and wait against blocking
  bool persistent = false;      // the same of persistent collectives
  bool nonblocking = false;
  int tests = -1;               // during a computation; -1: one every 20 us
  bool all_algorithms = false;
  std::string tune;             // file
  Buffers buffers = Buffers::dirty;
  std::vector<Memory> memories = {Memory::private_};
  std::string algorithm;
  std::string json, csv, plot;
  bool instructions = false;
  int instructions_child = 0;  // calls to make as one of the two ranks of --instructions
  int instructions_form = 0;   // in which form

  // Two contestants; what they are called.
  bool compares() const { return versus_mpi || versus_pmpi || versus_blocking(); }
  bool versus_blocking() const { return started || persistent; }
  const char* first_name() const { return through_mpi ? "MPI_" : started ? "started" : persistent ? "persistent" : "libcoll"; }
  const char* second_name() const { return versus_blocking() ? "blocking" : versus_pmpi ? "PMPI_" : "MPI"; }

  bool needs_mpi() const { return versus_mpi || barrier == Barrier::mpi || through_mpi; }
  // OSU's choice: many iterations while messages are small. Many algorithms are measured in turns a fifth as long and five times
  // as many: a disturbance then hits all of them alike and not, at random, most turns of one.
  int iterations_for(std::uint64_t bytes) const {
    return iterations > 0 ? iterations : (bytes <= 8192 ? 1000 : 100) / (all_algorithms ? 5 : 1);
  }
  int warmup_for(std::uint64_t bytes) const { return warmup >= 0 ? warmup : (bytes <= 8192 ? 100 : 10) / (all_algorithms ? 5 : 1); }
};

// Rank and size as a launcher's environment tells them, before any MPI runs; rank 0 of 1 if it does not.
int launcher_rank();
int launcher_size();

// -1: go on with `options`; else the exit code (help was printed, or arguments were bad: 2).
int parse(int argc, char** argv, Options& options);

}  // namespace bench
