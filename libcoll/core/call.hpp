// Call: one collective as a value, without pointers. The key of the plan cache and the input of select.
#pragma once

#include <cstdint>
#include <string>

#include "libcoll/comm.hpp"

namespace libcoll::detail {

enum class Coll : std::uint8_t {
  barrier, bcast, reduce, allreduce, reduce_scatter_block, reduce_scatter, allgather, allgatherv,
  gather, gatherv, scatter, scatterv, alltoall, alltoallv, scan, exscan,
};
inline constexpr int coll_count = 16;
const char* name_of(Coll) noexcept;
inline bool is_reduction(Coll c) noexcept {
  return c == Coll::reduce || c == Coll::allreduce || c == Coll::reduce_scatter_block || c == Coll::reduce_scatter || c == Coll::scan || c == Coll::exscan;
}

// size_of without the call: 0 for unknown types.
inline std::size_t bytes_of(DType type) noexcept {
  static constexpr std::uint8_t bytes[256] = {1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 1, 1, 8, 16, 1, 1, sizeof(Pair_f32_i32), sizeof(Pair_f64_i32),
                                              sizeof(Pair_i64_i32), sizeof(Pair_i32_i32), sizeof(Pair_i16_i32), sizeof(Pair_f32_f32), sizeof(Pair_f64_f64)};
  return bytes[static_cast<std::uint8_t>(type)];
}

enum class Algorithm : std::uint8_t { automatic, direct, sliced, grouped };
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
  std::uint8_t in_place = 0;       // 1 if this rank's send is in_place
  std::uint8_t determinism = 0;    // Determinism
  std::uint8_t recipe = 0;         // the caller's, see recipes.hpp; 0: none
  std::uint8_t commutative = 0;    // 1 if a custom operation is

  friend bool operator==(const Call&, const Call&) noexcept = default;
};
static_assert(sizeof(Call) == 24, "no padding: sent to other ranks as it is");

std::string to_text(const Call&);
// The v-forms whose table of counts must be equal on all ranks.
inline bool counts_are_hashed(Coll c) noexcept { return c == Coll::reduce_scatter || c == Coll::allgatherv; }

// A Call as three words: what the plan cache hashes and compares. Put together by shifts, so that a
// call that is found never exists in memory (byte stores read back as words would stall). The size of
// elements follows from the type, but for custom operations.
struct CallWords {
  std::uint64_t w[3];
  friend bool operator==(const CallWords& a, const CallWords& b) noexcept {
    return ((a.w[0] ^ b.w[0]) | (a.w[1] ^ b.w[1]) | (a.w[2] ^ b.w[2])) == 0;
  }
};
inline constexpr CallWords no_call{{~std::uint64_t{0}, 0, 0}};  // of no call: there is no such Algorithm
inline CallWords words_of(const Call& c) noexcept {
  const auto byte = [](auto v, int at) { return static_cast<std::uint64_t>(static_cast<std::uint8_t>(v)) << (8 * at); };
  return {{byte(c.coll, 0) | byte(c.dtype, 1) | byte(c.op, 2) | byte(c.algorithm, 3) | static_cast<std::uint64_t>(c.root) << 32,
           static_cast<std::uint64_t>(c.count), (c.op == Op::custom ? c.element_bytes : 0) | byte(c.in_place, 4) | byte(c.determinism, 5) | byte(c.recipe, 6) | byte(c.commutative, 7)}};
}

// What differs between ranks, never decides a structure by itself: addresses and per-rank counts.
struct Args {
  const void* send = nullptr;      // resolved: never in_place
  void* recv = nullptr;
  const CustomOp* custom = nullptr;
  double timeout_s = 0;            // 0: the communicator's
  // v-forms only:
  const Count* send_counts = nullptr;
  const Count* send_displs = nullptr;
  const Count* recv_counts = nullptr;
  const Count* recv_displs = nullptr;
  Count local_count = 0;           // this rank's own count
};

}  // namespace libcoll::detail
