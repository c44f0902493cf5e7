// Every type and operation on every target against the serial reference, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "tests/unit/kernels/support.hpp"

namespace libcoll::test {
namespace {

constexpr std::size_t max_count = 4097;
constexpr std::size_t counts[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 1000, max_count};

TEST(FindReduce, NullExactlyWhereUndefined) {
  for (int t = 0; t <= dtype_count; ++t)
    for (int o = 0; o < op_count; ++o) {
      const auto dtype = static_cast<DType>(t);
      const auto op = static_cast<Op>(o);
      for (const auto target : runnable_targets())
        EXPECT_EQ(find_reduce_on(target, dtype, op) != nullptr, is_defined(op, dtype))
            << to_string({dtype, op});
      EXPECT_EQ(kernels::find_reduce_small(dtype, op) != nullptr, is_defined(op, dtype))
          << to_string({dtype, op});
    }
  EXPECT_EQ(kernels::find_reduce(DType::f32, Op::custom), nullptr);
  EXPECT_EQ(kernels::find_reduce_small(DType::f32, Op::custom), nullptr);
}

TEST(FindReduce, SeveralTargetsRunHere) {
  std::string names;
  for (const auto target : runnable_targets()) names += target_name(target) + " ";
  RecordProperty("targets", names);
  std::printf("targets: %s\n", names.c_str());
  EXPECT_GE(runnable_targets().size(), 1u);
}

// One way to call a kernel.
struct Variant {
  const char* name;
  std::size_t src_shift, dst_shift;  // bytes from a 64-byte boundary
  int dst_count;
  int alias;  // dst 0 is this source; -1: none
  bool streaming;
};

// Buffers of one kernel and one number of sources, reused by every variant.
class Fixture {
 public:
  Fixture(Kernel kernel, int source_count, Random& random) : kernel_(kernel), size_(size_of(kernel.dtype)) {
    for (int k = 0; k < source_count; ++k)
      sources_.push_back(random_elements(kernel.dtype, max_count, random));
    divisor_ = source_count + static_cast<int>(random() % 3);
    want_ = reference_reduce(kernel.dtype, kernel.op, sources_, max_count, divisor_);
    for (const auto target : runnable_targets())
      functions_.push_back({target_name(target), find_reduce_on(target, kernel.dtype, kernel.op)});
  }

  void check(const Variant& v, std::size_t count) {
    place_sources(v);
    for (const auto& entry : functions_) {
      run(v, count, [&](void* const* dsts, const void* const* srcs) {
        entry.second({dsts, v.dst_count, srcs, static_cast<int>(sources_.size()), count,
                     divisor_, v.streaming});
      });
      verify(v, count, entry.first.c_str());
    }
    if (v.dst_count == 1 && count <= 65) {
      run(v, count, [&](void* const* dsts, const void* const* srcs) {
        kernels::find_reduce_small(kernel_.dtype, kernel_.op)(
            dsts[0], srcs, static_cast<int>(sources_.size()), count, divisor_);
      });
      verify(v, count, "small");
    }
  }

 private:
  static constexpr std::size_t guard = 64, room = max_count * 16 + 3 * guard;
  static unsigned char* aligned(Bytes& storage) {
    storage.resize(room + 64);
    return storage.data() + (64 - reinterpret_cast<std::uintptr_t>(storage.data()) % 64) % 64;
  }

  void place_sources(const Variant& v) {
    if (placed_ == static_cast<int>(v.src_shift)) return;
    placed_ = static_cast<int>(v.src_shift);
    source_storage_.resize(sources_.size());
    source_pointers_.clear();
    for (std::size_t k = 0; k < sources_.size(); ++k) {
      unsigned char* p = aligned(source_storage_[k]) + v.src_shift;
      std::memcpy(p, sources_[k].data(), sources_[k].size());
      source_pointers_.push_back(p);
    }
  }

  template <class Call>
  void run(const Variant& v, std::size_t count, Call call) {
    std::vector<const void*> srcs = source_pointers_;
    dsts_.clear();
    for (int d = 0; d < v.dst_count; ++d) {
      // Later destinations are aligned differently from the first.
      unsigned char* p = aligned(dst_storage_[d]) + guard + v.dst_shift + (d == 1 ? size_ : 0);
      std::memset(p - guard, 0xA5, count * size_ + 2 * guard);
      dsts_.push_back(p);
    }
    if (v.alias >= 0) {
      const auto k = static_cast<std::size_t>(v.alias) % sources_.size();
      std::memcpy(dsts_[0], sources_[k].data(), count * size_);
      srcs[k] = dsts_[0];
    }
    call(dsts_.data(), srcs.data());
  }

  void verify(const Variant& v, std::size_t count, const char* target) {
    for (int d = 0; d < v.dst_count; ++d) {
      const auto* p = static_cast<const unsigned char*>(dsts_[static_cast<std::size_t>(d)]);
      const std::size_t bytes = count * size_;
      const auto describe = [&] {
        return to_string(kernel_) + " on " + target + ", " + v.name + ", sources " +
               std::to_string(sources_.size()) + ", count " + std::to_string(count) + ", dst " +
               std::to_string(d) + ", alias " + std::to_string(v.alias) + ", seed " +
               std::to_string(test_seed());
      };
      const auto untouched = [](const unsigned char* q) {
        return std::all_of(q, q + guard, [](unsigned char b) { return b == 0xA5; });
      };
      if (bytes != 0 && std::memcmp(p, want_.data(), bytes) != 0) {
        const auto at =
            static_cast<std::size_t>(std::mismatch(p, p + bytes, want_.begin()).first - p) / size_;
        FAIL() << describe() << ", element " << at;
      }
      ASSERT_TRUE(untouched(p - guard)) << describe() << ": wrote before the start";
      ASSERT_TRUE(untouched(p + bytes)) << describe() << ": wrote past the end";
    }
  }

  Kernel kernel_;
  std::size_t size_;
  int divisor_ = 1, placed_ = -1;
  std::vector<Bytes> sources_, source_storage_;
  Bytes want_, dst_storage_[3];
  std::vector<const void*> source_pointers_;
  std::vector<void*> dsts_;
  std::vector<std::pair<std::string, kernels::ReduceFn>> functions_;
};

class Reduce : public testing::TestWithParam<Kernel> {};

TEST_P(Reduce, MatchesReference) {
  const Kernel kernel = GetParam();
  const std::size_t size = size_of(kernel.dtype);
  Random random(test_seed() * 1000 + static_cast<unsigned>(kernel.dtype) * 16 +
                static_cast<unsigned>(kernel.op));
  for (const int sources : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33}) {
    Fixture fixture(kernel, sources, random);
    std::vector<Variant> variants = {{"plain", 0, 0, 1, -1, false},
                                     {"streaming", 0, 0, 1, -1, true},
                                     {"three dsts", 0, 0, 3, 0, true},
                                     {"dst off by one element", 0, size, 1, -1, true},
                                     {"three dsts cached", 0, 0, 3, -1, false},
                                     {"off by one element", size, size, 1, 0, false},
                                     {"off by one byte", 1, 1, 1, -1, true},
                                     {"off by one byte, three dsts", 1, 1, 3, 0, false}};
    for (int k = 0; k < std::min(sources, 4); ++k) variants.push_back({"alias", 0, 0, 1, k, k % 2 == 1});
    variants.push_back({"alias with the last", 0, 0, 1, sources - 1, false});
    std::stable_sort(variants.begin(), variants.end(),
                     [](auto& a, auto& b) { return a.src_shift < b.src_shift; });
    for (const Variant& v : variants)
      for (const std::size_t count : counts) {
        // The longest calls of many sources repeat what the shorter ones showed.
        if (count > 65 && sources > 4 && v.alias != 0 && v.src_shift == 0 && sources != 9) continue;
        fixture.check(v, count);
        if (HasFatalFailure()) return;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Reduce, testing::ValuesIn(all_kernels()), [](const auto& kernel) {
  return std::string(name_of(kernel.param.dtype)) + "_" + name_of(kernel.param.op);
});

// Buffers that end, or begin, at an inaccessible page.
TEST(ReduceBounds, NeverLeavesTheBuffers) {
  Random random(test_seed());
  GuardedPages a(8192), b(8192), c(8192);
  for (const Kernel& kernel : all_kernels()) {
    const std::size_t size = size_of(kernel.dtype);
    for (std::size_t count = 0; count <= 70; ++count) {
      const std::size_t bytes = count * size;
      const std::vector<Bytes> data = {random_elements(kernel.dtype, count, random),
                                       random_elements(kernel.dtype, count, random)};
      const Bytes want = reference_reduce(kernel.dtype, kernel.op, data, count, 2);
      for (const bool at_end : {false, true}) {
        const auto place = [&](const GuardedPages& g) { return at_end ? g.last(bytes) : g.first(); };
        if (bytes != 0)
          std::memcpy(place(a), data[0].data(), bytes), std::memcpy(place(b), data[1].data(), bytes);
        const void* srcs[] = {place(a), place(b)};
        void* dst = place(c);
        for (const auto target : runnable_targets()) {
          find_reduce_on(target, kernel.dtype, kernel.op)({&dst, 1, srcs, 2, count, 2, count % 2 == 1});
          ASSERT_TRUE(std::equal(want.begin(), want.end(), place(c)))
              << to_string(kernel) << " count " << count;
        }
        kernels::find_reduce_small(kernel.dtype, kernel.op)(dst, srcs, 2, count, 2);
        ASSERT_TRUE(std::equal(want.begin(), want.end(), place(c)))
            << to_string(kernel) << " count " << count;
      }
    }
  }
}

// Ranks that are threads look kernels up and reduce at the same time.
TEST(ReduceThreads, LookUpAndRunConcurrently) {
  const std::vector<float> a(1000, 1.5f), b(1000, 2.0f);
  std::vector<std::thread> ranks;
  std::vector<std::vector<float>> results(4, std::vector<float>(1000));
  for (auto& result : results)
    ranks.emplace_back([&] {
      const void* srcs[] = {a.data(), b.data()};
      void* dst = result.data();
      kernels::find_reduce(DType::f32, Op::sum)({&dst, 1, srcs, 2, result.size(), 1, true});
    });
  for (auto& rank : ranks) rank.join();
  for (const auto& result : results) EXPECT_EQ(result, std::vector<float>(1000, 3.5f));
}

}  // namespace
}  // namespace libcoll::test
