// Ranks that call different things: every rank that can see it gets Errc::mismatch that names the
// argument and the odd rank, nobody hangs, and the communicator works afterwards.
#include <gtest/gtest.h>

#include "tests/multiproc/calls.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

constexpr int ranks = 3;
const CustomOp records24{.function = [](const void*, void*, std::size_t, DType, void*) {}, .element_bytes = 24};

struct Difference {
  const char* word;
  bool (*applies)(Which);
  void (*change)(Which&, Args&);
};

bool sized(Which w) { return w != Which::barrier && !has_tables(w); }
bool typed(Which w) { return w != Which::barrier; }
const std::vector<Difference> differences{
    {"count", sized, [](Which&, Args& x) { x.count -= 1; }},
    {"type", typed, [](Which&, Args& x) { x.type = DType::i64; }},
    {"operation", reduces, [](Which&, Args& x) { x.op = Op::max; }},
    {"root", rooted, [](Which&, Args& x) { x.root = 1; }},
    {"algorithm", [](Which w) { return w == Which::allreduce || w == Which::reduce; }, [](Which&, Args& x) { x.options.algorithm = "direct"; }},
    {"collective", [](Which) { return true; }, [](Which& w, Args&) { w = w == Which::allgather ? Which::alltoall : Which::allgather; }},
    {"element bytes", [](Which w) { return reduces(w) && w != Which::reduce_scatter; }, nullptr},
};

// A sample where everything is slow.
bool left_out(std::uint64_t tag) {
  static std::uint64_t calls = 0;
  return test_scale() < 1 && mixed(test_seed(), tag, ++calls) % 3 != 0;
}

// What every rank must see, given who differs. In rooted calls only readers can.
void differ(Comm& c, Which which, const Difference& d, int odd, Count count, bool checking) {
  expect_usable(c);
  Args x(c, count);
  Which w = which;
  if (d.change == nullptr) {
    x.type = DType::byte;
    static const CustomOp records16{.function = records24.function, .element_bytes = 16};
    x.count = count / 4;
    x.op = c.rank() == odd ? records16 : records24;
  } else if (c.rank() == odd) {
    d.change(w, x);
  }
  const Outcome o = outcome_of([&] { call(c, w, x); });
  const std::string seen = std::string(libcoll::name_of(o.code)) + ": " + o.text;
  if (o.code == Errc::ok) {
    if (checking || all_see_all(which)) throw std::runtime_error("did not notice");
  } else {
    if (o.code != Errc::mismatch) throw std::runtime_error(seen);
    const bool reversed = c.rank() == odd && !checking;  // for the odd one everybody else differs
    if (reversed ? o.peer == odd || o.peer < 0 : o.peer != odd) throw std::runtime_error("names rank " + std::to_string(o.peer) + ": " + seen);
    if (!checking && o.text.find(d.word) == std::string::npos) throw std::runtime_error("does not name the argument: " + seen);
  }
  expect_usable(c);
}

class Mismatch : public testing::TestWithParam<std::tuple<Which, int>> {};

TEST_P(Mismatch, NamesTheArgumentAndTheOddRank) {
  const auto [which, odd] = GetParam();
  Launch launch{.ranks = ranks, .watchdog_s = 60};
  launch.config.timeout_s = 5;
  for (const Difference& d : differences) {
    if (!d.applies(which)) continue;
    for (const char* single_copy : {"on", "off"})
      for (const bool checking : {false, true})
        for (const Count count : {Count{4}, Count{700}, Count{70000}}) {  // in lines, eager, remote or ring
          if (left_out(static_cast<std::uint64_t>(count))) continue;
          launch.config.single_copy = single_copy;
          launch.config.check = checking;
          EXPECT_EQ(run_forked(launch, [&, which = which, odd = odd](Comm& c) { differ(c, which, d, odd, count, checking); }), "")
              << name_of(which) << ": rank " << odd << " differs in " << d.word << ", count " << count << ", single copy " << single_copy
              << (checking ? ", checking" : "");
        }
  }
}
INSTANTIATE_TEST_SUITE_P(Calls, Mismatch, testing::Combine(testing::ValuesIn(all_calls), testing::Range(0, ranks)),
                         [](const auto& test) { return std::string(name_of(std::get<0>(test.param))) + "_" + std::to_string(std::get<1>(test.param)); });

// -- Counts that disagree within the forms with tables ----------------------------------------------

// Ranks `a` and `b` disagree about what b sends a. Whoever returns without an error has the right data.
void disagree(Comm& c, Which which, Count count, int a, int b) {
  Args x(c, count);
  for (std::size_t i = 0; i < x.a.size(); ++i) x.a[i] = c.rank() * 1000.0 + static_cast<double>(i / static_cast<std::size_t>(count));
  if (c.rank() == a) {
    if (which == Which::scatterv) x.count -= 1;
    else x.counts[static_cast<std::size_t>(b)] -= 1;
  }
  const Outcome o = outcome_of([&] { call(c, which, x); });
  if (c.rank() == a && o.code != Errc::mismatch) throw std::runtime_error("the disagreeing rank got " + std::string(libcoll::name_of(o.code)) + " " + o.text);
  if (o.code != Errc::ok && o.code != Errc::mismatch) throw std::runtime_error(std::string(libcoll::name_of(o.code)) + ": " + o.text);
  const bool by_table = which == Which::allgatherv;  // its tables are compared as such: a is the odd one for all
  const bool named = by_table ? (c.rank() == a ? o.peer != a : o.peer == a) : c.rank() != a || o.peer == b;
  if (by_table && o.code != Errc::mismatch) throw std::runtime_error("did not notice");
  if (o.code == Errc::mismatch && (o.text.find("count") == std::string::npos || !named)) throw std::runtime_error("names rank " + std::to_string(o.peer) + ": " + o.text);
  const bool receives = which == Which::allgatherv || which == Which::alltoallv || (which == Which::gatherv && c.rank() == 0);
  if (o.code == Errc::ok && receives)
    for (int r = 0; r < c.size(); ++r)
      for (Count i = 0; i < count; ++i) {
        const double want = r * 1000.0 + (which == Which::alltoallv ? c.rank() : 0);
        if (const double got = x.b[static_cast<std::size_t>(x.displs[static_cast<std::size_t>(r)] + i)]; got != want)
          throw std::runtime_error("returned without an error but element " + std::to_string(i) + " of rank " + std::to_string(r) + " is " +
                                   std::to_string(got) + " and not " + std::to_string(want));
      }
  expect_usable(c);
}

class Tables : public testing::TestWithParam<Which> {};

TEST_P(Tables, ThatDisagreeAreNamed) {
  Launch launch{.ranks = ranks, .watchdog_s = 60};
  launch.config.timeout_s = 5;
  const bool to_root = GetParam() == Which::gatherv, from_root = GetParam() == Which::scatterv;
  for (const char* single_copy : {"on", "off"})
    for (const Count count : {Count{2}, Count{500}, Count{60000}})
      for (int a = 0; a < ranks; ++a)
        for (int b = 0; b < ranks; ++b) {
          if (a == b || (to_root && a != 0) || (from_root && b != 0)) continue;
          launch.config.single_copy = single_copy;
          EXPECT_EQ(run_forked(launch, [&](Comm& c) { disagree(c, GetParam(), count, a, b); }), "")
              << "count " << count << ", single copy " << single_copy << ", rank " << a << " expects other of rank " << b;
        }
}
INSTANTIATE_TEST_SUITE_P(Calls, Tables, testing::Values(Which::allgatherv, Which::gatherv, Which::scatterv, Which::alltoallv),
                         [](const auto& test) { return std::string(name_of(test.param)); });

// reduce_scatter: all ranks must pass the same counts. Never a hang; whoever differs hears of it.
TEST(Tables, OfReduceScatter) {
  Launch launch{.ranks = ranks, .watchdog_s = 60};
  launch.config.timeout_s = 5;
  for (const char* single_copy : {"on", "off"})
    for (const Count count : {Count{2}, Count{500}, Count{60000}})
      for (int odd = 0; odd < ranks; ++odd) {
        launch.config.single_copy = single_copy;
        EXPECT_EQ(run_forked(launch, [&](Comm& c) {
                    Args x(c, count);
                    if (c.rank() == odd) x.counts = {0, 3 * count, 0};  // the same sum
                    const Outcome o = outcome_of([&] { call(c, Which::reduce_scatter, x); });
                    if (o.code != Errc::mismatch) throw std::runtime_error(std::string(libcoll::name_of(o.code)) + " " + o.text);
                    expect_usable(c);
                  }), "") << "count " << count << ", single copy " << single_copy << ", rank " << odd;
      }
}

// A rank that lends its private memory and finds a difference may free it at once: the peer that comes
// late must not find it gone.
TEST(Mismatch, LentMemoryIsReadBeforeItsOwnerGetsTheError) {
  Launch launch{.ranks = ranks, .watchdog_s = 60};
  launch.config.timeout_s = 20;
  launch.config.single_copy = "on";
  Board flags(1);
  EXPECT_EQ(run_forked(launch, [&](Comm& c) {
              {
                Args x(c, 200000);  // large enough that freeing it unmaps it
                if (c.rank() == 2) wait_until(0.3, [&] { return flags.word(0).load() != 0; });
                Which w = c.rank() == 1 ? Which::alltoall : Which::allgather;
                const Outcome o = outcome_of([&] { call(c, w, x); });
                if (o.code != Errc::mismatch) throw std::runtime_error(o.text);
              }
              if (c.rank() == 0) flags.word(0).store(1);
              expect_usable(c);
            }), "");
}

// Mismatches one after the other, with good calls between, in every order.
TEST(Mismatch, MayHappenOftenWithoutHarm) {
  EXPECT_EQ(run_threads({.ranks = 4}, [](Comm& c) {
              for (int i = 0; i < 200; ++i) {
                Args x(c, i % 7 == 0 ? 9000 : 5);
                if (c.rank() == i % 4) x.count -= 1;
                const Outcome o = outcome_of([&] { call(c, i % 2 != 0 ? Which::allreduce : Which::alltoall, x); });
                if (o.code != Errc::mismatch) throw std::runtime_error(o.text);
                if (i % 3 == 0) expect_usable(c);
              }
              expect_usable(c);
            }), "");
}

}  // namespace
}  // namespace libcoll::test
