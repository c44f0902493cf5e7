#include "topology/cpuset.hpp"

#include <gtest/gtest.h>

#include "support.hpp"

namespace libcoll::topo {
namespace {

TEST(CpuSet, ListsRoundTrip) {
  for (const char* text : {"", "0", "0-3,8", "5,7,9", "63-65", "1023-1030,65535"}) {
    const auto s = CpuSet::from_list(text);
    ASSERT_TRUE(s) << text;
    EXPECT_EQ(*CpuSet::from_list(s->to_list()), *s);
  }
  EXPECT_EQ(cpus("0-3,8").to_list(), "0-3,8");
  EXPECT_EQ(cpus("4,0,1,2").to_list(), "0-2,4");
  EXPECT_EQ(cpus("0,1").to_list(), "0,1");
}

TEST(CpuSet, RefusesWhatIsNoList) {
  for (const char* text :
       {"-", "a", "1-", "3-1", "1,,2", "1,", "65536", "99999999999999", "1 ", "0x3", "-1", "1-2-3"})
    EXPECT_FALSE(CpuSet::from_list(text)) << text;
}

TEST(CpuSet, Algebra) {
  CpuSet a = cpus("0-63,100");
  EXPECT_EQ(a.count(), 65);
  EXPECT_EQ(a.first(), 0);
  EXPECT_TRUE(a.includes(cpus("5,100")));
  EXPECT_FALSE(a.includes(cpus("5,101")));
  EXPECT_TRUE(a.includes(CpuSet{}));
  EXPECT_FALSE(a.intersects(cpus("64-99")));
  a &= cpus("0-7");
  EXPECT_EQ(a, cpus("0-7"));  // no trace of the longer set is left
  a -= cpus("0-6");
  EXPECT_EQ(a, cpus("7"));
  a |= cpus("200");
  EXPECT_EQ(a.to_list(), "7,200");
  EXPECT_EQ(CpuSet{}.first(), -1);
}

TEST(CpuSet, PackingIsExactUpTo32Ranges) {
  CpuSet s;
  for (int i = 0; i < 32; ++i) s.add(i * 100);
  EXPECT_EQ(unpack(pack(s)), s);
  EXPECT_EQ(pack(s).exact, 1u);
  s.add(3300);
  s.add(1);
  const PackedCpus p = pack(s);
  EXPECT_EQ(p.exact, 0u);
  EXPECT_TRUE(unpack(p).includes(s));
  EXPECT_EQ(unpack(pack(CpuSet::range(0, CpuSet::max_cpus - 1))), CpuSet::range(0, CpuSet::max_cpus - 1));
  EXPECT_TRUE(unpack(pack(CpuSet{})).empty());
}

TEST(CpuSet, UnpackingHostileBytesIsBounded) {
  PackedCpus p{};
  p.ranges = 0xffffffff;
  for (int i = 0; i < PackedCpus::max_ranges; ++i) p.first[i] = 65535, p.last[i] = 0;
  EXPECT_TRUE(unpack(p).empty());
}

}  // namespace
}  // namespace libcoll::topo
