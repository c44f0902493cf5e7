#include "transports/shm/host.hpp"

#include <fmt/format.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "libcoll/core/log.hpp"

namespace libcoll::xport::shm {

using detail::Result;

namespace {

// What each rank tells the others of its host.
struct Card {
  std::uint64_t namespace_id;  // of process ids: only equal ones make pids meaningful
  std::uint64_t probe_at;      // address of a private word that holds `probe`
  std::uint64_t probe;
  std::int32_t pid;
  std::int32_t fence;          // membarrier registered
};

std::uint64_t pid_namespace() {
  char link[64] = {};
  std::uint64_t id = 0;
  if (readlink("/proc/self/ns/pid", link, sizeof link - 1) > 0) std::sscanf(link, "pid:[%lu]", &id);
  return id;
}

bool register_fence() {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
}

}  // namespace

bool read_remote(pid_t pid, void* to, std::uint64_t address, std::size_t bytes) {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const iovec local{at, bytes};
    const iovec remote{reinterpret_cast<void*>(address), bytes};
    const ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (n <= 0) {
      if (n < 0 && errno == EINTR) continue;
      return false;
    }
    at += n;
    address += static_cast<std::uint64_t>(n);
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

Result<std::unique_ptr<Host>> Host::create(Bootstrap& bootstrap, const HostOptions& options) {
  auto heap = Heap::create(bootstrap, {options.config.arena_bytes, options.config.fd_passing, options.config.lent});
  if (!heap) return tl::unexpected(heap.error());
  std::unique_ptr<Host> host(new Host);
  host->heap_ = std::move(*heap);
  host->options_ = options;
  host->rank_ = bootstrap.rank();
  const auto size = static_cast<std::size_t>(bootstrap.size());
  host->oversubscribed_ = options.crowded || (options.cpus > 0 && static_cast<int>(size) > options.cpus);

  const int turns = options.cpus > 0 ? (static_cast<int>(size) + options.cpus - 1) / options.cpus : 1;
  host->most_yields_ = 8 + 4 * turns;

  const std::uint64_t word = 0x6c6962636f6c6c00u + static_cast<unsigned>(host->rank_);
  const Card mine{pid_namespace(), reinterpret_cast<std::uint64_t>(&word), word, getpid(), register_fence()};
  std::vector<Card> cards(size);
  bootstrap.allgather(&mine, cards.data(), sizeof mine);

  host->peers_.resize(size);
  host->asymmetric_fence_ = true;
  bool may_read = options.config.single_copy != "off";
  for (std::size_t r = 0; r < size; ++r) {
    Peer& peer = host->peers_[r];
    const bool same_namespace = cards[r].namespace_id == mine.namespace_id;
    peer.pid = same_namespace ? cards[r].pid : 0;
    peer.same_process = same_namespace && cards[r].pid == mine.pid;
    host->asymmetric_fence_ &= cards[r].fence != 0;
    if (peer.same_process) continue;
    std::uint64_t seen = 0;
    may_read = may_read && same_namespace && read_remote(peer.pid, &seen, cards[r].probe_at, sizeof seen) && seen == cards[r].probe;
  }
  host->open_pidfds();
  // One rank that may not read (Yama, seccomp, containers) decides for all. Also keeps `word` alive
  // until everybody has probed it.
  const char yes = may_read;
  std::vector<char> all(size);
  bootstrap.allgather(&yes, all.data(), 1);
  host->single_copy_ = true;
  for (const char c : all) host->single_copy_ &= c != 0;
  return host;
}

void Host::open_pidfds() {
  for (Peer& peer : peers_)
    if (peer.pid > 0 && !peer.same_process) peer.pidfd = static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0));
}

Host::~Host() {
  for (const Peer& peer : peers_)
    if (peer.pidfd >= 0) close(peer.pidfd);
}

bool Host::lost(int local) const {
  const Peer& peer = peers_[static_cast<std::size_t>(local)];
  if (peer.pidfd < 0) return false;
  pollfd p{peer.pidfd, POLLIN, 0};
  return poll(&p, 1, 0) > 0;
}

}  // namespace libcoll::xport::shm
