// Expected failures inside the library (a probe, a file, a connect): values, not exceptions.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "libcoll/error.hpp"

namespace libcoll::detail {

struct Failure {
  Errc code = Errc::internal;
  std::string text;
  int peer = -1;
};

template <class T>
using Result = tl::expected<T, Failure>;

inline tl::unexpected<Failure> failure(Errc code, std::string text, int peer = -1) {
  return tl::make_unexpected(Failure{code, std::move(text), peer});
}

// At the public surface: unwrap or throw.
template <class T>
T value_or_throw(Result<T> r) {
  if (!r) throw Error(r.error().code, r.error().text, r.error().peer);
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

}  // namespace libcoll::detail
