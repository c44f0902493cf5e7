#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "libcoll/bootstrap.hpp"
#include "libcoll/error.hpp"

namespace libcoll {
namespace {

Errc code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return Errc::ok;
}

TEST(Callback, IsCalledThrough) {
  auto b = bootstrap_from_callback(1, 2, [](const void* send, void* recv, std::size_t bytes) {
    std::memset(recv, 'a', bytes);
    std::memcpy(static_cast<char*>(recv) + bytes, send, bytes);
  });
  EXPECT_EQ(b->rank(), 1);
  EXPECT_EQ(b->size(), 2);
  char all[7] = {};
  b->allgather("xyz", all, 3);
  EXPECT_STREQ(all, "aaaxyz");
}

TEST(Callback, RankAndSizeAreChecked) {
  const auto noop = [](const void*, void*, std::size_t) {};
  for (const auto& [rank, size] : {std::pair{0, 0}, {0, -1}, {-1, 2}, {2, 2}, {7, 2}}) {
    EXPECT_EQ(code_of([&, r = rank, s = size] { bootstrap_from_callback(r, s, noop); }),
              Errc::invalid_argument)
        << rank << " of " << size;
  }
  EXPECT_EQ(code_of([] { bootstrap_from_callback(0, 1, nullptr); }), Errc::invalid_argument);
}

TEST(Callback, ExceptionsBecomeErrors) {
  const auto throwing = [](auto what) {
    return bootstrap_from_callback(0, 1, [=](const void*, void*, std::size_t) { throw what; });
  };
  try {
    throwing(std::runtime_error("the host program's text"))->allgather(nullptr, nullptr, 0);
    FAIL() << "did not throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Errc::bootstrap);
    EXPECT_THAT(e.what(), testing::HasSubstr("the host program's text"));
  }
  EXPECT_EQ(code_of([&] { throwing(42)->allgather(nullptr, nullptr, 0); }), Errc::bootstrap);
  EXPECT_EQ(code_of([&] { throwing(Error(Errc::timeout, "late"))->allgather(nullptr, nullptr, 0); }),
            Errc::timeout);
}

TEST(Environment, AProcessAloneIsAJobOfOne) {
  auto b = bootstrap_from_environment();
  int mine = 42, all = 0;
  b->allgather(&mine, &all, sizeof mine);
  EXPECT_EQ(b->size(), 1);
  EXPECT_EQ(all, 42);
}

}  // namespace
}  // namespace libcoll
