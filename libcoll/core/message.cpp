// Messages between two ranks: what of a call is checked, and the handle.
#include "libcoll/message.hpp"

#include <fmt/format.h>

#include "libcoll/comm.hpp"
#include "libcoll/core/comm_impl.hpp"

namespace libcoll {

using detail::CommImpl;

namespace {

// What is wrong with a message concerns nobody else: no peer is told.
void validate(CommImpl& c, const char* what, const void* data, std::size_t bytes, int peer, int tag, const CallOptions& o, bool any) {
  const auto refuse = [&](Errc code, const std::string& text) { throw Error(code, fmt::format("libcoll: rank {} of {}: {}: {}", c.rank(), c.size(), what, text)); };
  const auto invalid = [&](const std::string& text) { refuse(Errc::invalid_argument, text); };
  if (data == nullptr && bytes != 0) invalid(fmt::format("data is a null pointer, and bytes is {}", bytes));
  if ((peer < 0 || peer >= c.size()) && !(any && peer == any_source)) invalid(fmt::format("{} is {}; it must be a rank, 0 to {}{}", any ? "source" : "dest", peer, c.size() - 1, any ? ", or any_source" : ""));
  if (tag < 0) invalid(fmt::format("tag is {}; it must not be negative", tag));
  if (!(o.timeout_s >= 0)) invalid(fmt::format("timeout_s is {}; it must be positive, or 0 for the communicator's", o.timeout_s));
  if (!o.algorithm.empty()) invalid(fmt::format("algorithm is \"{}\", but messages know none", o.algorithm));
  if (o.stream.given) refuse(Errc::unsupported, "a stream is given, but messages are of host memory");
  if (o.memory == Memory::device || o.memory == Memory::mixed) refuse(Errc::unsupported, "memory is device or mixed, but messages are of host memory");
  if (c.devices() != nullptr && o.memory != Memory::host && bytes != 0 && c.devices()->is_device_memory(data)) refuse(Errc::unsupported, "data is GPU memory, but messages are of host memory");
}

exec::MessageOp* start_send(CommImpl& c, const char* what, const void* data, std::size_t bytes, int dest, int tag, const CallOptions& o) {
  validate(c, what, data, bytes, dest, tag, o, false);
  return c.mailbox().start_send(data, bytes, dest, tag, o.timeout_s);
}

exec::MessageOp* start_receive(CommImpl& c, const char* what, void* data, std::size_t bytes, int source, int tag, const CallOptions& o) {
  validate(c, what, data, bytes, source, tag, o, true);
  return c.mailbox().start_receive(data, bytes, source, tag, o.timeout_s);
}

}  // namespace

Message Comm::isend(const void* data, std::size_t bytes, int dest, int tag, const CallOptions& o) {
  CommImpl& c = impl();
  Message m(start_send(c, "isend", data, bytes, dest, tag, o));
  c.mailbox().share();
  return m;
}

Message Comm::irecv(void* data, std::size_t bytes, int source, int tag, const CallOptions& o) {
  CommImpl& c = impl();
  Message m(start_receive(c, "irecv", data, bytes, source, tag, o));
  c.mailbox().share();
  return m;
}

void Comm::send(const void* data, std::size_t bytes, int dest, int tag, const CallOptions& o) { Message(start_send(impl(), "send", data, bytes, dest, tag, o)).wait(); }

int Comm::recv(void* data, std::size_t bytes, int source, int tag, const CallOptions& o) {
  Message m(start_receive(impl(), "recv", data, bytes, source, tag, o));
  m.wait();
  return m.source();
}

bool Message::test() {
  if (operation_ == nullptr) return true;
  if (!operation_->box.test(*operation_)) return false;
  collect();
  return true;
}

void Message::wait() {
  if (operation_ == nullptr) return;
  operation_->box.wait(*operation_);
  collect();
}

void Message::cancel() noexcept {
  if (operation_ == nullptr) return;
  exec::MessageOp& op = *std::exchange(operation_, nullptr);
  op.box.cancel(op);
}

void Message::collect() {
  exec::MessageOp& op = *std::exchange(operation_, nullptr);
  const std::exception_ptr error = std::exchange(op.error, nullptr);
  source_ = op.sends ? -1 : op.peer;
  bytes_ = op.bytes;
  op.box.release(op);
  if (error != nullptr) std::rethrow_exception(error);
}

}  // namespace libcoll
