// CpuSet: a set of operating-system CPU numbers. A value: comparable, bounded, no hwloc inside.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libcoll/core/result.hpp"

namespace libcoll::topo {

class CpuSet {
 public:
  // Far above any Linux NR_CPUS; hostile files can't make a set allocate more than 8 KiB.
  static constexpr int max_cpus = 65536;

  CpuSet() = default;
  static CpuSet range(int first, int last);  // both ends included
  // "0-3,8": the form of Linux cpulists. The empty text is the empty set.
  static detail::Result<CpuSet> from_list(std::string_view);
  // "0x0000000f,,ffffffff": words of 32 bits, most significant first, an empty one being zero. The form
  // of hwloc and of the kernel's cpumaps.
  static detail::Result<CpuSet> from_mask(std::string_view);

  // Numbers outside [0, max_cpus) are ignored.
  void add(int cpu);
  void add_word(std::size_t index, std::uint64_t bits);
  bool contains(int cpu) const noexcept;
  bool includes(const CpuSet&) const noexcept;
  bool intersects(const CpuSet&) const noexcept;
  bool empty() const noexcept { return words_.empty(); }
  int count() const noexcept;
  int first() const noexcept;  // -1 if empty
  CpuSet& operator|=(const CpuSet&);
  CpuSet& operator&=(const CpuSet&);
  CpuSet& operator-=(const CpuSet&);

  std::vector<int> to_vector() const;
  std::string to_list() const;
  // 64 CPUs a word; the last word is never zero, so that equal sets have equal words.
  std::span<const std::uint64_t> words() const noexcept { return words_; }

  friend bool operator==(const CpuSet&, const CpuSet&) = default;

 private:
  void trim();
  std::vector<std::uint64_t> words_;
};

// Ascending numbers as "0-3,8".
std::string format_ranges(std::span<const int> ascending);

}  // namespace libcoll::topo
