// Includes point downwards only (docs/architecture.md), and no file is too long to read.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> sources_in(const std::string& folder) {
  std::vector<fs::path> out;
  for (const auto& e : fs::recursive_directory_iterator(fs::path(LIBCOLL_SOURCE_DIR) / folder)) {
    const std::string extension = e.path().extension();
    if (e.is_regular_file() && (extension == ".cpp" || extension == ".hpp" || extension == ".h" || extension == ".c")) out.push_back(e.path());
  }
  return out;
}

// The quoted includes of a file.
std::vector<std::string> includes_of(const fs::path& file) {
  std::vector<std::string> out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const auto at = line.find_first_not_of(' ');
    if (at == std::string::npos || line.compare(at, 8, "#include") != 0) continue;
    const auto open = line.find('"'), close = line.rfind('"');
    if (open != close) out.push_back(line.substr(open + 1, close - open - 1));
  }
  return out;
}

struct Rule {
  const char* folder;
  std::set<std::string> forbidden;  // prefixes
  std::set<std::string> allowed;    // although forbidden by prefix
};

TEST(Layering, IncludesPointDown) {
  const Rule rules[] = {
      {"topology", {"libcoll/core/", "transports/", "libcoll/kernels/", "libcoll/bootstrap/"}, {"libcoll/core/result.hpp", "libcoll/core/log.hpp"}},
      {"libcoll/kernels", {"libcoll/core/", "transports/", "topology/", "libcoll/bootstrap/"}, {}},
      {"libcoll/schedule", {"libcoll/core/", "libcoll/algorithms/", "transports/", "topology/", "libcoll/kernels/", "libcoll/bootstrap/"},
       {"libcoll/core/call.hpp", "libcoll/core/result.hpp"}},
      {"libcoll/algorithms", {"libcoll/core/", "transports/", "topology/", "libcoll/kernels/", "libcoll/bootstrap/"}, {"libcoll/core/call.hpp", "libcoll/core/result.hpp"}},
      {"libcoll/bootstrap", {"libcoll/core/", "transports/", "topology/", "libcoll/kernels/"}, {"libcoll/core/result.hpp", "libcoll/core/log.hpp"}},
      {"transports", {"libcoll/core/", "topology/"},
       {"libcoll/core/call.hpp", "libcoll/core/plan.hpp", "libcoll/core/result.hpp", "libcoll/core/log.hpp"}},
      {"transports/ucx", {"libcoll/core/", "topology/", "libcoll/kernels/", "libcoll/schedule/", "transports/shm/"}, {"libcoll/core/result.hpp", "libcoll/core/log.hpp"}},
      {"transports/nccl", {"libcoll/core/", "topology/", "libcoll/kernels/", "libcoll/schedule/", "transports/shm/", "transports/ucx/"}, {"libcoll/core/result.hpp", "libcoll/core/log.hpp"}},
      {"libcoll/include", {"libcoll/core/", "libcoll/kernels/", "libcoll/bootstrap/", "transports/", "topology/"}, {}},
      {"integrations", {"libcoll/core/", "libcoll/algorithms/", "libcoll/bootstrap/", "libcoll/execution/", "libcoll/kernels/", "libcoll/planning/", "libcoll/schedule/", "transports/",
                        "topology/", "tests/", "benchmarks/"}, {}},
      {"integrations/arena", {"libcoll/", "transports/", "topology/", "integrations/pmpi/"}, {}},
      {"examples", {"libcoll/core/", "libcoll/kernels/", "transports/", "topology/", "tests/"}, {}},
  };
  for (const Rule& rule : rules) {
    const auto files = sources_in(rule.folder);
    EXPECT_FALSE(files.empty()) << rule.folder;
    for (const fs::path& file : files) {
      for (const std::string& include : includes_of(file)) {
        const bool bad = std::any_of(rule.forbidden.begin(), rule.forbidden.end(), [&](const auto& p) { return include.starts_with(p); });
        EXPECT_TRUE(!bad || rule.allowed.contains(include)) << file << " includes " << include;
      }
    }
  }
}

TEST(Layering, TheLibraryKnowsNoTestsNorBenchmarks) {
  for (const char* folder : {"libcoll", "topology", "transports"})
    for (const fs::path& file : sources_in(folder))
      for (const std::string& include : includes_of(file))
        EXPECT_FALSE(include.starts_with("tests/") || include.starts_with("benchmarks/") || include.starts_with("integrations/")) << file << " includes " << include;
}

TEST(Layering, EveryHeaderIsIncludedOnce) {
  for (const char* folder : {"libcoll", "topology", "transports", "integrations", "tests"})
    for (const fs::path& file : sources_in(folder)) {
      if (file.extension() != ".hpp") continue;
      std::ifstream in(file);
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      EXPECT_NE(text.find("#pragma once"), std::string::npos) << file;
    }
}

TEST(Layering, FilesStayReadable) {
  for (const char* folder : {"libcoll", "topology", "transports", "examples", "benchmarks", "integrations", "tests"})
    for (const fs::path& file : sources_in(folder)) {
      std::ifstream in(file);
      const auto lines = std::count(std::istreambuf_iterator<char>(in), {}, '\n');
      EXPECT_LE(lines, 400) << file;
    }
}

}  // namespace
