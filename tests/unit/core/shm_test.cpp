// The parts of the shared-memory transport that can be looked at alone: heap, cutting, thresholds.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

#include "tests/support/values.hpp"
#include "transports/shm/heap.hpp"
#include "transports/shm/source.hpp"
#include "transports/shm/tuning.hpp"

namespace libcoll::xport::shm {
namespace {

std::unique_ptr<Heap> heap_of(std::uint64_t arena, const LentMemory& lent = {}) {
  const auto alone = bootstrap_from_callback(0, 1, [](const void* s, void* r, std::size_t n) { std::memcpy(r, s, n); });
  auto heap = Heap::create(*alone, {.arena_bytes = arena, .lent = lent});
  EXPECT_TRUE(heap) << (heap ? "" : heap.error().text);
  return heap ? std::move(*heap) : nullptr;
}

constexpr std::uint64_t arena = 16 << 20;
constexpr std::uint64_t usable = arena - page_bytes;  // offset 0 means "none"

TEST(Heap, GivesPagesThatAreZeroAndNeverOffsetZero) {
  const auto heap = heap_of(arena);
  const std::uint64_t a = heap->allocate(1), b = heap->allocate(5000);
  EXPECT_NE(a, 0u);
  EXPECT_EQ(a % page_bytes, 0u);
  EXPECT_GE(b, a + page_bytes);
  std::memset(heap->at(a), 0xff, page_bytes);
  heap->release(a);
  const std::uint64_t again = heap->allocate(page_bytes);
  EXPECT_EQ(again, a) << "first fit";
  EXPECT_TRUE(std::all_of(heap->at(again), heap->at(again) + page_bytes, [](std::byte x) { return x == std::byte{0}; }));
  EXPECT_TRUE(heap->contains(heap->at(b), 5000));
  EXPECT_FALSE(heap->contains(heap->at(b), arena));
  int local = 0;
  EXPECT_FALSE(heap->contains(&local, sizeof local));
  EXPECT_EQ(heap->offset_of(heap->at(b)), b);
}

TEST(Heap, ExhaustionIsAnAnswer) {
  const auto heap = heap_of(arena);
  EXPECT_EQ(heap->allocate(arena), 0u);
  EXPECT_EQ(heap->allocate(usable + 1), 0u);
  const std::uint64_t all = heap->allocate(usable);
  EXPECT_NE(all, 0u);
  EXPECT_EQ(heap->allocate(1), 0u);
  heap->release(0);  // "none", as an allocation that failed
  EXPECT_EQ(heap->allocate(1), 0u);
  heap->release(all);
  heap->release(all);  // twice does no harm
  EXPECT_EQ(heap->allocate(usable), all);
}

TEST(Heap, NeighboursCoalesceInEveryOrder) {
  const auto heap = heap_of(arena);
  std::vector<int> order{0, 1, 2, 3};
  do {
    std::uint64_t blocks[4];
    for (auto& b : blocks) b = heap->allocate(usable / 4 / page_bytes * page_bytes);
    const std::uint64_t rest = heap->allocate(page_bytes);
    for (const int i : order) heap->release(blocks[i]);
    heap->release(rest);
    const std::uint64_t all = heap->allocate(usable);
    ASSERT_NE(all, 0u);
    heap->release(all);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Heap, RandomUseNeverOverlapsAndTouchesOnlyWhatIsUsed) {
  const auto heap = heap_of(arena);
  std::mt19937_64 random(test::test_seed());
  std::map<std::uint64_t, std::pair<std::size_t, unsigned char>> live;
  for (int step = 0; step < 3000; ++step) {
    if (live.empty() || random() % 5 < 3) {
      const std::size_t bytes = 1 + random() % 200000;
      const std::uint64_t at = heap->allocate(bytes);
      if (at == 0) continue;
      const auto next = live.upper_bound(at);
      if (next != live.end()) { ASSERT_LE(at + bytes, next->first) << test::seed_text(); }
      if (next != live.begin()) { ASSERT_GE(at, std::prev(next)->first + std::prev(next)->second.first) << test::seed_text(); }
      const auto tag = static_cast<unsigned char>(random() | 1);
      ASSERT_EQ(heap->at(at)[0], std::byte{0});
      ASSERT_EQ(heap->at(at)[bytes - 1], std::byte{0});
      heap->at(at)[0] = heap->at(at)[bytes - 1] = std::byte{tag};
      live[at] = {bytes, tag};
    } else {
      const auto it = std::next(live.begin(), static_cast<std::ptrdiff_t>(random() % live.size()));
      ASSERT_EQ(heap->at(it->first)[0], std::byte{it->second.second});
      ASSERT_EQ(heap->at(it->first)[it->second.first - 1], std::byte{it->second.second});
      heap->release(it->first);
      live.erase(it);
    }
  }
  for (const auto& [at, unused] : live) heap->release(at);
  EXPECT_EQ(heap->touched_bytes(), 0u);
  EXPECT_NE(heap->allocate(usable), 0u);
}

TEST(Heap, LentMemoryIsSeenByEverybodyAndOutlivesIt) {
  constexpr std::size_t bytes = 3 * page_bytes;
  const int fd = memfd_create("lent", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, bytes), 0);
  auto* own = static_cast<std::byte*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(own, MAP_FAILED);
  auto heap = heap_of(arena, {.fd = fd, .base = own, .bytes = bytes});
  const std::uint64_t at = heap->shared_at(own + 100, 1000);
  ASSERT_NE(at, 0u);
  EXPECT_NE(heap->at(at), own + 100) << "another view";
  own[100] = std::byte{7};
  EXPECT_EQ(*heap->at(at), std::byte{7});
  *heap->at(at) = std::byte{8};
  EXPECT_EQ(own[100], std::byte{8});
  EXPECT_EQ(heap->shared_at(own, bytes + 1), 0u);
  EXPECT_EQ(heap->shared_at(&at, sizeof at), 0u);
  EXPECT_FALSE(heap->contains(own, 1));
  const std::uint64_t block = heap->allocate(5000);
  EXPECT_EQ(heap->shared_at(heap->at(block), 5000), block);
  heap.reset();
  EXPECT_EQ(own[100], std::byte{8});
  munmap(own, bytes);
  close(fd);
}

TEST(Heap, PopulateMakesPagesReal) {
  const auto heap = heap_of(arena);
  const std::uint64_t a = heap->allocate(1 << 20);
  EXPECT_EQ(heap->touched_bytes(), 0u);
  EXPECT_TRUE(heap->populate(a, 1 << 20));
  EXPECT_GE(heap->touched_bytes(), std::size_t{1} << 20);
  heap->release(a);
  EXPECT_EQ(heap->touched_bytes(), 0u);
}

// Pieces of a block cover it exactly, in whole elements, and fit into the ring.
TEST(Pieces, CoverBlocksExactly) {
  std::mt19937_64 random(test::test_seed());
  for (int i = 0; i < 20000; ++i) {
    Shape shape;
    const int ranks = 2 + static_cast<int>(random() % 200);
    shape.slot_bytes = std::max(std::size_t{8192} << random() % 4, std::size_t{256} * static_cast<std::size_t>(ranks));
    const bool one_for_all = random() % 2 == 0;
    const std::uint64_t slot = largest_piece(shape, one_for_all ? 1 : ranks - 1);
    ASSERT_GE(slot, 64u);
    const auto element = static_cast<std::uint32_t>(1 + random() % std::min<std::uint64_t>(slot, random() % 2 ? 32 : 4096));
    const std::uint64_t largest = random() % 300000 * element;
    const Pieces p = cut(shape, one_for_all, ranks, element, largest);
    SCOPED_TRACE(::testing::Message() << "slot " << shape.slot_bytes << ", " << ranks << " ranks, element " << element << ", largest "
                                      << largest << ", one for all " << one_for_all << ", " << test::seed_text());
    ASSERT_GT(p.piece, 0u);
    ASSERT_EQ(p.piece % element, 0u);
    ASSERT_LE(p.piece, slot);
    ASSERT_LE(p.slot, shape.slot_bytes);
    ASSERT_EQ(p.slot, p.stride * (one_for_all ? 1 : static_cast<std::uint64_t>(ranks - 1)));
    ASSERT_GE(p.stride, p.piece);
    const std::uint64_t block = largest == 0 ? 0 : random() % (largest / element + 1) * element;
    std::uint64_t at = 0;
    for (std::uint64_t round = 0; round < p.rounds(largest); ++round) {
      const std::uint64_t n = p.length(round, block);
      if (n != 0) { ASSERT_EQ(p.begin(round), at); }
      at += n;
    }
    ASSERT_EQ(at, block);
    ASSERT_EQ(p.length(p.rounds(largest) + 1, block), 0u);
    ASSERT_EQ(p.stride % 64, 0u);
    // The pieces for the readers of one source lie apart, within its slot.
    const int source = static_cast<int>(random() % static_cast<unsigned>(ranks)), reader = (source + 1 + static_cast<int>(random() % static_cast<unsigned>(ranks - 1))) % ranks;
    ASSERT_LE(place_in_slot(p, one_for_all, source, reader) + p.piece, p.slot);
  }
}

TEST(Tuning, RemoteReadsPayOnlyWhereTheyAreFaster) {
  Costs c;
  c.staged_gbps = 6, c.remote_call_ns = 1000, c.remote_gbps = 10;
  const auto remote_threshold = [](const Costs& costs) { return single_copy_thresholds(costs, false, 1 << 20).message; };
  const std::size_t usual = remote_threshold(c);
  EXPECT_GE(usual, 32768u);
  EXPECT_LE(usual, 4000000u);
  c.remote_call_ns = 100000;
  EXPECT_GE(remote_threshold(c), usual) << "dearer calls pay later";
  c.remote_gbps = 1;
  EXPECT_EQ(remote_threshold(c), ~std::size_t{0}) << "slower per byte: never";
}

TEST(Tuning, RanksThatShareACpuLendOnlyWhatIsMoved) {
  constexpr std::size_t never = ~std::size_t{0}, staged_whole = 262144;
  Costs c;
  c.staged_gbps = 10, c.remote_call_ns = 1000, c.remote_gbps = 12;
  const SingleCopy own_cpus = single_copy_thresholds(c, false, staged_whole), shared_cpus = single_copy_thresholds(c, true, staged_whole);
  EXPECT_EQ(own_cpus.whole, own_cpus.message);
  EXPECT_EQ(own_cpus.scattered, own_cpus.message);
  EXPECT_EQ(shared_cpus.message, own_cpus.message);
  EXPECT_EQ(shared_cpus.whole, never);
  EXPECT_EQ(shared_cpus.exchanged, staged_whole + 1) << "where a ring would begin";
  EXPECT_LT(shared_cpus.scattered, staged_whole);
  c.remote_gbps = 9;
  EXPECT_EQ(single_copy_thresholds(c, true, staged_whole).scattered, shared_cpus.scattered) << "one copy of a bit less speed still saves one";
  c.remote_gbps = 4;
  EXPECT_EQ(single_copy_thresholds(c, true, staged_whole).scattered, never);
  EXPECT_EQ(single_copy_thresholds(c, true, staged_whole).exchanged, never);
}

TEST(Tuning, DirectReductionsAreForSmallVectors) {
  const Costs c;
  for (const bool oversubscribed : {false, true}) {
    std::size_t last = ~std::size_t{0};
    for (int ranks = 2; ranks <= 1024; ranks *= 2) {
      const std::size_t t = direct_threshold(c, ranks, oversubscribed);
      EXPECT_GE(t, 1024u);
      EXPECT_LE(t, 1000000u);
      if (!oversubscribed) { EXPECT_LE(t, last) << "more ranks, more reads that slices save"; }
      last = t;
    }
  }
  EXPECT_GE(direct_threshold(c, 4, true), direct_threshold(c, 4, false));
}

}  // namespace
}  // namespace libcoll::xport::shm
