#include <gtest/gtest.h>

#include "tests/multiproc/body.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

class Threads : public testing::TestWithParam<int> {};

TEST_P(Threads, EveryCollectiveGivesTheReferencesBits) {
  const Launch launch{.ranks = GetParam(), .watchdog_s = 200};
  EXPECT_EQ(run_threads(launch, [](Comm& c) {
              run_body(c, {.seed = test_seed(), .scale = test_scale(), .most_bytes = (std::size_t{8} << 20) / (c.size() > 9 ? 4 : 1),
                           .every_type = c.size() <= 9 && (test_scale() >= 1 || c.size() % 3 == 0)});
            }), "");
}
INSTANTIATE_TEST_SUITE_P(Ranks, Threads, testing::Values(1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33));

}  // namespace
}  // namespace libcoll::test
