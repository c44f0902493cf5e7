// What the files of the C ABI share: handles, error codes, and conversions of arguments.
#pragma once

#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "libcoll/libcoll.h"
#include "libcoll/libcoll.hpp"

namespace libcoll::detail {

// The C function takes the type as an int, so it is called through this one. Must stay where it is.
struct Bridge {
  explicit Bridge(const libcoll_custom_op* op) {
    if (op == nullptr) return;
    c = *op;
    cpp = {.function = op->function ? &call : nullptr, .context = this, .commutative = op->commutative != 0, .element_bytes = op->element_bytes};
  }
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;
  static void call(const void* in, void* inout, std::size_t count, DType dtype, void* context) {
    const libcoll_custom_op& op = static_cast<Bridge*>(context)->c;
    op.function(in, inout, count, static_cast<int>(dtype), op.context);
  }
  bool is(const libcoll_custom_op& op) const {
    return c.function == op.function && c.context == op.context && c.commutative == op.commutative && c.element_bytes == op.element_bytes;
  }
  libcoll_custom_op c{};
  CustomOp cpp;
};

}  // namespace libcoll::detail

struct libcoll_comm_s {
  libcoll::Comm comm;
  libcoll::CallOptions options;  // of every call; its algorithm lies in the next member
  std::string algorithm;
  std::mutex mutex;  // of `buffers`: allocate and free may come from several threads
  std::unordered_map<void*, libcoll::Buffer> buffers;
  std::vector<std::unique_ptr<libcoll::detail::Bridge>> bridges;  // each once, of what was started; until it is closed
};

namespace libcoll::detail {

int remember(Errc code, const char* text) noexcept;

template <class F>
int guarded(F f) noexcept {
  try {
    f();
    return LIBCOLL_OK;
  } catch (const Error& e) {
    return remember(e.code(), e.what());
  } catch (const std::bad_alloc&) {
    return remember(Errc::system, "libcoll: out of memory");
  } catch (const std::exception& e) {
    return remember(Errc::internal, e.what());
  }
}

template <class F>
int with(libcoll_comm c, F f) noexcept {
  if (c == nullptr) return remember(Errc::invalid_argument, "libcoll: the communicator is NULL");
  return guarded([&] { f(c->comm); });
}

inline DType type_of(int dtype) { return static_cast<DType>(dtype < 0 || dtype > 254 ? 255 : dtype); }
inline Op op_of(int op) { return static_cast<Op>(op < 0 || op >= op_count ? 255 : op); }
inline std::span<const Count> per_rank(const Comm& c, const int64_t* p) {
  return p ? std::span<const Count>(p, static_cast<std::size_t>(c.size())) : std::span<const Count>();
}

}  // namespace libcoll::detail
