// The C ABI of messages between two ranks.
#include <utility>

#include "libcoll/core/c_handles.hpp"

using namespace libcoll;
using namespace libcoll::detail;

struct libcoll_message_s { Message message; };

namespace {

int wrong(const char* text) noexcept { return remember(Errc::invalid_argument, text); }

template <class F>
int begin(libcoll_comm c, libcoll_message* out, F f) noexcept {
  if (out == nullptr) return wrong("libcoll: the place for the new message is NULL");
  *out = nullptr;
  return with(c, [&](Comm& comm) {
    auto handle = std::make_unique<libcoll_message_s>();
    handle->message = f(comm);
    *out = handle.release();
  });
}

// Frees the handle once nothing is to be waited for any more, be it for an error.
void drop_if_done(libcoll_message* m, int* source) noexcept {
  if (*m == nullptr || (*m)->message) return;
  if (source != nullptr) *source = (*m)->message.source();
  delete std::exchange(*m, nullptr);
}

}  // namespace

extern "C" {

int libcoll_send(const void* data, size_t bytes, int dest, int tag, libcoll_comm c) {
  return with(c, [&](Comm& comm) { comm.send(data, bytes, dest, tag, c->options); });
}
int libcoll_recv(void* data, size_t bytes, int source, int tag, libcoll_comm c, int* from) {
  return with(c, [&](Comm& comm) {
    const int sender = comm.recv(data, bytes, source, tag, c->options);
    if (from != nullptr) *from = sender;
  });
}
int libcoll_isend(const void* data, size_t bytes, int dest, int tag, libcoll_comm c, libcoll_message* out) {
  return begin(c, out, [&](Comm& comm) { return comm.isend(data, bytes, dest, tag, c->options); });
}
int libcoll_irecv(void* data, size_t bytes, int source, int tag, libcoll_comm c, libcoll_message* out) {
  return begin(c, out, [&](Comm& comm) { return comm.irecv(data, bytes, source, tag, c->options); });
}

int libcoll_message_wait(libcoll_message* m, int* source) {
  if (m == nullptr) return wrong("libcoll: message_wait: the place of the message is NULL");
  if (*m == nullptr) return LIBCOLL_OK;
  const int code = guarded([&] { (*m)->message.wait(); });
  drop_if_done(m, source);
  return code;
}
int libcoll_message_test(libcoll_message* m, int* done, int* source) {
  if (m == nullptr || done == nullptr) return wrong("libcoll: message_test: the place of the message, or of the answer, is NULL");
  const int code = guarded([&] { *done = *m == nullptr || (*m)->message.test() ? 1 : 0; });
  if (code != LIBCOLL_OK) *done = 1;
  drop_if_done(m, source);
  return code;
}
int libcoll_message_cancel(libcoll_message* m) {
  if (m == nullptr) return wrong("libcoll: message_cancel: the place of the message is NULL");
  delete std::exchange(*m, nullptr);
  return LIBCOLL_OK;
}

}  // extern "C"
