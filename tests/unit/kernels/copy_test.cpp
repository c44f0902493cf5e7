#include "libcoll/kernels/copy.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/kernels/support.hpp"

namespace libcoll::test {
namespace {

// Exact copies, nothing touched outside, for sizes around every threshold and all alignments.
void check_copy(void (*copy)(void*, const void*, std::size_t) noexcept) {
  Random random(test_seed());
  constexpr std::size_t room = (3u << 20) + 4096;
  GuardedPages src(room), dst(room);
  for (std::size_t i = 0; i < room; ++i) src.first()[i] = static_cast<unsigned char>(random());
  std::vector<std::size_t> sizes;
  for (std::size_t n = 0; n <= 600; ++n) sizes.push_back(n);
  for (std::size_t n = 1024; n <= (3u << 20); n *= 2)
    for (const std::size_t delta : {0, 1, 63}) sizes.insert(sizes.end(), {n - delta, n + delta});
  for (const std::size_t n : sizes) {
    for (int trial = 0; trial < (n < 4096 ? 8 : 2); ++trial) {
      const std::size_t slack = trial == 0 ? 0 : random() % 128, to_slack = trial == 0 ? 0 : random() % 128;
      const unsigned char* from = src.last(n + slack);
      unsigned char* to = dst.last(n + to_slack);
      std::memset(to - 64, 0xA5, n + to_slack + 64);
      copy(to, from, n);
      ASSERT_EQ(std::memcmp(to, from, n), 0) << n << " bytes, slack " << slack << " " << to_slack;
      for (std::size_t i = 1; i <= 64; ++i) ASSERT_EQ(to[-static_cast<std::ptrdiff_t>(i)], 0xA5) << n;
      for (std::size_t i = 0; i < to_slack; ++i) ASSERT_EQ(to[n + i], 0xA5) << n;
      copy(dst.first(), src.first(), n);
      ASSERT_EQ(std::memcmp(dst.first(), src.first(), n), 0) << n << " bytes";
    }
  }
}

TEST(Copy, Cached) { check_copy(kernels::copy); }
TEST(Copy, Streaming) { check_copy(kernels::copy_streaming); }

}  // namespace
}  // namespace libcoll::test
