// One rank of a job on several hosts: says which hosts libcoll sees, and passes messages around all ranks over UCX.
// Usage: hosts_ring EXPECTED_HOSTS [vanish]   Rank 0 prints "ring: 4 ranks on 2 hosts (2 2), UCX 1.13.1 over tcp/eth0".
// vanish: then the host of the last rank leaves the network without a word, and rank 0 must fail with "... was lost".
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>
#include <vector>

#include "libcoll/bootstrap.hpp"
#include "topology/fabric.hpp"
#include "transports/ucx/ucx_messenger.hpp"

namespace {

using libcoll::xport::Transfer;

void finish(libcoll::xport::Messenger& m, const Transfer& t) {
  const std::time_t end = std::time(nullptr) + 30;
  while (!t.finished()) {
    m.progress();
    if (std::time(nullptr) > end) throw libcoll::Error(libcoll::Errc::timeout, "a message did not come");
  }
  if (t.state == Transfer::State::failed) throw libcoll::Error(libcoll::Errc::peer_lost, t.error);
}

// Every rank's block comes round through all the others.
void pass_around(libcoll::xport::Messenger& m, int rank, int size, std::size_t count) {
  std::vector<int> held(count, rank), next(count);
  for (int step = 0; step < size; ++step) {
    Transfer s, r;
    const libcoll::xport::MessageKey key{1, static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(count)};
    m.recv((rank + size - 1) % size, key, next.data(), count * sizeof(int), r);
    m.send((rank + 1) % size, key, held.data(), count * sizeof(int), s);
    finish(m, s);
    finish(m, r);
    held.swap(next);
    for (const int v : held)
      if (v != (rank + 2 * size - step - 1) % size) throw libcoll::Error(libcoll::Errc::internal, "wrong data");
  }
}

// A link that goes down resets no connection: only keepalive tells.
void vanish(libcoll::xport::Messenger& m, libcoll::Bootstrap& b) {
  const char mine = 0;
  std::vector<char> all(static_cast<std::size_t>(b.size()));
  b.allgather(&mine, all.data(), 1);  // nobody needs a message of the ring any more
  const int last = b.size() - 1;
  if (b.rank() == last && std::system("ip link set eth0 down") != 0) throw libcoll::Error(libcoll::Errc::system, "ip link");
  if (b.rank() != 0) {
    std::this_thread::sleep_for(std::chrono::minutes(1));
    return;
  }
  Transfer t;
  m.recv(last, {2, 0, 0}, nullptr, 0, t);
  finish(m, t);
}

}  // namespace

int main(int argc, char** argv) {
  const auto expected = static_cast<std::size_t>(argc > 1 ? std::atoi(argv[1]) : 1);
  try {
    const auto b = libcoll::bootstrap_from_environment();
    const auto mine = libcoll::topo::local_record({});
    std::vector<libcoll::topo::RankRecord> all(static_cast<std::size_t>(b->size()), mine);
    b->allgather(&mine, all.data(), sizeof mine);
    const auto fabric = libcoll::topo::build_fabric(all);
    std::string counts;
    for (const auto& h : fabric.hosts) counts += fmt::format("{}{}", counts.empty() ? "" : " ", h.ranks.size());
    auto messenger = libcoll::xport::create_ucx_messenger(*b, {.exclude_shared_memory = fabric.hosts.size() > 1});
    if (!messenger) throw libcoll::Error(messenger.error().code, messenger.error().text);
    for (const std::size_t count : {0, 1, 100, 30'000, 1'000'000}) pass_around(**messenger, b->rank(), b->size(), count);
    if (b->rank() == 0) fmt::print("ring: {} ranks on {} hosts ({}), {}\n", b->size(), fabric.hosts.size(), counts, (*messenger)->text());
    if (argc > 2) vanish(**messenger, *b);
    return fabric.hosts.size() == expected ? 0 : 1;
  } catch (const libcoll::Error& e) {
    fmt::print(stderr, "{}: {}\n", libcoll::name_of(e.code()), e.what());
    return 1;
  }
}
