#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/support/proofs.hpp"

namespace libcoll::algo {
namespace {

Problem problem(Coll coll, int size, std::int64_t count) {
  Problem p;
  p.coll = coll;
  p.size = size;
  p.count = count;
  return p;
}

TEST(Catalogue, OperandsLieWhereTheCallPutsThem) {
  Problem p = problem(Coll::allgather, 4, 10);
  EXPECT_EQ(operand(p, 2, 3, 4), (Range{Space::send, 0, 3, 4}));
  EXPECT_EQ(recv_block(p, 3), (Range{Space::recv, 0, 30, 10}));
  p.in_place = true;
  EXPECT_EQ(operand(p, 2, 3, 4), (Range{Space::recv, 0, 23, 4}));
  p.coll = Coll::allreduce;
  EXPECT_EQ(operand(p, 2, 3, 4), (Range{Space::recv, 0, 3, 4}));
  p.coll = Coll::scatter;
  EXPECT_EQ(send_block(p, 2), (Range{Space::send, 0, 20, 10}));
  EXPECT_EQ(recv_block(p, 2), (Range{Space::recv, 0, 0, 10}));
  p.coll = Coll::alltoall;
  EXPECT_EQ(send_block(p, 2), (Range{Space::recv, 0, 20, 10}));
  p = problem(Coll::allgatherv, 3, 0);
  p.counts = {5, 0, 7};
  EXPECT_EQ(recv_block(p, 2), (Range{Space::recv_block, 2, 0, 7}));
  EXPECT_EQ(send_block(p, 2), (Range{Space::send, 0, 0, 7}));
  p.coll = Coll::reduce_scatter;
  EXPECT_EQ(send_block(p, 2), (Range{Space::send, 0, 5, 7}));
  EXPECT_EQ(recv_block(p, 2), (Range{Space::recv, 0, 0, 7}));
  p = problem(Coll::alltoallv, 3, 0);
  EXPECT_EQ(send_block(p, 1), (Range{Space::send_block, 1, 0, sched::whole_block}));
  EXPECT_EQ(recv_block(p, 1), (Range{Space::recv_block, 1, 0, sched::whole_block}));
}

Problem on_hosts(Coll coll, std::int64_t count) {
  Problem p = test::flat_problem(coll, 12, count);
  test::set_levels(p, {{Level::numa, {{0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}, {10, 11}}},
                       {Level::host, {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}}},
                       {Level::group, {{0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11}}}});
  return p;
}

TEST(Catalogue, RefusalsNameThePart) {
  const std::pair<Recipe, const char*> cases[] = {
      {{"quick"}, "allgather has no algorithm \"quick\"; there are: recursive_doubling, bruck, ring, circulant"},
      {{"ring", {Level::l3}}, "there is no level l3 here"},
      {{"ring", {Level::host, Level::numa}}, "numa is not wider than host"},
      {{"ring", {Level::host, Level::host}}, "host is not wider than host"},
      {{"ring", {Level::host}, -1}, "slices is -1"},
      {{"ring", {Level::host}, 2}, "slices must be 1 or all"},
      {{"ring", {}, all_slices}, "slices need a level to compose over"},
      {{"ring", {}, 1, -4}, "chunk is -4"},
      {{"ring", {}, 1, 4}, "an allgather is not cut into chunks"},
      {{"ring", {}, 1, 0, 1}, "radix is 1"},
      {{"ring", {}, 1, 0, 4}, "ring is no tree: it has no radix"},
      {{"recursive_doubling"}, "needs a power of two of ranks; there are 12"},
      {{"recursive_doubling", {Level::host}}, "needs a power of two of groups; there are 3"},
  };
  const Problem p = on_hosts(Coll::allgather, 5);
  for (const auto& [recipe, why] : cases) EXPECT_THAT(refuses(p, recipe), testing::HasSubstr(why));
  EXPECT_EQ(refuses(p, {"ring", {Level::numa, Level::host, Level::group}, all_slices}), "");
  EXPECT_EQ(refuses(on_hosts(Coll::gather, 5), {"k_nomial", {Level::host}, 1, 0, 8}), "");
}

TEST(Catalogue, EveryAlgorithmSaysWhatItIs) {
  for (int c = 0; c < detail::coll_count; ++c) {
    std::set<std::string> names;
    for (const Entry& e : collective(static_cast<Coll>(c)).algorithms) {
      EXPECT_TRUE(names.insert(e.name).second) << e.name;
      EXPECT_TRUE(parse_recipe(e.name)) << e.name;
      EXPECT_NE(std::string(e.idea), "");
      EXPECT_NE(std::string(e.source), "");
    }
    EXPECT_FALSE(names.empty());
  }
}

TEST(Catalogue, CandidatesAreFewDistinctAndUsable) {
  for (int c = 0; c < detail::coll_count; ++c)
    for (const std::int64_t count : {0, 1, 1 << 22}) {
      const Problem p = on_hosts(static_cast<Coll>(c), count);
      const auto recipes = candidates(p);
      ASSERT_FALSE(recipes.empty());
      EXPECT_LE(recipes.size(), 40u);
      EXPECT_TRUE(recipes[0].over.empty());  // flat is always among them, and first
      std::set<std::string> texts;
      for (const Recipe& r : recipes) {
        EXPECT_EQ(refuses(p, r), "") << to_text(r);
        EXPECT_TRUE(texts.insert(to_text(r)).second) << to_text(r);
        EXPECT_EQ(*parse_recipe(to_text(r)), r);
      }
      EXPECT_EQ(candidates(p), recipes);
    }
}

TEST(Catalogue, CandidatesCoverLevelsSlicesAndRadixes) {
  std::set<std::string> texts;
  for (const Recipe& r : candidates(on_hosts(Coll::allgather, 5))) texts.insert(to_text(r));
  for (const char* text : {"ring", "host/ring", "host/ring:slices=all", "numa,host/bruck", "host,group/bruck", "numa/ring", "group/ring"})
    EXPECT_TRUE(texts.contains(text)) << text;
  texts.clear();
  for (const Recipe& r : candidates(on_hosts(Coll::scatter, 5))) texts.insert(to_text(r));
  for (const char* text : {"k_nomial", "k_nomial:radix=4", "k_nomial:radix=8", "host/k_nomial", "host/linear", "numa,host/k_nomial"})
    EXPECT_TRUE(texts.contains(text)) << text;
}

// On one host nothing happens between the groups, so that one name is enough.
TEST(Catalogue, OneGroupNeedsOneAlgorithm) {
  Problem p = test::flat_problem(Coll::allgather, 4, 5);
  test::set_hosts(p, 1, 4);
  int composed = 0;
  for (const Recipe& r : candidates(p)) composed += !r.over.empty() && r.slices == 1;
  EXPECT_EQ(composed, 1);
}

}  // namespace
}  // namespace libcoll::algo
