#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "libcoll/config.hpp"
#include "libcoll/error.hpp"

namespace libcoll {
namespace {

// Sets a variable for the time of a test.
class Variable {
 public:
  Variable(std::string name, const char* value) : name_(std::move(name)) { setenv(name_.c_str(), value, 1); }
  ~Variable() { unsetenv(name_.c_str()); }

 private:
  std::string name_;
};

TEST(Config, ReadsEveryVariable) {
  const Variable variables[] = {{"LIBCOLL_CALL_TIMEOUT", "2.5"}, {"LIBCOLL_ARENA_BYTES", "512M"}, {"LIBCOLL_SPIN_US", "0"},
                                {"LIBCOLL_YIELD_US", "7"},       {"LIBCOLL_SINGLE_COPY", "on"},   {"LIBCOLL_FD_PASSING", "socket"},
                                {"LIBCOLL_CALIBRATE", "off"},    {"LIBCOLL_CHECK", "1"},          {"LIBCOLL_HIERARCHY", "/a/file"},
                                {"LIBCOLL_TOPOLOGY", "/b/file"}};
  const Config c = Config::from_environment();
  EXPECT_EQ(c.timeout_s, 2.5);
  EXPECT_EQ(c.arena_bytes, std::uint64_t{512} << 20);
  EXPECT_EQ(c.spin_us, 0);
  EXPECT_EQ(c.yield_us, 7);
  EXPECT_EQ(c.single_copy, "on");
  EXPECT_EQ(c.fd_passing, "socket");
  EXPECT_FALSE(c.calibrate);
  EXPECT_TRUE(c.check);
  EXPECT_EQ(c.hierarchy_file, "/a/file");
  EXPECT_EQ(c.topology_file, "/b/file");
}

TEST(Config, EmptyMeansUnset) {
  for (const char* name : {"LIBCOLL_CALL_TIMEOUT", "LIBCOLL_ARENA_BYTES", "LIBCOLL_SPIN_US", "LIBCOLL_SINGLE_COPY", "LIBCOLL_CHECK"}) {
    const Variable v(name, "");
    EXPECT_NO_THROW(Config::from_environment()) << name;
  }
  EXPECT_EQ(Config::from_environment().timeout_s, Config{}.timeout_s);
}

TEST(Config, Suffixes) {
  for (const auto& [text, bytes] : {std::pair<const char*, std::uint64_t>{"1", 1}, {"3K", 3 << 10}, {"3k", 3 << 10}, {"2m", 2 << 20},
                                    {"1G", 1 << 30}, {"0", 0}, {"17179869183G", std::uint64_t{17179869183} << 30}}) {
    const Variable v("LIBCOLL_ARENA_BYTES", text);
    EXPECT_EQ(Config::from_environment().arena_bytes, bytes) << text;
  }
}

TEST(Config, RefusesMalformedValuesByNameAndValue) {
  const std::pair<const char*, const char*> table[] = {
      {"LIBCOLL_CALL_TIMEOUT", "0"}, {"LIBCOLL_CALL_TIMEOUT", "-1"}, {"LIBCOLL_CALL_TIMEOUT", "soon"}, {"LIBCOLL_CALL_TIMEOUT", "1s"},
      {"LIBCOLL_CALL_TIMEOUT", "nan"}, {"LIBCOLL_CALL_TIMEOUT", "inf"}, {"LIBCOLL_CALL_TIMEOUT", "1e999"}, {"LIBCOLL_CALL_TIMEOUT", " "},
      {"LIBCOLL_ARENA_BYTES", "-1"}, {"LIBCOLL_ARENA_BYTES", "1T"}, {"LIBCOLL_ARENA_BYTES", "K"}, {"LIBCOLL_ARENA_BYTES", "1KB"},
      {"LIBCOLL_ARENA_BYTES", "1.5G"}, {"LIBCOLL_ARENA_BYTES", "0x10"}, {"LIBCOLL_ARENA_BYTES", "17179869184G"},
      {"LIBCOLL_ARENA_BYTES", "18446744073709551616"}, {"LIBCOLL_ARENA_BYTES", " 1"}, {"LIBCOLL_ARENA_BYTES", "1 "},
      {"LIBCOLL_SPIN_US", "-2"}, {"LIBCOLL_SPIN_US", "-0.5"}, {"LIBCOLL_SPIN_US", "x"}, {"LIBCOLL_SPIN_US", "1,5"}, {"LIBCOLL_YIELD_US", "-3"},
      {"LIBCOLL_YIELD_US", "nan"}, {"LIBCOLL_SINGLE_COPY", "ON"}, {"LIBCOLL_SINGLE_COPY", "yes"}, {"LIBCOLL_SINGLE_COPY", "on "},
      {"LIBCOLL_FD_PASSING", "pigeon"}, {"LIBCOLL_CALIBRATE", "true"}, {"LIBCOLL_CALIBRATE", "2"}, {"LIBCOLL_CHECK", "maybe"}};
  for (const auto& [name, value] : table) {
    const Variable v(name, value);
    try {
      (void)Config::from_environment();
      ADD_FAILURE() << name << "=" << value << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Errc::invalid_argument);
      EXPECT_NE(std::string(e.what()).find(std::string(name) + "=" + value), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace libcoll
