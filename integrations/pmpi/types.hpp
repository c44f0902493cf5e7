// MPI's datatypes and operations in libcoll's terms. Predefined ones come from tables filled once MPI is up; derived
// ones are looked at once and remembered as an attribute.
#pragma once

#include <array>
#include <cstdint>

#include "flavour.hpp"
#include "libcoll/types.hpp"

namespace libcoll::pmpi {

struct TypeInfo {
  MPI_Datatype handle = MPI_DATATYPE_NULL;
  DType dtype = DType::byte;
  std::uint32_t operations = 0;  // bit of each Op that MPI defines on it and libcoll has
  std::uint32_t by_mpi = 0;      // of each that libcoll lacks and MPI_Reduce_local computes
  bool predefined = false;
  bool dense = false;            // elements follow each other in memory as they do when packed
  std::int64_t bytes = 0;        // of data in an element
  std::int64_t extent = 0;
  bool gapless = false;          // an element fills its extent from lower bound 0, in whatever order
};

struct OpInfo {
  MPI_Op handle = MPI_OP_NULL;
  Op op = Op::sum;
  std::uint32_t bit = 0;         // 0: not an operation of reductions
};

// An open-addressed table of handles; the few dozen predefined ones fill a fraction of it.
template <class Info, class Handle>
class HandleTable {
 public:
  const Info* find(Handle h) const noexcept {
    for (std::size_t i = place(h);; i = (i + 1) % slots) {
      if (used_[i] && rows_[i].handle == h) return &rows_[i];
      if (!used_[i]) return nullptr;
    }
  }
  void insert(const Info& info) noexcept {
    std::size_t i = place(info.handle);
    while (used_[i] && rows_[i].handle != info.handle) i = (i + 1) % slots;
    if (!used_[i]) rows_[i] = info;  // of synonyms the first stays
    used_[i] = true;
  }

 private:
  static constexpr std::size_t slots = 256;
  static std::size_t place(Handle h) noexcept { return (bits_of(h) * 0x9e3779b97f4a7c15u) >> 56; }
  std::array<Info, slots> rows_{};
  std::array<bool, slots> used_{};
};
extern HandleTable<TypeInfo, MPI_Datatype> predefined_types;
extern HandleTable<OpInfo, MPI_Op> predefined_ops;

// Once, by start().
void learn_types() noexcept;

// Of a committed type; null if MPI would refuse it. Valid until the type is freed.
const TypeInfo* type_info(MPI_Datatype type) noexcept;

}  // namespace libcoll::pmpi
