// Compiles only if our declarations agree with the real nccl.h.
#include <cuda_runtime_api.h>
// nccl.h wants no more of CUDA than these types; what else it includes would want a CUDA compiler's headers.
#define __CUDA_RUNTIME_H__
#define __CUDA_FP16_H__
#define __CUDA_BF16_H__
#define __CUDA_BF16_TYPES_EXIST__  // what nccl.h asks before 2.24
#define __CUDA_FP8_H__
#include <nccl.h>

#include "tests/unit/nccl/abi_equal.hpp"
#include "transports/nccl/nccl_table.hpp"

namespace libcoll::nccl {

#define LIBCOLL_CHECK(member, symbol, ...) \
  static_assert(test::AbiEqual<__VA_ARGS__, std::remove_pointer_t<decltype(&::symbol)>>::value, #symbol);
LIBCOLL_NCCL_FUNCTIONS(LIBCOLL_CHECK)
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 19, 0)
LIBCOLL_NCCL_OPTIONAL_FUNCTIONS(LIBCOLL_CHECK)
#endif
#undef LIBCOLL_CHECK

#define LIBCOLL_CHECK(ours, theirs) static_assert(static_cast<long long>(ours) == static_cast<long long>(theirs), #theirs)
LIBCOLL_CHECK(Code::success, ncclSuccess);
LIBCOLL_CHECK(Code::unhandled_cuda_error, ncclUnhandledCudaError);
LIBCOLL_CHECK(Code::system_error, ncclSystemError);
LIBCOLL_CHECK(Code::internal_error, ncclInternalError);
LIBCOLL_CHECK(Code::invalid_argument, ncclInvalidArgument);
LIBCOLL_CHECK(Code::invalid_usage, ncclInvalidUsage);
LIBCOLL_CHECK(Code::remote_error, ncclRemoteError);
LIBCOLL_CHECK(Code::in_progress, ncclInProgress);
LIBCOLL_CHECK(Type::i8, ncclInt8);
LIBCOLL_CHECK(Type::u8, ncclUint8);
LIBCOLL_CHECK(Type::i32, ncclInt32);
LIBCOLL_CHECK(Type::u32, ncclUint32);
LIBCOLL_CHECK(Type::i64, ncclInt64);
LIBCOLL_CHECK(Type::u64, ncclUint64);
LIBCOLL_CHECK(Type::f16, ncclFloat16);
LIBCOLL_CHECK(Type::f32, ncclFloat32);
LIBCOLL_CHECK(Type::f64, ncclFloat64);
LIBCOLL_CHECK(Type::bf16, ncclBfloat16);
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 24, 0)
LIBCOLL_CHECK(Type::f8e4m3, ncclFloat8e4m3);
LIBCOLL_CHECK(Type::f8e5m2, ncclFloat8e5m2);
LIBCOLL_CHECK(type_count, ncclNumTypes);
#endif
LIBCOLL_CHECK(RedOp::sum, ncclSum);
LIBCOLL_CHECK(RedOp::prod, ncclProd);
LIBCOLL_CHECK(RedOp::max, ncclMax);
LIBCOLL_CHECK(RedOp::min, ncclMin);
LIBCOLL_CHECK(RedOp::avg, ncclAvg);
LIBCOLL_CHECK(builtin_redop_count, ncclNumOps);
LIBCOLL_CHECK(Residence::device, ncclScalarDevice);
LIBCOLL_CHECK(Residence::host_immediate, ncclScalarHostImmediate);
LIBCOLL_CHECK(undefined_int, NCCL_CONFIG_UNDEF_INT);
LIBCOLL_CHECK(split_no_color, NCCL_SPLIT_NOCOLOR);
static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId));

// NCCL reads as many bytes as `size` says: the fields must lie where the header has them, in as far as it has them.
constexpr ncclConfig_t initializer = NCCL_CONFIG_INITIALIZER;
static_assert(Config{}.magic == initializer.magic);
LIBCOLL_CHECK(offsetof(Config, size), offsetof(ncclConfig_t, size));
LIBCOLL_CHECK(offsetof(Config, magic), offsetof(ncclConfig_t, magic));
LIBCOLL_CHECK(offsetof(Config, version), offsetof(ncclConfig_t, version));
LIBCOLL_CHECK(offsetof(Config, blocking), offsetof(ncclConfig_t, blocking));
LIBCOLL_CHECK(offsetof(Config, cga_cluster_size), offsetof(ncclConfig_t, cgaClusterSize));
LIBCOLL_CHECK(offsetof(Config, min_ctas), offsetof(ncclConfig_t, minCTAs));
LIBCOLL_CHECK(offsetof(Config, max_ctas), offsetof(ncclConfig_t, maxCTAs));
LIBCOLL_CHECK(offsetof(Config, net_name), offsetof(ncclConfig_t, netName));
LIBCOLL_CHECK(offsetof(Config, split_share), offsetof(ncclConfig_t, splitShare));
static_assert(sizeof(Config) <= sizeof(ncclConfig_t));
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 26, 0)
LIBCOLL_CHECK(offsetof(Config, traffic_class), offsetof(ncclConfig_t, trafficClass));
#endif
#undef LIBCOLL_CHECK

}  // namespace libcoll::nccl
