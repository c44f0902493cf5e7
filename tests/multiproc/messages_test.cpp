// Messages between two ranks of one host: threads and forked processes, with and without single copies, more ranks than CPUs.
#include <gtest/gtest.h>

#include "tests/multiproc/messages.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

// How threads read each other's memory cannot be seen by ThreadSanitizer.
#if defined(__SANITIZE_THREAD__)
constexpr bool sees_threads = true;
#else
constexpr bool sees_threads = false;
#endif

struct Setting {
  const char* name;
  bool forked;
  int ranks;
  const char* single_copy;
  bool progress_thread;
};
void PrintTo(const Setting& s, std::ostream* out) { *out << s.name; }

std::string run(const Setting& s, const Body& body) {
  Launch launch{.ranks = s.ranks, .watchdog_s = 150};
  launch.config.timeout_s = 60;
  launch.config.single_copy = sees_threads ? "off" : s.single_copy;
  launch.config.progress_thread = s.progress_thread;
  launch.config.arena_bytes = 256u << 20;
  return s.forked ? run_forked(launch, body) : run_threads(launch, body);
}

class Messages : public testing::TestWithParam<Setting> {};

TEST_P(Messages, DoAllTheyShould) {
  const bool quick = test_scale() < 1;
  const MessageOptions o{.most_bytes = quick ? std::size_t{2} << 20 : std::size_t{21} << 20, .many = quick ? 1000 : GetParam().ranks > 4 ? 2000 : 10000, .arena = !sees_threads, .seed = test_seed()};
  EXPECT_EQ(run(GetParam(), [&](Comm& c) { check_messages(c, o); }), "");
}

const Setting settings[] = {{"alone", false, 1, "on", false},         {"two_threads", false, 2, "on", false},       {"two_threads_staged", false, 2, "off", false},
                            {"three_threads", false, 3, "on", true},  {"five_threads", false, 5, "off", false},     {"two_forked", true, 2, "on", false},
                            {"two_forked_staged", true, 2, "off", false}, {"three_forked", true, 3, "auto", true}, {"eight_forked", true, 8, "on", false},
                            {"eight_forked_staged", true, 8, "off", false}};
INSTANTIATE_TEST_SUITE_P(Ranks, Messages, testing::ValuesIn(settings), [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace libcoll::test
