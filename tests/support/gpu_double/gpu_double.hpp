// A double of the CUDA runtime and of NCCL for tests without a GPU: fills the tables of transports/nccl with functions
// that compute on host memory, with streams as threads and the ranks of a communicator as threads of this process. It
// reports misuse that real hardware would answer with a hang or with wrong data. README.md says what it cannot show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "transports/nccl/cuda_table.hpp"
#include "transports/nccl/nccl_table.hpp"

namespace libcoll::test::gpu_double {

struct Options {
  int hosts = 1;
  int devices_per_host = 1;
  std::uint64_t seed = 1;        // of the delays
  double delay_us = 30;          // the longest before an operation on a stream; one in four has any
  bool strict = true;            // report what can hang real hardware although it worked here
  double watchdog_s = 60;        // so long without progress, while somebody waits: everything fails
  int cuda_version = 12040;
  int nccl_version = 22809;
};

struct State;

// One at a time in a process; the functions of its tables work while it lives and return errors afterwards. Thread-safe.
class Session {
 public:
  explicit Session(const Options& = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const cuda::Table& cuda() const;
  const nccl::Table& nccl() const;

  // Which host the calling thread is on, 0 unless set: decides which devices it sees.
  void enter_host(int host);
  // What happens when a network or a device fails: this rank's communicator gets the error, the others of it
  // remote_error, and whoever waits goes on. False where the handle is of no communicator.
  bool inject_error(nccl::Comm, nccl::Code, const std::string& text);

  // The same to every communicator of a device. False where it is in none.
  bool inject_error_at(int host, int device, nccl::Code, const std::string& text);

  // Misuse so far, one line each.
  std::vector<std::string> reports() const;
  // Ends all work, and adds, unless the watchdog gave up, what was not released: streams, events, graphs, communicators, memory, registrations.
  // Call it when no other thread is in a function of the tables.
  std::vector<std::string> finish();

 private:
  std::unique_ptr<State> state_;
};

}  // namespace libcoll::test::gpu_double
