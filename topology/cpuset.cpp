#include "topology/cpuset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

namespace libcoll::topo {
namespace {

constexpr std::size_t word_of(int cpu) { return static_cast<std::size_t>(cpu) / 64; }
constexpr std::uint64_t bit_of(int cpu) { return std::uint64_t{1} << (static_cast<unsigned>(cpu) % 64); }

// The number at the front of `text`, which is advanced past it; -1 if there is none in range.
int take_number(std::string_view& text) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value < 0 || value >= CpuSet::max_cpus) return -1;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

}  // namespace

CpuSet CpuSet::range(int first, int last) {
  CpuSet s;
  for (int cpu = std::max(first, 0); cpu <= std::min(last, max_cpus - 1); ++cpu) s.add(cpu);
  return s;
}

detail::Result<CpuSet> CpuSet::from_mask(std::string_view text) {
  std::vector<std::uint32_t> words;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string_view word = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (word.starts_with("0x")) word.remove_prefix(2);
    std::uint32_t bits = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), bits, 16);
    if ((!word.empty() && error != std::errc{}) || end != word.data() + word.size() ||
        words.size() == static_cast<std::size_t>(max_cpus) / 32)
      return detail::failure(Errc::invalid_argument, fmt::format("not a bounded set: '{}'", text.substr(0, 40)));
    words.push_back(bits);
  }
  CpuSet s;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t place = words.size() - 1 - i;
    s.add_word(place / 2, std::uint64_t{words[i]} << (place % 2 * 32));
  }
  return s;
}

detail::Result<CpuSet> CpuSet::from_list(std::string_view text) {
  const std::string_view whole = text.substr(0, 40);
  const auto bad = [&] {
    return detail::failure(Errc::invalid_argument, fmt::format("not a list of CPUs: '{}'", whole));
  };
  CpuSet s;
  while (!text.empty()) {
    const int first = take_number(text);
    int last = first;
    if (first < 0) return bad();
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      last = take_number(text);
      if (last < first) return bad();
    }
    // Word by word would be faster; lists are short, and overlapping ranges stay harmless.
    for (int cpu = first; cpu <= last; ++cpu) s.add(cpu);
    if (text.empty()) break;
    if (!text.starts_with(',') || text.size() == 1) return bad();
    text.remove_prefix(1);
  }
  return s;
}

void CpuSet::add(int cpu) {
  if (cpu < 0 || cpu >= max_cpus) return;
  if (word_of(cpu) >= words_.size()) words_.resize(word_of(cpu) + 1);
  words_[word_of(cpu)] |= bit_of(cpu);
}

void CpuSet::add_word(std::size_t index, std::uint64_t bits) {
  if (bits == 0 || index >= max_cpus / 64) return;
  if (index >= words_.size()) words_.resize(index + 1);
  words_[index] |= bits;
}

bool CpuSet::contains(int cpu) const noexcept {
  return cpu >= 0 && word_of(cpu) < words_.size() && (words_[word_of(cpu)] & bit_of(cpu)) != 0;
}

bool CpuSet::includes(const CpuSet& other) const noexcept {
  if (other.words_.size() > words_.size()) return false;
  for (std::size_t i = 0; i < other.words_.size(); ++i)
    if ((other.words_[i] & ~words_[i]) != 0) return false;
  return true;
}

bool CpuSet::intersects(const CpuSet& other) const noexcept {
  for (std::size_t i = 0; i < std::min(words_.size(), other.words_.size()); ++i)
    if ((other.words_[i] & words_[i]) != 0) return true;
  return false;
}

int CpuSet::count() const noexcept {
  int n = 0;
  for (const std::uint64_t w : words_) n += std::popcount(w);
  return n;
}

int CpuSet::first() const noexcept {
  for (std::size_t i = 0; i < words_.size(); ++i)
    if (words_[i] != 0) return static_cast<int>(i * 64) + std::countr_zero(words_[i]);
  return -1;
}

CpuSet& CpuSet::operator|=(const CpuSet& other) {
  if (other.words_.size() > words_.size()) words_.resize(other.words_.size());
  for (std::size_t i = 0; i < other.words_.size(); ++i) words_[i] |= other.words_[i];
  return *this;
}

CpuSet& CpuSet::operator&=(const CpuSet& other) {
  words_.resize(std::min(words_.size(), other.words_.size()));
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
  trim();
  return *this;
}

CpuSet& CpuSet::operator-=(const CpuSet& other) {
  for (std::size_t i = 0; i < std::min(words_.size(), other.words_.size()); ++i)
    words_[i] &= ~other.words_[i];
  trim();
  return *this;
}

std::vector<int> CpuSet::to_vector() const {
  std::vector<int> cpus;
  cpus.reserve(static_cast<std::size_t>(count()));
  for (std::size_t i = 0; i < words_.size(); ++i)
    for (std::uint64_t w = words_[i]; w != 0; w &= w - 1)
      cpus.push_back(static_cast<int>(i * 64) + std::countr_zero(w));
  return cpus;
}

std::string CpuSet::to_list() const { return format_ranges(to_vector()); }

void CpuSet::trim() {
  while (!words_.empty() && words_.back() == 0) words_.pop_back();
}

std::string format_ranges(std::span<const int> ascending) {
  std::string out;
  for (std::size_t i = 0; i < ascending.size();) {
    std::size_t j = i;
    while (j + 1 < ascending.size() && ascending[j + 1] == ascending[j] + 1) ++j;
    if (!out.empty()) out += ',';
    out += std::to_string(ascending[i]);
    if (j > i) out += (j == i + 1 ? ',' : '-') + std::to_string(ascending[j]);
    i = j + 1;
  }
  return out;
}

}  // namespace libcoll::topo
