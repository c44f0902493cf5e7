#include "libcoll/core/plan_cache.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "libcoll/execution/program.hpp"

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

Call sized(std::int64_t count) { return {.coll = Coll::allreduce, .dtype = DType::f64, .count = count, .element_bytes = 8}; }

TEST(PlanCache, KeepsAsManyAsItHasPlacesForAndTheLatest) {
  PlanCache cache;
  std::mt19937_64 random(1);
  std::vector<Call> calls;
  for (int i = 0; i < 5000; ++i) {
    calls.push_back({.coll = static_cast<Coll>(random() % coll_count), .dtype = static_cast<DType>(random() % dtype_count),
                     .root = static_cast<std::uint32_t>(random() % 8), .count = static_cast<std::int64_t>(random() % 100000), .element_bytes = 8});
    cache.insert(plan_of(calls.back(), static_cast<std::uint64_t>(i)));
    ASSERT_NE(cache.find_quickly(calls.back()), nullptr);
  }
  int kept = 0;
  for (const Call& call : calls) {
    const Plan* p = cache.find(call);
    if (p == nullptr) continue;
    EXPECT_EQ(p->call, call);
    ++kept;
  }
  EXPECT_EQ(kept, 128) << "all places should be in use: the hash must spread";
}

// A program that calls a few dozen sizes in turn should not thrash, nor one whose calls meet in one set.
TEST(PlanCache, SpreadsPowersOfTwo) {
  PlanCache cache;
  for (int shift = 0; shift < 24; ++shift) cache.insert(plan_of(sized(std::int64_t{1} << shift)));
  for (int shift = 0; shift < 24; ++shift) EXPECT_NE(cache.find(sized(std::int64_t{1} << shift)), nullptr) << shift;
}

// By turns, as a barrier between calls: no two of any pair drive each other out, and what is found is quick to find again.
TEST(PlanCache, NoTwoCallsDriveEachOtherOut) {
  const Call barrier{.coll = Coll::barrier};
  for (std::int64_t count = 1; count < 3000; ++count) {
    PlanCache cache;
    cache.insert(plan_of(barrier));
    cache.insert(plan_of(sized(count)));
    ASSERT_NE(cache.find(barrier), nullptr) << count;
    ASSERT_NE(cache.find_quickly(barrier), nullptr) << count;
    ASSERT_NE(cache.find(sized(count)), nullptr) << count;
    ASSERT_NE(cache.find_quickly(sized(count)), nullptr) << count;
  }
}

// However plans move within their set, a program lives as long as its plan, and no longer.
TEST(PlanTable, ProgramsGoWithTheirPlans) {
  PlanTable<1> table;
  std::mt19937_64 random(1);
  std::vector<std::weak_ptr<exec::Program>> programs;
  const auto check = [&](std::int64_t made) {
    const Plan* p = table.find(sized(made));
    const auto program = programs[static_cast<std::size_t>(made)].lock();
    ASSERT_EQ(p == nullptr ? nullptr : p->program, program.get());
  };
  for (std::int64_t count = 0; count < 300; ++count) {
    const auto program = count % 3 == 0 ? nullptr : std::make_shared<exec::Program>();
    Plan plan = plan_of(sized(count));
    plan.program = program.get();
    programs.emplace_back(program);
    table.insert(plan, program);
    if (random() % 4 == 0) table.insert(plan, program);  // made again
    for (int k = 0; k < 5; ++k) check(static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(count + 1)));
  }
  int kept = 0;
  for (std::int64_t count = 0; count < 300; ++count) kept += table.find(sized(count)) != nullptr ? 1 : 0;
  EXPECT_EQ(kept, 8);
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
