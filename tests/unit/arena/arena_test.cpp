// The arena itself: what it hands out, what it gives back to the system, what children of fork see.
#include "integrations/arena/arena.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

namespace libcoll::arena {
namespace {

constexpr std::size_t mib = std::size_t{1} << 20;
constexpr std::size_t arena_mib = 512;

// Of the arena, in this process's memory and everybody else's.
std::size_t pages_bytes() {
  struct stat st{};
  return fstat(region().fd, &st) == 0 ? static_cast<std::size_t>(st.st_blocks) * 512 : 0;
}

class Arena : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(start(arena_mib * mib));
    before_ = usage().live_bytes;
  }
  void TearDown() override { EXPECT_EQ(usage().live_bytes, before_); }
  static char* block(std::size_t bytes, std::size_t align = 1, bool zeroed = false) {
    auto* p = static_cast<char*>(allocate(bytes, align, zeroed));
    EXPECT_NE(p, nullptr);
    EXPECT_TRUE(contains(p));
    return p;
  }
  std::size_t before_ = 0;
};

// What a child answers by its exit status.
template <class Body>
int in_child(const Body& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

TEST_F(Arena, KnowsItsAddresses) {
  const Region r = region();
  EXPECT_EQ(r.bytes, arena_mib * mib);
  int local = 0;
  EXPECT_FALSE(contains(&local));
  EXPECT_FALSE(contains(nullptr));
  EXPECT_TRUE(contains(r.base));
  EXPECT_FALSE(contains(static_cast<char*>(r.base) + r.bytes));
}

TEST_F(Arena, ZeroedMeansZeroedAlsoWhereSomethingWas) {
  char* p = block(mib);
  std::memset(p, 0x5a, mib);
  release(p);
  char* q = block(mib, 1, true);
  EXPECT_EQ(q, p) << "warm memory is used again";
  EXPECT_TRUE(std::all_of(q, q + mib, [](char c) { return c == 0; }));
  release(q);
}

TEST_F(Arena, AlignsToAnyPowerOfTwo) {
  for (std::size_t align = 1; align <= 64 * mib; align *= 2) {
    char* p = block(100000, align);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % align, 0u) << align;
    release(p);
  }
}

TEST_F(Arena, ExhaustionIsNull) {
  EXPECT_EQ(allocate(arena_mib * mib, 1, false), nullptr);
  EXPECT_EQ(allocate(~std::size_t{0}, 1, false), nullptr);
  EXPECT_EQ(allocate(mib, std::size_t{1} << 62, false), nullptr);
  EXPECT_EQ(allocate(0, 1, false), nullptr);
  // Kept pages of freed blocks are no reason to say so.
  char* a = block(20 * mib);
  std::memset(a, 1, 20 * mib);
  release(a);
  char* all = block((arena_mib - 1) * mib);
  EXPECT_EQ(allocate(mib, 1, false), nullptr);
  release(all);
}

TEST_F(Arena, LargeBlocksGoBackToTheSystemAndSmallOnesWithinBounds) {
  char* large = block(100 * mib);
  std::memset(large, 1, 100 * mib);
  EXPECT_GE(pages_bytes(), 100 * mib);
  release(large);
  EXPECT_LE(pages_bytes(), 65 * mib);
  std::vector<char*> many;
  for (int i = 0; i < 200; ++i) {
    many.push_back(block(mib));
    std::memset(many.back(), 1, mib);
  }
  for (char* p : many) release(p);
  EXPECT_LE(pages_bytes(), 65 * mib);
  EXPECT_LE(usage().kept_bytes, 64 * mib);
}

TEST_F(Arena, ABlockThatComesAndGoesKeepsItsPages) {
  char* p = block(mib);
  std::memset(p, 1, mib);
  release(p);
  const std::size_t pages = pages_bytes();
  for (int i = 0; i < 100; ++i) {
    char* again = block(mib);
    ASSERT_EQ(pages_bytes(), pages);
    std::memset(again, 1, mib);
    ASSERT_EQ(pages_bytes(), pages);
    release(again);
  }
}

TEST_F(Arena, ResizesInPlaceWhereItCan) {
  char* p = block(mib);
  std::strcpy(p, "here");
  EXPECT_TRUE(resize(p, 2 * mib));
  EXPECT_EQ(usable_bytes(p), 2 * mib);
  std::vector<char*> others;
  do others.push_back(block(mib));
  while (others.back() < p);
  EXPECT_TRUE(resize(p, 10000));
  EXPECT_EQ(usable_bytes(p), 12288u);
  EXPECT_FALSE(resize(p, 400 * mib)) << "another block is in the way";
  EXPECT_STREQ(p, "here");
  release(p);
  for (char* other : others) release(other);
}

TEST_F(Arena, NoBlockIsNoBlock) {
  char* p = block(mib);
  EXPECT_DEATH(release(p + 16), "is not a block of the arena");
  EXPECT_DEATH(release(p + unit_bytes), "is not a block of the arena");
  release(p);
  EXPECT_DEATH(release(p), "freed twice");
}

TEST_F(Arena, AChildHasACopyOfItsOwn) {
  char* p = block(mib);
  std::strcpy(p, "before");
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    char go;
    if (read(pipe_ends[0], &go, 1) != 1) _exit(1);
    if (std::strcmp(p, "before") != 0) _exit(2);   // what the parent wrote since is not seen
    std::strcpy(p, "child");
    if (allocate(mib, 1, false) != nullptr) _exit(3);
    if (!contains(p) || usable_bytes(p) != mib || region().fd != -1) _exit(4);
    const int grandchild = in_child([&] { return std::strcmp(p, "child") == 0 ? 0 : 1; });
    if (grandchild != 0) _exit(5);
    release(p);
    _exit(0);
  }
  std::strcpy(p, "parent");
  ASSERT_EQ(write(pipe_ends[1], "x", 1), 1);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_STREQ(p, "parent");
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  release(p);
}

TEST_F(Arena, ThreadsMayAllocateWhileOneForks) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the copy for the child reads what other threads are writing, as fork itself does";
#endif
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop)
      if (char* p = static_cast<char*>(allocate(100000, 1, true))) p[99999] = 1, release(p);
  });
  char* p = block(mib);
  std::memset(p, 7, mib);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(in_child([&] { return p[mib - 1] == 7 ? 0 : 1; }), 0);
  stop = true;
  busy.join();
  release(p);
}

}  // namespace
}  // namespace libcoll::arena
