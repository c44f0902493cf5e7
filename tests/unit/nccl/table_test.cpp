// Loading of the tables: what is absent, what is incomplete, what is too old, and what it says then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "transports/nccl/nccl_table.hpp"

namespace libcoll {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An environment variable for as long as it lives.
struct Variable {
  Variable(const char* n, const std::string& value) : name(n) { setenv(n, value.c_str(), 1); }
  ~Variable() { unsetenv(name); }
  const char* name;
};
std::string library(const char* name) { return std::string(LIBCOLL_FAKE_LIBRARIES) + "/" + name; }

TEST(NcclTable, AbsentLibraryIsNamed) {
  const Variable v("LIBCOLL_NCCL_LIBRARY", "/nowhere/libnccl.so.2");
  const auto t = nccl::load_nccl();
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().code, Errc::unsupported);
  EXPECT_THAT(t.error().text, HasSubstr("LIBCOLL_NCCL_LIBRARY: /nowhere/libnccl.so.2"));
}

TEST(NcclTable, MissingOptionalSymbolsAreVisible) {
  const Variable v("LIBCOLL_NCCL_LIBRARY", library("libfake_nccl.so"));
  const auto t = nccl::load_nccl();
  ASSERT_TRUE(t) << t.error().text;
  EXPECT_EQ(t->version, 21805);
  EXPECT_THAT(t->origin, HasSubstr("libfake_nccl.so, NCCL 2.18.5"));
  EXPECT_FALSE(t->is_fake());
  EXPECT_THAT(t->missing, ElementsAre("ncclMemAlloc", "ncclMemFree", "ncclCommDeregister"));
  EXPECT_EQ(t->mem_alloc, nullptr);
  EXPECT_NE(t->comm_register, nullptr);
  EXPECT_NE(t->all_reduce, nullptr);
  EXPECT_EQ(t->group_start(), static_cast<nccl::Code>(3));  // the function of the library
}

TEST(NcclTable, MissingRequiredSymbolIsNamed) {
  const Variable v("LIBCOLL_NCCL_LIBRARY", library("libfake_nccl_old.so"));
  const auto t = nccl::load_nccl();
  ASSERT_FALSE(t);
  EXPECT_THAT(t.error().text, HasSubstr("libfake_nccl_old.so: lacks ncclSend"));
}

TEST(CudaTable, AbsentLibraryIsNamed) {
  const Variable v("LIBCOLL_CUDA_LIBRARY", "/nowhere/libcudart.so.12");
  const auto t = cuda::load_cuda();
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().code, Errc::unsupported);
  EXPECT_THAT(t.error().text, HasSubstr("LIBCOLL_CUDA_LIBRARY: /nowhere/libcudart.so.12"));
}

// Whatever this machine has: a table, or a reason for each name.
TEST(CudaTable, WithoutAVariable) {
  const auto t = cuda::load_cuda();
  if (t) EXPECT_GT(t->runtime_version, 0);
  else EXPECT_THAT(t.error().text, HasSubstr("libcudart.so.12"));
}

TEST(CudaTable, LoadsAndSaysWhatIsMissing) {
  const Variable v("LIBCOLL_CUDA_LIBRARY", library("libfake_cudart.so"));
  const auto t = cuda::load_cuda();
  ASSERT_TRUE(t) << t.error().text;
  EXPECT_EQ(t->runtime_version, 12040);
  EXPECT_EQ(t->driver_version, 12020);  // older, of the same major version: works
  EXPECT_THAT(t->missing, ElementsAre("cudaStreamGetDevice"));
  EXPECT_THAT(t->origin, HasSubstr("CUDA 12.4"));
}

TEST(CudaTable, DriverTooOldOrAbsent) {
  {
    const Variable v("LIBCOLL_CUDA_LIBRARY", library("libfake_cudart_new.so"));
    const auto t = cuda::load_cuda();
    ASSERT_FALSE(t);
    EXPECT_THAT(t.error().text, HasSubstr("the driver is for CUDA 12.2, too old for 13.0"));
  }
  const Variable v("LIBCOLL_CUDA_LIBRARY", library("libfake_cudart_driverless.so"));
  const auto t = cuda::load_cuda();
  ASSERT_FALSE(t);
  EXPECT_THAT(t.error().text, HasSubstr("no CUDA driver"));
}

}  // namespace
}  // namespace libcoll
