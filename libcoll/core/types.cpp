#include "libcoll/types.hpp"

#include <array>

#include "libcoll/core/call.hpp"

namespace libcoll {
namespace {

enum class Kind : std::uint8_t { integer, floating, complex, boolean, byte, pair };

struct TypeRow {
  const char* name;
  Kind kind;
};

constexpr std::array<TypeRow, dtype_count> types{{
    {"i8", Kind::integer},      {"i16", Kind::integer},     {"i32", Kind::integer},
    {"i64", Kind::integer},     {"u8", Kind::integer},      {"u16", Kind::integer},
    {"u32", Kind::integer},     {"u64", Kind::integer},     {"f16", Kind::floating},
    {"bf16", Kind::floating},   {"f32", Kind::floating},    {"f64", Kind::floating},
    {"f8e4m3", Kind::floating}, {"f8e5m2", Kind::floating}, {"c64", Kind::complex},
    {"c128", Kind::complex},   {"bool", Kind::boolean},    {"byte", Kind::byte},
    {"f32_i32", Kind::pair},
    {"f64_i32", Kind::pair},
    {"i64_i32", Kind::pair},
    {"i32_i32", Kind::pair},
    {"i16_i32", Kind::pair},
    {"f32_f32", Kind::pair},
    {"f64_f64", Kind::pair},
}};

constexpr std::array<const char*, op_count + 1> op_names{
    "sum", "prod", "min", "max", "avg", "land", "lor", "lxor",
    "band", "bor", "bxor", "minloc", "maxloc", "custom"};

constexpr std::array<const char*, level_count> level_names{"core", "l3", "numa", "package", "host", "group", "world"};

constexpr bool valid(DType t) { return static_cast<int>(t) < dtype_count; }

}  // namespace

std::size_t size_of(DType t) noexcept { return detail::bytes_of(t); }

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
