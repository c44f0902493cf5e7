// UCX's context and worker of one world, and what is configured about them.
#pragma once

#include <ucp/api/ucp.h>

#include <algorithm>
#include <string>
#include <vector>

#include "libcoll/core/result.hpp"
#include "transports/ucx/matching.hpp"
#include "transports/ucx/room.hpp"
#include "transports/ucx/ucx_messenger.hpp"

namespace libcoll::xport::ucx {

// The value for UCX's TLS that leaves shared memory out of what the user chose ("all" by default): "^sm", "tcp,rc".
std::string without_shared_memory(const std::string& transports);

// Over TCP alone, of a message in bytes. Rendezvous needs a round trip more and the sender's next call: UCX's own choice of
// 64 KiB costs half the speed up to 256 KiB. Beyond, the copy out of the segment costs more.
inline constexpr std::size_t tcp_eager_max = std::size_t{1} << 20;

// A header with the most data that may follow it in one piece.
inline constexpr std::size_t piece_bytes = sizeof(Header) + Room::small_max;

class Worker {
 public:
  static detail::Result<Worker> open(const UcxOptions&);
  Worker(Worker&& other) noexcept { swap(other); }
  Worker& operator=(Worker&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Worker();

  ucp_worker_h get() const { return worker_; }
  // Nothing waits to be sent and no connection is being made, neither one of this rank's nor one that a peer has begun.
  // `request`: of the flush that this needs, kept from one look to the next; null before the first.
  bool is_quiet(void*& request) const;
  // UCX 1.13.1 stops the process (ucp_request.c: "got REP message") if a worker or an endpoint goes while its answer to a peer
  // that connects has not left, and may do so (tcp_ep.c: CTX_TYPE_TX) if the one that a peer connects to has gone. So a
  // worker of which this is not excluded outlives its messenger: without an endpoint of its own until it is quiet and the
  // peers have had seconds to leave, too, looked at whenever another one comes; with one for ever. Returns how many are left.
  int outlive(bool has_endpoint);
  // -1 where no transport can wake a sleeper.
  int event_fd() const { return event_fd_; }
  // Messages up to this length go at once, longer ones when they are asked for; 0: as UCX chooses.
  std::size_t eager_max() const { return eager_max_; }
  bool may_wait_to_be_asked(std::size_t bytes) const { return bytes > std::max(eager_max_, Room::small_max); }
  // Room (room.hpp) tells whether the kernel takes a message that UCX copies before UCX says that it is sent.
  bool may_copy() const { return may_copy_; }
  // Bytes, less than 16, to send before so many at `data`. One stands for none. Over TCP, of large messages that the receiver
  // gets whole: as many as let the data lie in the socket, mostly, at a multiple of 16 bytes from their place in a page, which
  // UCX's own 13 bytes before them prevent. x86's `rep movsb`, by which Linux copies, takes four times as long where the
  // target is 1 to 15 bytes further in its page than the source (EPYC 9004: 180 us in place of 42 for 512 KiB; glibc's bug
  // 30994 is the same).
  std::size_t padding_for(const void* data, std::size_t bytes) const;
  detail::Result<std::vector<char>> address() const;

 private:
  Worker() = default;
  void swap(Worker& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(worker_, other.worker_);
    std::swap(event_fd_, other.event_fd_);
    std::swap(eager_max_, other.eager_max_);
    std::swap(may_copy_, other.may_copy_);
  }
  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  int event_fd_ = -1;
  std::size_t eager_max_ = 0;
  bool may_copy_ = false;
};

// "tcp/eth0, rc_mlx5/mlx5_0:1": what this endpoint uses; empty if UCX doesn't tell.
std::string transports_of(ucp_ep_h);

}  // namespace libcoll::xport::ucx
