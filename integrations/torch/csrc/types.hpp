// torch's tensors, element types and reductions in libcoll's terms. Values only.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/Types.hpp>

#include "libcoll/comm.hpp"

namespace libcoll::torch_door {

// How a reduction runs: by this operation on this type, after a multiplication where the operation is PREMUL_SUM.
// Throws ValueError naming the collective for what no reduction is defined on.
struct Reduction {
  DType type = DType::byte;
  Op op = Op::sum;
  c10::intrusive_ptr<c10d::_SupplementBase> factor;

  static Reduction of(const char* collective, const c10d::ReduceOp&, at::ScalarType);
  // t * factor in memory of its own, or t itself.
  at::Tensor scaled(const at::Tensor& t) const;
};

// Throws ValueError naming the collective and the argument unless the tensor is dense and in memory that libcoll knows;
void require_dense(const char* collective, const char* argument, const at::Tensor&);
// unless it is on the device of `first`, another tensor of the call; unless it has its element type, too.
void require_same_device(const char* collective, const char* argument, const at::Tensor&, const at::Tensor& first);
void require_like(const char* collective, const char* argument, const at::Tensor&, const at::Tensor& first);

// Where an operation reads or writes a tensor: in place if it is contiguous, else in a copy.
at::Tensor flat(const at::Tensor& t);
// For what is only written.
at::Tensor flat_target(const at::Tensor& t);
// `source`, or a copy of it where libcoll would write it before it is read: if it shares memory with the target and is not `own`,
// the place in it where libcoll wants this rank's data.
at::Tensor apart_from(const at::Tensor& source, const void* target, std::int64_t bytes, const void* own = nullptr);
// What puts results that were written to `flat` where the caller wants them; null if they are there.
std::function<void()> copy_back(const at::Tensor& flat, const at::Tensor& wanted);
inline std::int64_t bytes_of(const at::Tensor& t) { return t.numel() * static_cast<std::int64_t>(t.element_size()); }

// Tensors as blocks of one array of bytes: where each begins, relative to the lowest.
struct Blocks {
  std::byte* base = nullptr;
  std::vector<Count> counts, displs;
  bool even = true;      // all of one size
  bool adjacent = true;  // each begins where the one before it ends
  std::vector<at::Tensor> tensors;  // contiguous: those given, or copies

  enum class Use : std::uint8_t { read, write };
  static Blocks of(const std::vector<at::Tensor>&, Use);
  std::int64_t bytes() const;
  // Makes them adjacent by copying, if they are not; for results: into memory that spread() copies from.
  void pack(Use);
  std::int64_t span() const;  // bytes from base to the end of the highest
  void spread(const std::vector<at::Tensor>& to) const;

 private:
  at::Tensor packed_;
};

}  // namespace libcoll::torch_door
