// Whether two C functions can be called through each other's type: results and parameters alike in kind and size. For
// declarations that are made twice: ours, and those of the real headers.
#pragma once

#include <type_traits>

namespace libcoll::test {

template <class T>
inline constexpr int abi_kind = std::is_pointer_v<T> ? 1 : std::is_integral_v<T> || std::is_enum_v<T> ? 2 : std::is_class_v<T> ? 3 : std::is_void_v<T> ? 4 : 0;

template <class A, class B>
constexpr bool abi_equal_value() {
  if constexpr (std::is_void_v<A> || std::is_void_v<B>) return std::is_void_v<A> && std::is_void_v<B>;
  else return abi_kind<A> != 0 && abi_kind<A> == abi_kind<B> && sizeof(A) == sizeof(B) && alignof(A) == alignof(B) && std::is_trivially_copyable_v<A> == std::is_trivially_copyable_v<B>;
}

template <class A, class B>
struct AbiEqual : std::false_type {};
template <class R, class... A, class S, class... B>
struct AbiEqual<R(A...), S(B...)> {
  static constexpr bool parameters() {
    if constexpr (sizeof...(A) == sizeof...(B)) return (abi_equal_value<A, B>() && ...);
    else return false;
  }
  static constexpr bool value = abi_equal_value<R, S>() && parameters();
};
template <class R, class... A, class S, class... B>
struct AbiEqual<R(A...), S(B...) noexcept> : AbiEqual<R(A...), S(B...)> {};

static_assert(AbiEqual<int(void*, long), int(char*, long)>::value && !AbiEqual<int(void*, long), int(char*, int)>::value);
static_assert(!AbiEqual<int(void*), int(void*, int)>::value && !AbiEqual<int(float), int(int)>::value);

}  // namespace libcoll::test
