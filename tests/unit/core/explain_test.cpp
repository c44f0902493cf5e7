// Comm::explain, candidates and tuning_file: what they say is what calls do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "tests/support/proofs.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Expectations work in the threads of ranks, too.
void run(const Launch& launch, const Body& body) { EXPECT_EQ(run_threads(launch, body), ""); }

Launch with_network(int ranks) {
  Launch l{.ranks = ranks};
  l.config.network = "on";
  return l;
}

struct File {
  File(const char* name, const std::string& text) : path(testing::TempDir() + fmt_name(name)) { std::ofstream(path) << text; }
  ~File() { std::remove(path.c_str()); }
  static std::string fmt_name(const char* name) { return std::string(name) + "." + std::to_string(getpid()); }
  std::string path;
};

void expect_allreduce(Comm& c, std::string_view algorithm) {
  std::vector<float> v(64, 1);
  c.allreduce(in_place, v.data(), 64, DType::f32, Op::sum, {.algorithm = algorithm});
  EXPECT_EQ(v[63], static_cast<float>(c.size())) << algorithm;
}

void expect_cheapest_first(const std::vector<Candidate>& all, std::size_t from) {
  for (std::size_t i = from + 1; i < all.size(); ++i) EXPECT_LE(all[i - 1].predicted_us, all[i].predicted_us) << all[i].recipe;
  int chosen = 0;
  for (const Candidate& x : all) chosen += x.chosen;
  EXPECT_EQ(chosen, 1);
}

TEST(Explain, OnOneHostThereIsANativeStepAndNobodySendsMessages) {
  run({.ranks = 4}, [](Comm& c) {
    EXPECT_THAT(c.explain("allreduce", 1 << 20, DType::f32, Op::max),
                AllOf(StartsWith("allreduce of 1048576 f32 (4194304 bytes a block), max; 4 ranks on 1 host\n  one native step: "), HasSubstr("(all ranks share memory), predicted ")));
    EXPECT_THAT(c.explain("bcast", 5, DType::i64, Op::sum, 3), StartsWith("bcast of 5 i64 (40 bytes a block), root 3; "));
    EXPECT_THAT(c.explain("barrier", 0, DType::byte), StartsWith("barrier; 4 ranks"));
    EXPECT_THAT(c.explain("reduce", 5, DType::i64, Op::sum, 3, {.algorithm = "sliced"}), HasSubstr("one native step: sliced (caller)"));
    const auto all = c.candidates("allreduce", 64, DType::f32);
    ASSERT_FALSE(all.empty());
    EXPECT_EQ(all[0].recipe, "");
    EXPECT_GT(all[0].predicted_us, 0);
    expect_cheapest_first(all, 1);
    for (const Candidate& x : all) expect_allreduce(c, x.recipe);
  });
}

TEST(Explain, WithANetworkRecipesThatSendMessagesAreCandidates) {
  run(with_network(3), [](Comm& c) {
    const auto all = c.candidates("allreduce", 64, DType::f32);
    EXPECT_GT(all.size(), 3u);
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [](const Candidate& x) { return x.recipe == "ring"; }));
    expect_cheapest_first(all, 1);
    for (const Candidate& x : all) expect_allreduce(c, x.recipe);
    EXPECT_THAT(c.explain("allreduce", 64, DType::f32, Op::sum, 0, {.algorithm = "ring"}),
                AllOf(HasSubstr("\n  ring (caller), predicted "), HasSubstr("\n    1. messages in the world: 3 ranks, "), HasSubstr("\n  others:\n"), Not(HasSubstr("native"))));
    EXPECT_THAT(c.describe(), HasSubstr("messages by UCX"));
  });
}

TEST(Explain, TheEnvironmentsChoiceIsNamed) {
  Launch launch = with_network(3);
  launch.config.algorithms["bcast"] = "k_nomial:radix=3";
  run(launch, [](Comm& c) {
    EXPECT_THAT(c.explain("bcast", 10, DType::f32), HasSubstr("\n  k_nomial:radix=3 (environment), predicted "));
    const auto all = c.candidates("bcast", 10, DType::f32);
    expect_cheapest_first(all, 0);
    const auto chosen = std::find_if(all.begin(), all.end(), [](const Candidate& x) { return x.chosen; });
    EXPECT_EQ(chosen->recipe, "k_nomial:radix=3") << "although it is on nobody's list";
    EXPECT_THAT(c.explain("reduce", 10, DType::f32), HasSubstr("one native step"));
  });
}

// No name without an error, and no error that a peer notices.
TEST(Explain, ErrorsNameWhatIsWrongAndStayHere) {
  run({.ranks = 2}, [](Comm& c) {
    const auto text_of = [&](std::string_view collective, Count count, DType type, ReduceOp op = Op::sum, int root = 0, const CallOptions& o = {}) -> std::string {
      for (const bool all : {false, true}) try {
          if (all) static_cast<void>(c.candidates(collective, count, type, op, root, o));
          else static_cast<void>(c.explain(collective, count, type, op, root, o));
          return "no error";
        } catch (const Error& e) {
          EXPECT_EQ(e.code(), Errc::invalid_argument);
          if (all) return e.what();
        }
      return {};
    };
    if (c.rank() == 1) {
      const CustomOp nothing{};
      EXPECT_THAT(text_of("alreduce", 1, DType::f32), AllOf(HasSubstr("no collective \"alreduce\""), HasSubstr(" reduce_scatter_block ")));
      EXPECT_THAT(text_of("allreduce", -1, DType::f32), HasSubstr("rank 1 of 2: allreduce: count is -1"));
      EXPECT_THAT(text_of("allgatherv", -1, DType::f32), HasSubstr("count is -1"));
      EXPECT_THAT(text_of("gatherv", -1, DType::f32), HasSubstr("count is -1"));
      EXPECT_THAT(text_of("alltoall", Count{1} << 61, DType::f32), HasSubstr("does not fit"));
      EXPECT_THAT(text_of("bcast", 1, DType::f32, Op::sum, 2), HasSubstr("root is 2"));
      EXPECT_THAT(text_of("bcast", 1, DType::f32, Op::sum, -1), HasSubstr("root is -1"));
      EXPECT_THAT(text_of("bcast", 1, static_cast<DType>(99)), HasSubstr("type 99 is unknown"));
      EXPECT_THAT(text_of("scan", 1, DType::f32, Op::bxor), HasSubstr("bxor is not defined on type f32"));
      EXPECT_THAT(text_of("scan", 1, DType::f32, Op::avg), HasSubstr("avg makes no sense"));
      EXPECT_THAT(text_of("reduce", 1, DType::f32, nothing), HasSubstr("has no function"));
      EXPECT_THAT(text_of("bcast", 1, DType::f32, Op::sum, 0, {.algorithm = "sliced"}), HasSubstr("sliced is not available"));
      EXPECT_THAT(text_of("bcast", 1, DType::f32, Op::sum, 0, {.algorithm = "magic"}), HasSubstr("bcast has no algorithm \"magic\""));
      EXPECT_THAT(text_of("bcast", 1, DType::f32, Op::sum, 0, {.algorithm = "ring:radix=x"}), HasSubstr("ring:radix=x"));
      EXPECT_THAT(text_of("allreduce", 1, DType::f32, Op::sum, 0, {.algorithm = "ring"}), HasSubstr("LIBCOLL_NETWORK=on"));
      EXPECT_THAT(text_of("allreduce", 1, DType::f32, Op::sum, 0, {.timeout_s = -1}), HasSubstr("timeout_s is -1"));
    }
    expect_allreduce(c, "");
  });
  EXPECT_THROW(static_cast<void>(Comm().explain("barrier", 0, DType::byte)), Error);
}

TEST(Explain, CallsThatNoteTheirWayNameIt) {
  run(with_network(3), [](Comm& c) {
    expect_allreduce(c, "");
    EXPECT_EQ(c.last_way(), "") << "nobody asked";
    c.note_ways();
    for (const char* way : {"sliced", "ring", "sliced"}) {
      expect_allreduce(c, way);
      EXPECT_EQ(c.last_way(), way);
    }
    Request r = c.ibarrier();
    std::vector<Count> counts{1, 0, 2}, displs{0, 1, 1};
    std::vector<int> v(3, c.rank());
    c.allgatherv(in_place, 0, v.data(), counts, displs, DType::i32);
    EXPECT_EQ(c.last_way(), "pull");
    r.wait();
    c.barrier();
    EXPECT_EQ(c.last_way(), "flat flags") << "of a call that was used before, too";
    c.barrier();
    EXPECT_THAT(c.explain("barrier", 0, DType::byte), HasSubstr(std::string(c.last_way())));
  });
  EXPECT_THROW(Comm().note_ways(), Error);
}

TEST(ReduceLocal, CombinesInOrderOrSaysThatItCannot) {
  const std::vector<float> in{1, 2, 3};
  std::vector<float> inout{10, 20, 30};
  EXPECT_TRUE(reduce_local(in.data(), inout.data(), 3, DType::f32, Op::sum));
  EXPECT_EQ(inout, (std::vector<float>{11, 22, 33}));
  EXPECT_FALSE(reduce_local(in.data(), inout.data(), 3, DType::f32, Op::bxor));
  EXPECT_FALSE(reduce_local(in.data(), inout.data(), 3, DType::f32, Op::avg));
  EXPECT_FALSE(reduce_local(in.data(), inout.data(), 3, DType::f32, Op::custom));
  EXPECT_EQ(inout[0], 11);
  // Of equal values the lower index, whichever operand it is in.
  const Pair_i32_i32 low{5, 1};
  Pair_i32_i32 high{5, 2};
  EXPECT_TRUE(reduce_local(&low, &high, 1, DType::i32_i32, Op::minloc));
  EXPECT_EQ(high.index, 1);
}

TEST(Explain, EveryCollectiveIsExplained) {
  run(with_network(3), [](Comm& c) {
    for (int i = 0; i < detail::coll_count; ++i) {
      const char* name = detail::name_of(static_cast<detail::Coll>(i));
      EXPECT_THAT(c.explain(name, 100, DType::f64), AllOf(StartsWith(name), HasSubstr("one native step: "))) << name;
      EXPECT_GT(c.candidates(name, 100, DType::f64).size(), 1u) << name;
    }
  });
}

TEST(TuningFile, IsFollowedAlsoOnOneHost) {
  std::string text;
  run({.ranks = 4}, [&](Comm& c) {
    if (c.rank() != 0) return;
    // Small floats are planned as the f32 in which they travel.
    const TuningRule rules[] = {{"allreduce", 10, DType::bf16, Op::sum, ""}, {"allreduce", 1000, DType::f32, Op::sum, "ring"}, {"barrier", 0, DType::byte, Op::sum, ""}};
    text = c.tuning_file(rules);
  });
  EXPECT_THAT(text, AllOf(HasSubstr("\"libcoll_tuning\": 1"), HasSubstr("\"up_to_bytes\": 40"), HasSubstr("\"up_to_bytes\": 4000"), HasSubstr("\"recipe\": \"default\"")));
  const File tuning("tuning", text);
  Launch launch = with_network(4);
  launch.config.tuning_file = tuning.path;
  run(launch, [&](Comm& c) {
    EXPECT_THAT(c.explain("allreduce", 1000, DType::f32), HasSubstr("\n  ring (tuning file), predicted "));
    EXPECT_THAT(c.explain("allreduce", 11, DType::bf16), HasSubstr("(tuning file)"));
    EXPECT_THAT(c.explain("allreduce", 10, DType::bf16), HasSubstr("one native step"));
    EXPECT_THAT(c.explain("allreduce", 1001, DType::f32), HasSubstr("one native step"));
    EXPECT_THAT(c.explain("allreduce", 1000, DType::f32, Op::sum, 0, {.algorithm = "direct"}), HasSubstr("direct (caller)"));
    EXPECT_THAT(c.explain("barrier", 0, DType::byte), HasSubstr("one native step"));
    expect_allreduce(c, "");
    Comm pair = c.split(c.rank() / 2);
    EXPECT_THAT(pair.explain("allreduce", 1000, DType::f32), HasSubstr("one native step")) << "another shape";
    pair.close();
  });
  launch.config.network = "auto";
  run(launch, [&](Comm& c) {
    EXPECT_THAT(c.explain("allreduce", 1000, DType::f32), HasSubstr("one native step")) << "no network: the rule is passed over";
    expect_allreduce(c, "");
  });
}

TEST(TuningFile, RulesOfOtherJobsAndCollectivesStay) {
  constexpr const char* before = R"({"libcoll_tuning": 1, "jobs": [
    {"fingerprint": "99", "rules": [{"collective": "bcast", "up_to_bytes": 7, "recipe": "ring"}]},
    {"fingerprint": "2", "rules": [{"collective": "bcast", "up_to_bytes": 17, "recipe": "k_nomial"}, {"collective": "scan", "up_to_bytes": 18, "recipe": "default"}]}]})";
  run({.ranks = 2}, [&](Comm& c) {
    const TuningRule rules[] = {{"bcast", 19, DType::byte, Op::sum, ""}, {"bcast", 20, DType::byte, Op::sum, "k_nomial"}};
    const std::string after = c.tuning_file(rules, before);
    EXPECT_THAT(after, AllOf(HasSubstr("\"99\""), HasSubstr(": 7,"), HasSubstr(": 18,"), HasSubstr(": 19,"), HasSubstr(": 20,"), Not(HasSubstr(": 17,"))));
    EXPECT_EQ(c.tuning_file({}, after), after);
    EXPECT_THROW(static_cast<void>(c.tuning_file(rules, "no JSON")), Error);
    const TuningRule wrong[] = {{"bcast", 19, DType::byte, Op::sum, "magic"}};
    EXPECT_THROW(static_cast<void>(c.tuning_file(wrong)), Error);
  });
}

// What keeps candidates from being refused where there is no network.
TEST(SendsMessages, IsWhatTheSchedulesDo) {
  Random random(test_seed());
  for (int i = 0; i < detail::coll_count; ++i)
    for (int trial = 0; trial < 12; ++trial) {
      sched::Problem p = flat_problem(static_cast<detail::Coll>(i), between(random, 1, 9), 100);
      if (trial % 3 != 0 && p.size % 2 == 0) set_hosts(p, trial % 3 == 1 ? 1 : 2, p.size / (trial % 3 == 1 ? 1 : 2));
      for (const algo::Recipe& r : algo::candidates(p)) {
        bool any = false;
        for (const sched::Schedule& s : build_all(p, r))
          for (const sched::Step& step : s.steps) any = any || step.kind == sched::Kind::send;
        EXPECT_EQ(algo::sends_messages(p, r), any) << to_text(p) << algo::to_text(r) << seed_text();
      }
    }
}

}  // namespace
}  // namespace libcoll::test
