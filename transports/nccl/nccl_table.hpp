// NCCL behind a table of functions, opened at run time: nothing of NCCL is linked or included. The types are our own
// declarations of its C ABI, which tests/unit/nccl/nccl_abi_check.cpp compares with the real header.
// Tables are values; what their functions point to stays loaded until the process ends. Thread-safe.
#pragma once

#include <climits>
#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "libcoll/core/result.hpp"
#include "transports/nccl/cuda_table.hpp"

namespace libcoll::nccl {

enum class Code : int {
  success = 0,
  unhandled_cuda_error = 1,
  system_error = 2,
  internal_error = 3,
  invalid_argument = 4,
  invalid_usage = 5,
  remote_error = 6,
  in_progress = 7,
};
enum class Type : int { i8 = 0, u8 = 1, i32 = 2, u32 = 3, i64 = 4, u64 = 5, f16 = 6, f32 = 7, f64 = 8, bf16 = 9, f8e4m3 = 10, f8e5m2 = 11 };
inline constexpr int type_count = 12;
// Values from 5 on are made by redop_create_premulsum.
enum class RedOp : int { sum = 0, prod = 1, max = 2, min = 3, avg = 4 };
inline constexpr int builtin_redop_count = 5;
enum class Residence : int { device = 0, host_immediate = 1 };

using Comm = struct OpaqueComm*;
struct UniqueId {
  char internal[128];
};
inline constexpr int undefined_int = INT_MIN, split_no_color = -1;

// The configuration as of 2.18. NCCL takes its length and its version from it and gives later fields their defaults.
struct Config {
  std::size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 21800;
  int blocking = undefined_int;
  int cga_cluster_size = undefined_int;
  int min_ctas = undefined_int;
  int max_ctas = undefined_int;
  const char* net_name = nullptr;
  int split_share = undefined_int;
  int traffic_class = undefined_int;  // of later versions, in what is padding in 2.18: must stay undefined
};

// member, symbol, type. Required: in every NCCL since 2.18, with one signature.
#define LIBCOLL_NCCL_FUNCTIONS(F)                                                                        \
  F(get_version, ncclGetVersion, Code(int*))                                                             \
  F(get_unique_id, ncclGetUniqueId, Code(UniqueId*))                                                     \
  F(comm_init_rank_config, ncclCommInitRankConfig, Code(Comm*, int, UniqueId, int, Config*))             \
  F(comm_split, ncclCommSplit, Code(Comm, int, int, Comm*, Config*))                                     \
  F(comm_finalize, ncclCommFinalize, Code(Comm))                                                         \
  F(comm_destroy, ncclCommDestroy, Code(Comm))                                                           \
  F(comm_abort, ncclCommAbort, Code(Comm))                                                               \
  F(comm_get_async_error, ncclCommGetAsyncError, Code(Comm, Code*))                                      \
  F(comm_count, ncclCommCount, Code(Comm, int*))                                                         \
  F(comm_cu_device, ncclCommCuDevice, Code(Comm, int*))                                                  \
  F(comm_user_rank, ncclCommUserRank, Code(Comm, int*))                                                  \
  F(all_reduce, ncclAllReduce, Code(const void*, void*, std::size_t, Type, RedOp, Comm, cuda::Stream))   \
  F(broadcast, ncclBroadcast, Code(const void*, void*, std::size_t, Type, int, Comm, cuda::Stream))      \
  F(reduce, ncclReduce, Code(const void*, void*, std::size_t, Type, RedOp, int, Comm, cuda::Stream))     \
  F(all_gather, ncclAllGather, Code(const void*, void*, std::size_t, Type, Comm, cuda::Stream))          \
  F(reduce_scatter, ncclReduceScatter, Code(const void*, void*, std::size_t, Type, RedOp, Comm, cuda::Stream)) \
  F(send, ncclSend, Code(const void*, std::size_t, Type, int, Comm, cuda::Stream))                       \
  F(recv, ncclRecv, Code(void*, std::size_t, Type, int, Comm, cuda::Stream))                             \
  F(group_start, ncclGroupStart, Code())                                                                 \
  F(group_end, ncclGroupEnd, Code())                                                                     \
  F(redop_create_premulsum, ncclRedOpCreatePreMulSum, Code(RedOp*, void*, Type, Residence, Comm))        \
  F(redop_destroy, ncclRedOpDestroy, Code(RedOp, Comm))                                                  \
  F(get_error_string, ncclGetErrorString, const char*(Code))                                             \
  F(get_last_error, ncclGetLastError, const char*(Comm))
// Absent from older versions: a null pointer, and named in `missing`.
#define LIBCOLL_NCCL_OPTIONAL_FUNCTIONS(F)                                                               \
  F(mem_alloc, ncclMemAlloc, Code(void**, std::size_t))                                       /* 2.19 */ \
  F(mem_free, ncclMemFree, Code(void*))                                                       /* 2.19 */ \
  F(comm_register, ncclCommRegister, Code(Comm, void*, std::size_t, void**))                  /* 2.19 */ \
  F(comm_deregister, ncclCommDeregister, Code(Comm, void*))                                   /* 2.19 */

struct Table {
#define LIBCOLL_MEMBER(member, symbol, ...) std::add_pointer_t<__VA_ARGS__> member = nullptr;
  LIBCOLL_NCCL_FUNCTIONS(LIBCOLL_MEMBER)
  LIBCOLL_NCCL_OPTIONAL_FUNCTIONS(LIBCOLL_MEMBER)
#undef LIBCOLL_MEMBER
  std::string origin;                // "libnccl.so.2, NCCL 2.28.9"; FAKE in the tests' double
  std::vector<std::string> missing;  // optional symbols that this version lacks
  int version = 0;                   // 22809
  bool fake = false;
  bool is_fake() const { return fake; }
};

// Opens LIBCOLL_NCCL_LIBRARY if set, and only that; else libnccl.so.2, the one that the process has loaded already if it
// has. Touches no device. Fails with Errc::unsupported and the reason: not found, or symbols missing.
detail::Result<Table> load_nccl();

// 22809 -> "2.28.9", 2708 -> "2.7.8": the encoding changed with 2.9.
std::string version_text(int version);

}  // namespace libcoll::nccl
