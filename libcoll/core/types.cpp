#include "libcoll/types.hpp"

#include <array>

namespace libcoll {
namespace {

enum class Kind : std::uint8_t { integer, floating, complex, boolean, byte, pair };

struct TypeRow {
  const char* name;
  std::uint8_t bytes;
  Kind kind;
};

constexpr std::array<TypeRow, dtype_count> types{{
    {"i8", 1, Kind::integer},      {"i16", 2, Kind::integer},     {"i32", 4, Kind::integer},
    {"i64", 8, Kind::integer},     {"u8", 1, Kind::integer},      {"u16", 2, Kind::integer},
    {"u32", 4, Kind::integer},     {"u64", 8, Kind::integer},     {"f16", 2, Kind::floating},
    {"bf16", 2, Kind::floating},   {"f32", 4, Kind::floating},    {"f64", 8, Kind::floating},
    {"f8e4m3", 1, Kind::floating}, {"f8e5m2", 1, Kind::floating}, {"c64", 8, Kind::complex},
    {"c128", 16, Kind::complex},   {"bool", 1, Kind::boolean},    {"byte", 1, Kind::byte},
    {"f32_i32", sizeof(Pair_f32_i32), Kind::pair},
    {"f64_i32", sizeof(Pair_f64_i32), Kind::pair},
    {"i64_i32", sizeof(Pair_i64_i32), Kind::pair},
    {"i32_i32", sizeof(Pair_i32_i32), Kind::pair},
    {"i16_i32", sizeof(Pair_i16_i32), Kind::pair},
    {"f32_f32", sizeof(Pair_f32_f32), Kind::pair},
    {"f64_f64", sizeof(Pair_f64_f64), Kind::pair},
}};

constexpr std::array<const char*, op_count + 1> op_names{
    "sum", "prod", "min", "max", "avg", "land", "lor", "lxor",
    "band", "bor", "bxor", "minloc", "maxloc", "custom"};

constexpr std::array<const char*, level_count> level_names{"core", "l3", "numa", "package", "host", "world"};

constexpr bool valid(DType t) { return static_cast<int>(t) < dtype_count; }

}  // namespace

std::size_t size_of(DType t) noexcept { return valid(t) ? types[static_cast<std::size_t>(t)].bytes : 0; }

const char* name_of(DType t) noexcept {
  return valid(t) ? types[static_cast<std::size_t>(t)].name : "unknown type";
}

const char* name_of(Op op) noexcept {
  const auto i = static_cast<std::size_t>(op);
  return i < op_names.size() ? op_names[i] : "unknown operation";
}

const char* name_of(Level level) noexcept {
  const auto i = static_cast<std::size_t>(level);
  return i < level_names.size() ? level_names[i] : "unknown level";
}

bool is_defined(Op op, DType t) noexcept {
  if (!valid(t)) return false;
  const Kind k = types[static_cast<std::size_t>(t)].kind;
  switch (op) {
    case Op::sum:
    case Op::prod: return k == Kind::integer || k == Kind::floating || k == Kind::complex;
    case Op::min:
    case Op::max: return k == Kind::integer || k == Kind::floating;
    case Op::avg: return k == Kind::floating || k == Kind::complex;
    case Op::land:
    case Op::lor:
    case Op::lxor: return k == Kind::integer || k == Kind::boolean;
    case Op::band:
    case Op::bor:
    case Op::bxor: return k == Kind::integer || k == Kind::boolean || k == Kind::byte;
    case Op::minloc:
    case Op::maxloc: return k == Kind::pair;
    case Op::custom: return true;
  }
  return false;
}

}  // namespace libcoll
