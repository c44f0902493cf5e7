// Where every instruction counts: a communicator that was used last, predefined types without gaps, some data, buffers
// plainly apart, and nobody who watches. Whatever else there is takes the long way, which looks closely.
#pragma once

#include "settings.hpp"
#include "state.hpp"
#include "types.hpp"

namespace libcoll::pmpi {

class Quick {
 public:
  explicit Quick(MPI_Comm comm) noexcept : comm_(comm), state_(recently(comm)) {}
  explicit operator bool() const noexcept { return state_ != nullptr; }
  int rank() const noexcept { return state_->rank; }
  int size() const noexcept { return state_->size; }
  bool has(int root) const noexcept { return state_ != nullptr && root >= 0 && root < state_->size; }
  template <class Body>
  int run(const Body& body) const noexcept {
    try {
      body(state_->comm);
    } catch (const std::exception& e) {
      return raise(comm_, e.what());
    }
    return MPI_SUCCESS;
  }

 private:
  MPI_Comm comm_;
  State* state_;
};

// Bytes of `count` elements at `base`; 0 unless plain.
inline std::int64_t plain_bytes(const void* base, std::int64_t count, MPI_Datatype type) noexcept {
  const TypeInfo* t = predefined_types.find(type);
  return t != nullptr && t->dense && count > 0 && base != nullptr && !is_in_place_here(base) ? count * t->bytes : 0;
}

inline bool apart(const void* a, std::int64_t a_bytes, const void* b, std::int64_t b_bytes) noexcept {
  const auto x = reinterpret_cast<std::uintptr_t>(a), y = reinterpret_cast<std::uintptr_t>(b);
  return x + static_cast<std::uintptr_t>(a_bytes) <= y || y + static_cast<std::uintptr_t>(b_bytes) <= x;
}

// An operation that libcoll has on a predefined type: null unless plain.
struct PlainReduction {
  const TypeInfo* type;
  const OpInfo* op;
  PlainReduction(MPI_Datatype t, MPI_Op o) noexcept : type(predefined_types.find(t)), op(predefined_ops.find(o)) {}
  explicit operator bool() const noexcept { return type != nullptr && op != nullptr && (type->operations & op->bit) != 0; }
  std::int64_t bytes(std::int64_t count) const noexcept { return count * type->extent; }
};

}  // namespace libcoll::pmpi
