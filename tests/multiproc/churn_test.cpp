// Communicators made and closed by the thousand; what they cost at rest; arenas that are full.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>

#include "tests/multiproc/body.hpp"
#include "tests/multiproc/calls.hpp"
#include "tests/support/memory.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

struct Usage {
  long rss_kib = 0, descriptors = 0;
  std::size_t shared = 0;
};

Usage usage_of(const Comm& c) {
  Usage u{.rss_kib = resident_kib()};
  const auto fds = std::filesystem::directory_iterator("/proc/self/fd");
  u.descriptors = std::distance(begin(fds), end(fds));
  u.shared = c.shared_memory_bytes();
  return u;
}

TEST(Churn, TenThousandDupsLeaveNothing) {
  const int rounds = test_scale() < 1 ? 1000 : 10000;
  EXPECT_EQ(run_forked({.ranks = 2}, [&](Comm& c) {
              const auto churn = [&](int n) {
                for (int i = 0; i < n; ++i) {
                  Comm copy = c.dup();
                  if (i % 50 == 0) {
                    std::vector<double> in(20000, 1), out(20000);
                    copy.allreduce<double>(in, out, Op::sum);
                    if (out[777] != 2) throw std::runtime_error("wrong sum");
                  }
                  copy.close();
                }
              };
              churn(rounds / 10);
              const Usage before = usage_of(c);
              churn(rounds);
              const Usage after = usage_of(c);
              const std::string grew = " grew from " + std::to_string(before.rss_kib) + " KiB, " + std::to_string(before.shared) + " B to " +
                                       std::to_string(after.rss_kib) + " KiB, " + std::to_string(after.shared) + " B";
              if (after.descriptors != before.descriptors) throw std::runtime_error("descriptors grew");
              if (after.shared != before.shared) throw std::runtime_error("shared memory" + grew);
              if (after.rss_kib > before.rss_kib + 1024 && test_scale() >= 1) throw std::runtime_error("memory" + grew);
            }), "");
}

TEST(Churn, BuffersGiveTheirMemoryBack) {
  EXPECT_EQ(run_forked({.ranks = 2}, [](Comm& c) {
              c.barrier();
              const std::size_t before = c.shared_memory_bytes();
              for (int i = 0; i < 300; ++i) {
                Buffer a = c.allocate(1 + static_cast<std::size_t>(i) * 4099), b = c.allocate(1 << 20);
                for (const Buffer* x : {&a, &b}) {
                  const auto s = x->span<unsigned char>();
                  if (std::accumulate(s.begin(), s.end(), 0) != 0) throw std::runtime_error("not zeroed");
                  if (reinterpret_cast<std::uintptr_t>(x->data()) % 4096 != 0) throw std::runtime_error("not aligned");
                  std::fill(s.begin(), s.end(), 7);
                }
                if (c.shared_memory_bytes() < before + (1 << 20)) throw std::runtime_error("not counted");
                Buffer moved = std::move(a);
                a = std::move(moved);
                if (moved.data() != nullptr || a.data() == nullptr) throw std::runtime_error("not moved");
              }
              if (c.shared_memory_bytes() != before) throw std::runtime_error("not given back");
              expect_usable(c);
            }), "");
}

// All ranks hear of it when one arena is full, and room that is freed can be used again.
TEST(Churn, AFullArena) {
  Launch launch{.ranks = 2};
  launch.config.arena_bytes = 32 << 20;
  for (const int full : {0, 1}) {
    EXPECT_EQ(run_forked(launch, [&](Comm& c) {
                std::size_t room = 32u << 20;
                for (int round = 0; round < 3; ++round) {
                  std::vector<Buffer> hoard;
                  for (std::size_t bytes = c.rank() == full ? 16u << 20 : 0; bytes >= 4096;) {
                    if (outcome_of([&] { hoard.push_back(c.allocate(bytes)); }).code == Errc::system) bytes /= 2;
                  }
                  const Outcome o = outcome_of([&] { (void)c.dup(); });
                  if (o.code != Errc::system || o.peer != full) throw std::runtime_error("dup: " + o.text);
                  expect_usable(c);
                  hoard.clear();
                  Comm copy = c.dup();
                  expect_usable(copy);
                  copy.close();
                  // How much stays with the world's staging depends on what its links were measured to cost, but not on the round.
                  const auto fits = [&] { return outcome_of([&] { (void)c.allocate(room); }).code != Errc::system; };
                  while (round == 0 && !fits()) room -= 1u << 20;
                  if (room < 16u << 20 || !fits()) throw std::runtime_error("round " + std::to_string(round) + ": no room for " + std::to_string(room));
                }
              }), "") << "rank " << full << "'s arena is full";
  }
}

TEST(Memory, AtRestTwoRanksCostAMebibyteEach) {
  EXPECT_EQ(run_forked({.ranks = 2}, [](Comm& c) {
              c.barrier();
              if (c.shared_memory_bytes() > 64 << 10) throw std::runtime_error("fresh: " + std::to_string(c.shared_memory_bytes()));
              for (int i = 0; i < 20; ++i) run_smoke(c, test_seed() + static_cast<std::uint64_t>(i));
              // The communicator's own; staging memory is the world's, however many communicators use it.
              const std::size_t own = c.shared_memory_bytes() - std::min(c.shared_memory_bytes(), c.staging_bytes());
              if (own > 1 << 20) throw std::runtime_error("used: " + std::to_string(own));
              if (c.staging_bytes() > 8 << 20) throw std::runtime_error("staging: " + std::to_string(c.staging_bytes()));
            }), "");
}

TEST(Memory, AtRest64RanksCost16MebibytesTogether) {
  Launch launch{.ranks = 64};
  launch.config.arena_bytes = 64 << 20;
  EXPECT_EQ(run_threads(launch, [](Comm& c) {
              const auto total = [&] { return c.allreduce(static_cast<std::int64_t>(c.shared_memory_bytes()), Op::sum); };
              if (const auto n = total(); n > 2 << 20) throw std::runtime_error("fresh: " + std::to_string(n));
              std::vector<double> in(40000, 1), out(40000);
              c.allreduce<double>(in, out, Op::sum);
              c.allreduce<double>(in_place, out, Op::max);
              c.bcast<double>(out, 63);
              std::vector<std::int32_t> a(64 * 500, c.rank()), b(64 * 500);
              for (int i = 0; i < 5; ++i) c.alltoall<std::int32_t>(a, b);
              if (out[0] != 64 || b[500 * 17] != 17) throw std::runtime_error("wrong");
              if (const auto n = total(); n > 16 << 20) throw std::runtime_error("used: " + std::to_string(n));
            }), "");
}

}  // namespace
}  // namespace libcoll::test
