// Communicators of the double: what their ranks share, how they meet, how they fail. Internal; everything here needs the
// state's lock.
#pragma once

#include "tests/support/gpu_double/state.hpp"

namespace libcoll::test::gpu_double {

inline constexpr int premulsum = nccl::builtin_redop_count;

// One collective of all ranks, or one message of two: done when it was computed, or when it failed.
struct Match : Signal {
  Op first;              // the call that the others must equal
  int first_rank = 0;
  int expected = 0, issued = 0, arrived = 0;
  std::vector<Op> ops;   // by rank; of a message: what is sent, what is received
  // By device: how many collectives of each communicator it had issued before, and with the group that this belongs to.
  struct Order {
    std::map<std::uint64_t, std::uint64_t> before, with;
  };
  std::map<int, Order> orders;
};

// What the ranks of a communicator share.
struct CommGroup {
  std::uint64_t id = 0;
  std::vector<Comm*> members;  // null once destroyed
  std::vector<int> devices;
  std::map<std::uint64_t, std::shared_ptr<Match>> collectives;
  std::map<std::pair<int, int>, std::map<std::uint64_t, std::shared_ptr<Match>>> messages;  // by sender and receiver
  std::map<std::uint64_t, std::shared_ptr<Meeting>> splits;
  int computing = 0;
  int size() const { return static_cast<int>(devices.size()); }
};

struct Redop {
  nccl::Type type;
  std::vector<std::byte> scalar;
  const void* device_scalar = nullptr;
};

// One rank's communicator.
struct Comm {
  nccl::Comm handle = nullptr;
  nccl::Comm* out = nullptr;     // where the application has it, until it is ready
  std::shared_ptr<CommGroup> group;  // null until all have come
  int rank = 0, device = 0;
  bool blocking = true, finalized = false, destroyed = false;
  int polls = 0;                 // not blocking: so often the answer is "in progress"
  nccl::Code async = nccl::Code::success;
  std::string text;              // why it failed
  std::uint64_t next_collective = 0, next_split = 0;
  std::map<int, std::uint64_t> sent, received;  // by peer
  int outstanding = 0;           // issued and not done on this rank
  std::thread::id user, grouped_by;  // a thread in a function; in a group with operations on it
  std::map<std::uintptr_t, Range> registrations;
  std::map<int, Redop> redops;
};

// Where the ranks of a communicator to be meet.
struct Meeting {
  std::vector<std::shared_ptr<Comm>> comms;  // by rank, of the parent for a split; null: not yet, or no color
  std::vector<bool> here;
  std::vector<int> colors, keys;
  int arrived = 0;
};

std::string text_of(const Comm&);  // "rank 1 of communicator 3"
std::string text_of(const Op&);

// Every rank gets an error that it has not had before: `culprit` its own, the others `code`. All that waits goes on.
void fail_group(State&, CommGroup&, const std::string& text, nccl::Code code, const Comm* culprit = nullptr,
                nccl::Code culprit_code = nccl::Code::success);

// A use of a communicator by the calling thread, until its end.
struct Use {
  std::shared_ptr<Comm> comm;  // null: refused with `code`
  nccl::Code code = nccl::Code::success;
  Use() = default;
  Use(Use&& other) noexcept : comm(std::move(other.comm)), code(other.code) {}
  ~Use() {
    if (comm) comm->user = {};
  }
};
// Refuses what is no communicator, another thread's (strict), and, if `ready`, what failed or is not ready.
Use use_comm(State&, nccl::Comm, const char* function, bool ready);
// Waits for the communicators that were created in the group that ends.
nccl::Code end_joins(State&, Lock&);
// Makes the calls of one group, or a single one, on their streams or in a capture.
nccl::Code issue(State&, Lock&, std::vector<Op>);
// What all ranks' buffers hold afterwards. Without the lock.
void compute(const Match&, int size);
DType dtype_of(nccl::Type);

}  // namespace libcoll::test::gpu_double
