#include "libcoll/algorithms/recipe.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace libcoll::algo {
namespace {

using testing::HasSubstr;

TEST(Recipe, TextThereAndBack) {
  for (const char* text : {"ring", "host/recursive_doubling", "numa,host/rabenseifner:slices=all,chunk=65536", "k_nomial:radix=4",
                           "core,l3,numa,package,host/ring:slices=3,chunk=1,radix=8", "package,numa/ring"}) {
    const auto r = parse_recipe(text);
    ASSERT_TRUE(r) << r.error().text;
    EXPECT_EQ(to_text(*r), text);
    EXPECT_EQ(*parse_recipe(to_text(*r)), *r);
  }
}

TEST(Recipe, EveryPartArrives) {
  const auto r = parse_recipe("numa,host/rabenseifner:radix=4,chunk=65536,slices=all");
  ASSERT_TRUE(r);
  EXPECT_EQ(*r, (Recipe{"rabenseifner", {Level::numa, Level::host}, all_slices, 65536, 4}));
  EXPECT_EQ(to_text(*r), "numa,host/rabenseifner:slices=all,chunk=65536,radix=4");
  EXPECT_EQ(*parse_recipe("ring:slices=1,radix=2"), (Recipe{"ring", {}, 1, 0, 2}));
  EXPECT_EQ(to_text(Recipe{"ring", {}, 1, 0, 2}), "ring");
}

TEST(Recipe, ErrorsNameThePart) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "no algorithm"},
      {"host/", "no algorithm"},
      {":chunk=1", "no algorithm"},
      {"/ring", "no level before the slash"},
      {"hos/ring", "unknown level \"hos\""},
      {"host,/ring", "unknown level \"\""},
      {",host/ring", "unknown level \"\""},
      {"world/ring", "leave it out"},
      {"host,numa,host/ring", "level host is named twice"},
      {"host/numa/ring", "\"numa/ring\" is not an algorithm's name"},
      {"Ring", "\"Ring\" is not an algorithm's name"},
      {"ri ng", "is not an algorithm's name"},
      {"ring:", "nothing after the colon"},
      {"ring:chunk", "\"chunk\" is not of the form key=value"},
      {"ring:chunk=4,", "\"\" is not of the form key=value"},
      {"ring:colour=4", "unknown key \"colour\""},
      {"ring:chunk=", "chunk is \"\", which is not a number"},
      {"ring:chunk=4k", "chunk is \"4k\", which is not a number"},
      {"ring:chunk=99999999999999999999", "which is not a number"},
      {"ring:chunk=0", "chunk is 0"},
      {"ring:chunk=-1", "chunk is -1"},
      {"ring:chunk=all", "which is not a number"},
      {"ring:slices=some", "slices is \"some\", which is not a number nor \"all\""},
      {"ring:slices=0", "slices is 0"},
      {"ring:slices=4294967297", "slices is 4294967297"},
      {"ring:radix=1", "radix is 1"},
      {"ring:radix=4294967298", "radix is 4294967298"},
      {"ring:radix=2,chunk=3,radix=2", "radix is given twice"},
  };
  for (const auto& [text, error] : cases) {
    const auto r = parse_recipe(text);
    ASSERT_FALSE(r) << text;
    EXPECT_EQ(r.error().code, Errc::invalid_argument);
    EXPECT_THAT(r.error().text, HasSubstr(error));
    EXPECT_THAT(r.error().text, HasSubstr(std::string("recipe \"") + text + "\""));
  }
}

}  // namespace
}  // namespace libcoll::algo
