#include "libcoll/core/plan_cache.hpp"

#include <gtest/gtest.h>

#include <random>

namespace libcoll::detail {
namespace {

void run_nothing(xport::shm::Group&, const Args&, const Plan&) {}

Plan plan_of(const Call& call, std::uint64_t bytes = 0) { return {.call = call, .run = run_nothing, .bytes = bytes}; }

TEST(PlanCache, FindsWhatWasInsertedAndNothingElse) {
  PlanCache cache;
  const Call call{.coll = Coll::allreduce, .dtype = DType::f64, .op = Op::sum, .count = 5, .element_bytes = 8};
  EXPECT_EQ(cache.find(call), nullptr);
  EXPECT_EQ(cache.find(Call{}), nullptr) << "an empty cache holds the default call";
  cache.insert(plan_of(call, 40));
  ASSERT_NE(cache.find(call), nullptr);
  EXPECT_EQ(cache.find(call)->bytes, 40u);
}

// Every field takes part in the comparison; the size of elements where it does not follow from the type.
TEST(PlanCache, DistinguishesEveryField) {
  const Call base{.coll = Coll::reduce, .dtype = DType::byte, .op = Op::custom, .root = 1, .count = 7, .element_bytes = 4};
  std::vector<Call> others(11, base);
  others[0].coll = Coll::allreduce;
  others[1].dtype = DType::i32;
  others[2].op = Op::max;
  others[3].algorithm = Algorithm::sliced;
  others[4].root = 2;
  others[5].count = 8;
  others[6].element_bytes = 8;
  others[7].in_place = 1;
  others[8].determinism = 1;
  others[9].recipe = 1;
  others[10].commutative = 1;
  for (const Call& other : others) {
    PlanCache cache;
    cache.insert(plan_of(base));
    EXPECT_EQ(cache.find(other), nullptr) << to_text(other);
    EXPECT_NE(cache.find(base), nullptr);
  }
}

TEST(PlanCache, ALaterPlanReplacesAnEarlierOne) {
  PlanCache cache;
  std::mt19937_64 random(1);
  std::vector<Call> calls;
  for (int i = 0; i < 5000; ++i) {
    calls.push_back({.coll = static_cast<Coll>(random() % coll_count), .dtype = static_cast<DType>(random() % dtype_count),
                     .root = static_cast<std::uint32_t>(random() % 8), .count = static_cast<std::int64_t>(random() % 100000), .element_bytes = 8});
    cache.insert(plan_of(calls.back(), static_cast<std::uint64_t>(i)));
    ASSERT_NE(cache.find(calls.back()), nullptr);
  }
  int kept = 0;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Plan* p = cache.find(calls[i]);
    if (p == nullptr) continue;
    EXPECT_EQ(p->call, calls[i]);
    ++kept;
  }
  EXPECT_GE(kept, 32) << "most of the 64 places should be in use: the hash must spread";
}

// A program that calls a few dozen sizes in turn should not thrash.
TEST(PlanCache, SpreadsPowersOfTwo) {
  PlanCache cache;
  for (int shift = 0; shift < 24; ++shift)
    cache.insert(plan_of({.coll = Coll::allreduce, .dtype = DType::f64, .count = std::int64_t{1} << shift, .element_bytes = 8}));
  int kept = 0;
  for (int shift = 0; shift < 24; ++shift)
    kept += cache.find({.coll = Coll::allreduce, .dtype = DType::f64, .count = std::int64_t{1} << shift, .element_bytes = 8}) != nullptr ? 1 : 0;
  EXPECT_GE(kept, 14);
}

TEST(Call, TextNamesEverythingThatRanksCompare) {
  const Call call{.coll = Coll::bcast, .dtype = DType::bf16, .op = Op::max, .algorithm = Algorithm::direct, .root = 3, .count = 17};
  const std::string text = to_text(call);
  for (const char* word : {"bcast", "bf16", "max", "direct", "3", "17"}) EXPECT_NE(text.find(word), std::string::npos) << text;
  EXPECT_STREQ(name_of(static_cast<Coll>(99)), "unknown collective");
}

TEST(Types, NamesAndSizes) {
  for (int t = 0; t < dtype_count; ++t) {
    EXPECT_GT(libcoll::size_of(static_cast<DType>(t)), 0u);
    EXPECT_STRNE(libcoll::name_of(static_cast<DType>(t)), "unknown type");
  }
  EXPECT_EQ(libcoll::size_of(static_cast<DType>(dtype_count)), 0u);
  EXPECT_EQ(libcoll::size_of(DType::f64_i32), sizeof(Pair_f64_i32));
  EXPECT_STREQ(libcoll::name_of(static_cast<DType>(200)), "unknown type");
  EXPECT_STREQ(libcoll::name_of(static_cast<Op>(200)), "unknown operation");
  EXPECT_STREQ(libcoll::name_of(static_cast<Level>(200)), "unknown level");
  EXPECT_STREQ(libcoll::name_of(static_cast<Errc>(200)), "unknown error");
  EXPECT_FALSE(is_defined(Op::sum, static_cast<DType>(200)));
  EXPECT_FALSE(is_defined(static_cast<Op>(200), DType::f64));
  EXPECT_EQ(dtype_of<long>(), DType::i64);
  EXPECT_EQ(dtype_of<const unsigned char>(), DType::u8);
}

}  // namespace
}  // namespace libcoll::detail
