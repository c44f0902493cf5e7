// Communicators of one world: split in all shapes, nested, used by turns, and by several threads at once.
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "tests/multiproc/body.hpp"
#include "tests/multiproc/calls.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

void require(bool condition, const char* text) {
  if (!condition) throw std::runtime_error(text);
}

// Splits by functions of the rank and checks the members and their order against a serial reference.
template <class Color, class Key>
void check_split(Comm& c, Color color, Key key) {
  const int mine = color(c.rank());
  Comm part = c.split(mine, key(c.rank()));
  if (mine < 0) return require(!part, "a negative color gave a communicator");
  std::vector<int> members;
  for (int r = 0; r < c.size(); ++r)
    if (color(r) == mine) members.push_back(r);
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return key(a) < key(b); });
  require(part.size() == static_cast<int>(members.size()), "size of a part");
  std::vector<int> got(members.size());
  part.allgather<int>(std::vector<int>{c.rank()}, got);
  require(got == members, "members of a part or their order");
  require(members[static_cast<std::size_t>(part.rank())] == c.rank(), "own rank in a part");
  run_smoke(part, test_seed());
  part.close();
  require(!part && part.size() == 0, "closed but not empty");
}

class Split : public testing::TestWithParam<int> {};

TEST_P(Split, InAllShapes) {
  EXPECT_EQ(run_threads({.ranks = GetParam()}, [](Comm& c) {
              const int n = c.size();
              const auto zero = [](int) { return 0; };
              const auto rank = [](int r) { return r; };
              check_split(c, zero, rank);
              check_split(c, zero, [](int r) { return -r; });                       // reversed
              check_split(c, zero, [](int r) { return r / 2; });                    // equal keys
              check_split(c, zero, [](int r) { return r % 2 == 0 ? 1 << 30 : -(1 << 30); });
              check_split(c, rank, zero);                                           // everybody alone
              check_split(c, [](int r) { return r % 2; }, [](int r) { return -r; });
              check_split(c, [](int r) { return r % 3 - 1; }, zero);                // some nowhere
              check_split(c, [](int r) { return r == 0 ? 7 : -5; }, zero);          // one somewhere
              check_split(c, [](int) { return -1; }, zero);                         // nobody anywhere
              check_split(c, [](int) { return 0x7fffffff; }, zero);
              check_split(c, [n](int r) { return r < n / 2 ? 0 : 1; }, [](int r) { return r * 7 % 5; });
              expect_usable(c);
            }), "");
}
INSTANTIATE_TEST_SUITE_P(Ranks, Split, testing::Values(1, 2, 3, 5, 8));

TEST(Split, ByLevel) {
  EXPECT_EQ(run_threads({.ranks = 4}, [](Comm& c) {
              for (const Level level : {Level::core, Level::l3, Level::numa, Level::package, Level::host, Level::world}) {
                Comm part = c.split(level);
                require(part && part.size() >= 1 && part.size() <= c.size(), "size of a level's part");
                if (level == Level::host || level == Level::world) require(part.size() == c.size() && part.rank() == c.rank(), "host");
                const int least = part.allreduce(c.rank(), Op::min);
                require(part.rank() != 0 || least == c.rank(), "order in a level's part");
                part.close();
              }
              require(c.topology().host_count() == 1 && !c.topology().describe().empty(), "topology");
              require(!c.describe().empty(), "describe");
            }), "");
}

TEST(Subset, AmongItsMembersOnly) {
  EXPECT_EQ(run_threads({.ranks = 5}, [](Comm& c) {
              const bool odd = c.rank() % 2 == 1;
              const std::vector<int> members = odd ? std::vector<int>{3, 1} : std::vector<int>{0, 2, 4};
              Comm between = c.split(odd ? 1 : 0, odd ? -c.rank() : c.rank());
              const auto exchange = [&](const void* s, void* r, std::size_t n) { between.allgather(s, r, static_cast<Count>(n), DType::byte); };
              for (int round = 0; round < (odd ? 3 : 1); ++round) {  // the two parts need not agree
                Comm part = c.subset(members, exchange);
                require(part.size() == static_cast<int>(members.size()) && members[static_cast<std::size_t>(part.rank())] == c.rank(), "members of a subset");
                run_smoke(part, test_seed());
                part.close();
              }
              const std::vector<int> bad[] = {{0, 1, 2, 3, 5}, {0, 1, 2, 3, 4, 4}, {(c.rank() + 1) % 5}, {}};
              for (const auto& list : bad) require(outcome_of([&] { (void)c.subset(list, exchange); }).code == Errc::invalid_argument, "a bad subset was made");
              between.close();
              expect_usable(c);
            }), "");
}

// Members come to try_close when they like; none waits for another.
TEST(Subset, ClosedWithoutWaiting) {
  EXPECT_EQ(run_threads({.ranks = 3}, [](Comm& c) {
              std::size_t after_one = 0;
              for (int round = 0; round < 50; ++round) {
                Comm copy = c.dup();
                run_smoke(copy, test_seed() + static_cast<std::uint64_t>(round));
                const bool late = c.rank() == round % 3;
                if (!late) require(!copy.try_close() && copy, "closed before the last member came");
                c.barrier();
                if (late) (void)copy.try_close();
                c.barrier();
                require(!copy || copy.try_close(), "not closed after all had come");
                require(!copy, "closed but not empty");
                if (round == 5) after_one = c.shared_memory_bytes();
              }
              require(c.shared_memory_bytes() <= after_one + (1 << 20), "memory was not given back");
              expect_usable(c);
            }), "");
}

TEST(Split, NestedAndByTurns) {
  EXPECT_EQ(run_threads({.ranks = 8}, [](Comm& world) {
              Comm half = world.split(world.rank() % 2), quarter = half.split(half.rank() / 2, -half.rank()), pair = quarter.dup();
              Comm* all[] = {&world, &half, &quarter, &pair};
              for (std::uint64_t i = 0; i < 12; ++i) run_smoke(*all[i % 4], test_seed() + i);
              for (int i = 0; i < 500; ++i) {
                Comm& c = *all[mixed(test_seed(), static_cast<std::uint64_t>(i)) % 4];
                require(c.allreduce(1, Op::sum) == c.size(), "sum by turns");
              }
              half.close();  // parents may go before their children
              run_smoke(quarter, test_seed());
              world.close();
              run_smoke(pair, test_seed());
              pair.close();
              quarter.close();
            }), "");
}

// Moved-from and re-assigned handles.
TEST(Split, HandlesMove) {
  EXPECT_EQ(run_threads({.ranks = 2}, [](Comm& c) {
              Comm a = c.dup(), b = c.dup();
              Comm moved = std::move(a);
              require(!a && moved, "moved from");
              expect_usable(moved);
              moved.close();
              moved = std::move(b);
              expect_usable(moved);
              moved.close();
              require(outcome_of([&] { moved.barrier(); }).code == Errc::closed, "closed");
              require(outcome_of([&] { moved.close(); }).code == Errc::closed, "closed twice");
            }), "");
}

// A thread writes results straight into a peer's arena buffer; the peer frees it, another of its threads
// gets the same place, and another thread of ours writes there. The order is kept by words that each
// rank maps elsewhere, so ThreadSanitizer, which goes by addresses, cannot see it.
#if defined(__SANITIZE_THREAD__)
constexpr bool private_only = true;
#else
constexpr bool private_only = false;
#endif

// Several threads of each rank, each on a communicator of its own.
class Threads : public testing::TestWithParam<int> {};

TEST_P(Threads, EachOnItsOwnCommunicator) {
  EXPECT_EQ(run_threads({.ranks = GetParam()}, [](Comm& world) {
              constexpr int threads = 4;
              std::vector<Comm> comms;
              for (int t = 0; t < threads; ++t) comms.push_back(world.dup());
              std::vector<std::thread> running;
              std::mutex mutex;
              std::string first;
              for (int t = 0; t < threads; ++t) {
                running.emplace_back([&, t] {
                  try {
                    Comm& c = comms[static_cast<std::size_t>(t)];
                    for (std::uint64_t i = 0; i < 8; ++i) {
                      run_smoke(c, test_seed() + i + static_cast<std::uint64_t>(t) * 100, private_only);
                      Buffer own = c.allocate(10000 + static_cast<std::size_t>(t));
                      Comm part = c.split(c.rank() == 0 ? 0 : 1);  // made and closed while others do the same
                      require(part.allreduce(1, Op::sum) == part.size(), "sum of a part");
                      part.close();
                    }
                    c.close();
                  } catch (const std::exception& e) {
                    const std::lock_guard lock(mutex);
                    if (first.empty()) first = e.what();
                  }
                });
              }
              for (std::thread& t : running) t.join();
              if (!first.empty()) throw std::runtime_error(first);
              expect_usable(world);
            }), "");
}
INSTANTIATE_TEST_SUITE_P(Ranks, Threads, testing::Values(2, 3, 4));

// Two worlds in one process, at once.
TEST(Threads, TwoWorldsAtOnce) {
  std::string texts[2];
  std::thread other([&] { texts[0] = run_threads({.ranks = 2}, [](Comm& c) { run_smoke(c, test_seed()); }); });
  texts[1] = run_threads({.ranks = 3}, [](Comm& c) { run_smoke(c, test_seed()); });
  other.join();
  EXPECT_EQ(texts[0] + texts[1], "");
}

}  // namespace
}  // namespace libcoll::test
