#include "tests/multiproc/subcomms.hpp"

#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>

#include "tests/multiproc/body.hpp"
#include "tests/multiproc/calls.hpp"
#include "tests/support/memory.hpp"

namespace libcoll::test {

void check_random_splits(Comm& world, std::uint64_t seed, int rounds) {
  std::mt19937_64 random(seed);  // the same on all ranks
  std::vector<Comm> alive;       // one for each round, empty where this rank was in no part
  const auto n = static_cast<std::size_t>(world.size());
  for (int round = 0; round < rounds; ++round) {
    std::vector<int> colors(n), keys(n);
    const int most = 1 + static_cast<int>(random() % n);
    for (std::size_t r = 0; r < n; ++r) colors[r] = static_cast<int>(random() % static_cast<unsigned>(most + 1)) - 1, keys[r] = static_cast<int>(random() % 5);
    const auto me = static_cast<std::size_t>(world.rank());
    Comm part = world.split(colors[me], keys[me]);
    if (part) {
      std::vector<int> members;
      for (std::size_t r = 0; r < n; ++r)
        if (colors[r] == colors[me]) members.push_back(static_cast<int>(r));
      std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)]; });
      std::vector<int> got(members.size());
      part.allgather<int>(std::vector<int>{world.rank()}, got);
      if (got != members) throw std::runtime_error("members of a part or their order");
      run_smoke(part, seed + static_cast<std::uint64_t>(round));
    }
    alive.push_back(std::move(part));
    run_smoke(world, seed + static_cast<std::uint64_t>(round) + 1000);
    if (round >= 3 && alive[static_cast<std::size_t>(round - 3)]) alive[static_cast<std::size_t>(round - 3)].close();
  }
  // The last ones without waiting, in another order on every rank; what moves them on are the world's own calls.
  std::rotate(alive.begin(), alive.begin() + world.rank() % rounds, alive.end());
  const auto all_closed = [&] {
    bool closed = true;
    for (Comm& c : alive)
      if (c) closed = c.try_close() && closed;
    return closed;
  };
  bool everybody = false;
  for (int looks = 0; !everybody; ++looks) {
    if (looks > 1000) throw std::runtime_error("try_close never ends");
    everybody = world.allreduce<int>(all_closed() ? 1 : 0, Op::min) == 1;
  }
  expect_usable(world);
}

void check_churn(Comm& world, int rounds) {
  const auto churn = [&](int times) {
    for (int i = 0; i < times; ++i) {
      Comm copy = world.dup();
      if (i % 25 == 0) expect_usable(copy);
      copy.close();
    }
  };
  churn(rounds);
  const std::size_t shared = world.shared_memory_bytes();
  const long before = resident_kib();
  churn(rounds);
  if (world.shared_memory_bytes() != shared)
    throw std::runtime_error("shared memory grew from " + std::to_string(shared) + " to " + std::to_string(world.shared_memory_bytes()));
  // What the messenger would keep of every communicator is kilobytes.
  if (resident_kib() > before + 1024) throw std::runtime_error("memory grew from " + std::to_string(before) + " to " + std::to_string(resident_kib()) + " KiB");
}

}  // namespace libcoll::test
