// Call: one collective as a value, without pointers. The key of the plan cache and the input of select.
#pragma once

#include <cstdint>
#include <cstring>

#include "libcoll/comm.hpp"

namespace libcoll::detail {

enum class Coll : std::uint8_t {
  barrier, bcast, reduce, allreduce, reduce_scatter_block, reduce_scatter, allgather, allgatherv,
  gather, gatherv, scatter, scatterv, alltoall, alltoallv, scan, exscan,
};
inline constexpr int coll_count = 16;
const char* name_of(Coll) noexcept;

enum class Algorithm : std::uint8_t { automatic, direct, sliced };
const char* name_of(Algorithm) noexcept;

// Every field is equal on all ranks, but for `in_place`, which only tells the caller's own layout.
struct Call {
  Coll coll = Coll::barrier;
  DType dtype = DType::byte;
  Op op = Op::sum;
  Algorithm algorithm = Algorithm::automatic;
  std::uint32_t root = 0;
  std::int64_t count = 0;          // elements per block; 0 for the v-forms, or a hash (counts_are_hashed)
  std::uint32_t element_bytes = 1;
  std::uint32_t in_place = 0;      // 1 if this rank's send is in_place

  friend bool operator==(const Call& a, const Call& b) noexcept { return std::memcmp(&a, &b, sizeof a) == 0; }
};
static_assert(sizeof(Call) == 24, "no padding: compared and hashed as three words");

std::string to_text(const Call&);
// The v-forms whose table of counts must be equal on all ranks.
inline bool counts_are_hashed(Coll c) noexcept { return c == Coll::reduce_scatter || c == Coll::allgatherv; }

struct CallWords { std::uint64_t w[3]; };
inline CallWords words_of(const Call& c) noexcept {
  CallWords r;
  std::memcpy(&r, &c, sizeof r);
  return r;
}

// What differs between ranks, never decides a structure by itself: addresses and per-rank counts.
struct Args {
  const void* send = nullptr;      // resolved: never in_place
  void* recv = nullptr;
  const Count* send_counts = nullptr;
  const Count* send_displs = nullptr;
  const Count* recv_counts = nullptr;
  const Count* recv_displs = nullptr;
  Count local_count = 0;           // v-forms: this rank's own count
  const CustomOp* custom = nullptr;
  double timeout_s = 0;            // 0: the communicator's
};

}  // namespace libcoll::detail
