#include "types.hpp"

#include <memory>
#include <vector>

#include "state.hpp"

namespace libcoll::pmpi {

HandleTable<TypeInfo, MPI_Datatype> predefined_types;
HandleTable<OpInfo, MPI_Op> predefined_ops;

namespace {

int type_key = MPI_KEYVAL_INVALID;

constexpr std::uint32_t bit(Op op) { return 1u << static_cast<unsigned>(op); }
constexpr std::uint32_t arithmetic = bit(Op::sum) | bit(Op::prod), order = bit(Op::min) | bit(Op::max);
constexpr std::uint32_t logical = bit(Op::land) | bit(Op::lor) | bit(Op::lxor), bitwise = bit(Op::band) | bit(Op::bor) | bit(Op::bxor);
constexpr std::uint32_t location = bit(Op::minloc) | bit(Op::maxloc);

// MPI's groups of types (section "Predefined Reduction Operations"), each with what is defined on it.
enum class Group { c_signed, c_unsigned, other_integer, floating, complex, c_bool, fortran_logical, byte, no_reduction };

std::uint32_t operations_of(Group g) {
  switch (g) {
    case Group::c_signed:
    case Group::c_unsigned: return arithmetic | order | logical | bitwise;
    case Group::other_integer: return arithmetic | order | bitwise;  // Fortran integers, addresses and counts
    case Group::floating: return arithmetic | order;
    case Group::complex: return arithmetic;
    case Group::c_bool:
    case Group::fortran_logical: return logical;
    case Group::byte: return bitwise;
    case Group::no_reduction: return 0;
  }
  return 0;
}

// libcoll's type of that group and size, or nothing that could be reduced.
bool find_dtype(Group g, std::int64_t bytes, DType& found) {
  const auto by_size = [&](DType one, DType two, DType four, DType eight) {
    found = bytes == 1 ? one : bytes == 2 ? two : bytes == 4 ? four : eight;
    return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
  };
  switch (g) {
    case Group::c_signed:
    case Group::other_integer: return by_size(DType::i8, DType::i16, DType::i32, DType::i64);
    case Group::c_unsigned: return by_size(DType::u8, DType::u16, DType::u32, DType::u64);
    case Group::floating: found = bytes == 4 ? DType::f32 : DType::f64; return bytes == 4 || bytes == 8;
    case Group::complex: found = bytes == 8 ? DType::c64 : DType::c128; return bytes == 8 || bytes == 16;
    case Group::c_bool: found = DType::boolean; return bytes == 1;
    case Group::byte: found = DType::byte; return bytes == 1;
    case Group::fortran_logical:  // what is true is the Fortran compiler's choice
    case Group::no_reduction: return false;
  }
  return false;
}

bool measure(MPI_Datatype type, TypeInfo& info) {
  MPI_Count bytes = 0, lower = 0, extent = 0, true_lower = 0, true_extent = 0;
  if (PMPI_Type_size_x(type, &bytes) != MPI_SUCCESS || bytes == MPI_UNDEFINED) return false;
  PMPI_Type_get_extent_x(type, &lower, &extent);
  PMPI_Type_get_true_extent_x(type, &true_lower, &true_extent);
  info.handle = type;
  info.bytes = bytes;
  info.extent = extent;
  info.gapless = bytes == extent && lower == 0 && (bytes == 0 || (true_lower == 0 && true_extent == extent));
  return true;
}

void learn(MPI_Datatype type, Group g) {
  TypeInfo info;
  if (type == MPI_DATATYPE_NULL || !measure(type, info)) return;  // this MPI was built without it
  info.predefined = true;
  info.dense = info.gapless;
  (find_dtype(g, info.bytes, info.dtype) ? info.operations : info.by_mpi) = operations_of(g);
  predefined_types.insert(info);
}

void learn_pair(MPI_Datatype type, DType dtype) {
  TypeInfo info;
  if (type == MPI_DATATYPE_NULL || !measure(type, info)) return;
  info.predefined = true;
  info.dense = info.gapless;
  info.dtype = dtype;
  if (static_cast<std::int64_t>(size_of(dtype)) == info.extent) info.operations = location;
  predefined_types.insert(info);
}

void learn_c_types() {
  for (const MPI_Datatype t : {MPI_SIGNED_CHAR, MPI_SHORT, MPI_INT, MPI_LONG, MPI_LONG_LONG_INT, MPI_INT8_T, MPI_INT16_T, MPI_INT32_T, MPI_INT64_T}) learn(t, Group::c_signed);
  for (const MPI_Datatype t : {MPI_UNSIGNED_CHAR, MPI_UNSIGNED_SHORT, MPI_UNSIGNED, MPI_UNSIGNED_LONG, MPI_UNSIGNED_LONG_LONG, MPI_UINT8_T, MPI_UINT16_T, MPI_UINT32_T, MPI_UINT64_T})
    learn(t, Group::c_unsigned);
  for (const MPI_Datatype t : {MPI_AINT, MPI_OFFSET, MPI_COUNT}) learn(t, Group::other_integer);
  for (const MPI_Datatype t : {MPI_FLOAT, MPI_DOUBLE, MPI_LONG_DOUBLE}) learn(t, Group::floating);
  for (const MPI_Datatype t : {MPI_C_FLOAT_COMPLEX, MPI_C_DOUBLE_COMPLEX, MPI_C_LONG_DOUBLE_COMPLEX, MPI_CXX_FLOAT_COMPLEX, MPI_CXX_DOUBLE_COMPLEX, MPI_CXX_LONG_DOUBLE_COMPLEX})
    learn(t, Group::complex);
  learn(MPI_C_BOOL, Group::c_bool);
  learn(MPI_BYTE, Group::byte);
  for (const MPI_Datatype t : {MPI_CHAR, MPI_WCHAR, MPI_PACKED, MPI_CXX_BOOL}) learn(t, Group::no_reduction);
  learn_pair(MPI_FLOAT_INT, DType::f32_i32);
  learn_pair(MPI_DOUBLE_INT, DType::f64_i32);
  learn_pair(MPI_LONG_INT, DType::i64_i32);
  learn_pair(MPI_2INT, DType::i32_i32);
  learn_pair(MPI_SHORT_INT, DType::i16_i32);
}

void learn_fortran_types() {
  for (const MPI_Datatype t : {MPI_INTEGER, MPI_INTEGER1, MPI_INTEGER2, MPI_INTEGER4, MPI_INTEGER8}) learn(t, Group::other_integer);
  for (const MPI_Datatype t : {MPI_REAL, MPI_DOUBLE_PRECISION, MPI_REAL4, MPI_REAL8}) learn(t, Group::floating);
  for (const MPI_Datatype t : {MPI_COMPLEX, MPI_DOUBLE_COMPLEX, MPI_COMPLEX8, MPI_COMPLEX16}) learn(t, Group::complex);
  learn(MPI_LOGICAL, Group::fortran_logical);
  // Of 16 bytes: not every MPI reduces them.
  for (const MPI_Datatype t : {MPI_CHARACTER, MPI_REAL16, MPI_COMPLEX32}) learn(t, Group::no_reduction);
  learn_pair(MPI_2REAL, DType::f32_f32);
  learn_pair(MPI_2DOUBLE_PRECISION, DType::f64_f64);
  learn_pair(MPI_2INTEGER, DType::i32_i32);
}

void learn_ops() {
  const std::pair<MPI_Op, Op> rows[] = {{MPI_SUM, Op::sum}, {MPI_PROD, Op::prod}, {MPI_MIN, Op::min}, {MPI_MAX, Op::max}, {MPI_LAND, Op::land}, {MPI_LOR, Op::lor},
                                        {MPI_LXOR, Op::lxor}, {MPI_BAND, Op::band}, {MPI_BOR, Op::bor}, {MPI_BXOR, Op::bxor}, {MPI_MINLOC, Op::minloc}, {MPI_MAXLOC, Op::maxloc}};
  for (const auto& [handle, op] : rows) predefined_ops.insert({handle, op, bit(op)});
  for (const MPI_Op none : {MPI_OP_NULL, MPI_REPLACE, MPI_NO_OP}) predefined_ops.insert({none, Op::sum, 0});
}

// Whether elements lie in memory as they are packed: only where the constructors say so, since a permutation of
// the same bytes has the same size and extent.
bool is_dense(MPI_Datatype type, const TypeInfo& info) {
  if (!info.gapless) return false;
  int integers = 0, addresses = 0, types = 0, combiner = 0;
  PMPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner);
  if (combiner == MPI_COMBINER_NAMED || combiner == MPI_COMBINER_F90_REAL || combiner == MPI_COMBINER_F90_COMPLEX || combiner == MPI_COMBINER_F90_INTEGER) return true;
  if (combiner != MPI_COMBINER_DUP && combiner != MPI_COMBINER_CONTIGUOUS) return false;
  int list[1];
  MPI_Aint places[1];
  MPI_Datatype inner = MPI_DATATYPE_NULL;
  PMPI_Type_get_contents(type, integers, addresses, types, list, places, &inner);
  const TypeInfo* known = predefined_types.find(inner);
  TypeInfo measured;
  const bool dense = known != nullptr ? known->dense : measure(inner, measured) && is_dense(inner, measured);
  PMPI_Type_get_envelope(inner, &integers, &addresses, &types, &combiner);
  if (combiner != MPI_COMBINER_NAMED) PMPI_Type_free(&inner);
  return dense;
}

extern "C" int forget_type(MPI_Datatype, int, void* value, void*) {
  delete static_cast<TypeInfo*>(value);
  return MPI_SUCCESS;
}

}  // namespace

void learn_types() noexcept {
  learn_c_types();
  learn_fortran_types();
  learn_ops();
  PMPI_Type_create_keyval(MPI_TYPE_NULL_COPY_FN, forget_type, &type_key, nullptr);
}

const TypeInfo* type_info(MPI_Datatype type) noexcept {
  if (const TypeInfo* known = predefined_types.find(type)) return known;
  if (type == MPI_DATATYPE_NULL) return nullptr;
  void* value = nullptr;
  int found = 0;
  if (PMPI_Type_get_attr(type, type_key, static_cast<void*>(&value), &found) != MPI_SUCCESS) return nullptr;
  if (found != 0) return static_cast<TypeInfo*>(value);
  // MPI refuses to pack what is not committed.
  char nothing = 0;
  int position = 0;
  if (PMPI_Pack(&nothing, 0, type, &nothing, 1, &position, self()) != MPI_SUCCESS) return nullptr;
  auto info = std::make_unique<TypeInfo>();
  if (!measure(type, *info)) return nullptr;
  info->dense = is_dense(type, *info);
  if (PMPI_Type_set_attr(type, type_key, info.get()) != MPI_SUCCESS) return nullptr;
  return info.release();
}

}  // namespace libcoll::pmpi
