// What NCCL can reduce: the capability mask that planning asks before it considers NCCL. Pure and thread-safe.
#pragma once

#include <optional>

#include "libcoll/types.hpp"
#include "transports/nccl/nccl_table.hpp"

namespace libcoll::nccl {

// The type of equal representation and arithmetic; nullopt where NCCL has none (i16, complex, boolean, byte, pairs).
// Movements need none: they send bytes as Type::u8.
std::optional<Type> nccl_type(DType) noexcept;

// nullopt for bitwise and logical operations, minloc, maxloc and custom.
std::optional<RedOp> nccl_op(Op) noexcept;

// Whether this version reduces such elements by such an operation, with libcoll's meaning of both: not avg of integers
// (libcoll defines none), not bf16 before 2.10, not fp8 before 2.24.
bool supports(DType, Op, int version) noexcept;

// Sums of operands times a scalar of each rank's own (redop_create_premulsum).
bool supports_premulsum(DType, int version) noexcept;

}  // namespace libcoll::nccl
