#include <gtest/gtest.h>

#include "transports/ucx/ucx_messenger.hpp"

namespace libcoll::test {
namespace {

TEST(UcxAbsent, SaysWhyThereIsNoNetwork) {
  EXPECT_FALSE(xport::ucx_available());
  const auto bootstrap = bootstrap_from_callback(0, 1, [](const void*, void*, std::size_t) {});
  const auto made = xport::create_ucx_messenger(*bootstrap, {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::unsupported);
  EXPECT_NE(made.error().text.find("LIBCOLL_WITH_UCX"), std::string::npos) << made.error().text;
}

}  // namespace
}  // namespace libcoll::test
