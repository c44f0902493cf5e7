#include "libcoll/schedule/verify_values.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace libcoll::sched {

Terms::Terms(int ranks, bool commutative) : commutative_(commutative) {
  for (int r = 0; r < ranks; ++r) runs_.push_back({{r, r + 1}});
}

std::size_t Terms::Hash::operator()(const std::vector<int>& key) const noexcept {
  std::uint64_t h = key.size();
  for (const int k : key) h = (h ^ static_cast<std::uint64_t>(k)) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
  return static_cast<std::size_t>(h);
}

int Terms::combine(std::span<const int> operands, std::string& why) {
  if (operands.size() == 1) return operands[0];
  key_.assign(operands.begin(), operands.end());
  if (commutative_ && key_.size() == 2 && key_[0] > key_[1]) std::swap(key_[0], key_[1]);
  if (const auto at = known_.find(key_); at != known_.end()) return at->second;
  std::vector<Run> all;
  for (const int o : operands) {
    const auto& more = runs(o);
    // Out of order cannot be mended later: reductions keep their operands where they are.
    if (!commutative_ && !all.empty() && all.back().last != more.front().first) {
      why = fmt::format("combines ranks [{},{}) with ranks [{},{}): not in rank order without a gap", all.back().first, all.back().last,
                        more.front().first, more.front().last);
      return -1;
    }
    all.insert(all.end(), more.begin(), more.end());
  }
  std::sort(all.begin(), all.end(), [](const Run& a, const Run& b) { return a.first < b.first; });
  std::vector<Run> merged;
  for (const Run& r : all) {
    if (!merged.empty() && r.first < merged.back().last) {
      why = fmt::format("combines the operand of rank {} twice", r.first);
      return -1;
    }
    if (!merged.empty() && r.first == merged.back().last) merged.back().last = r.last;
    else merged.push_back(r);
  }
  const int term = static_cast<int>(runs_.size());
  runs_.push_back(std::move(merged));
  known_.emplace(key_, term);
  return term;
}

void append(Pieces& out, const Piece& p) {
  if (!out.empty() && out.back().joins(p)) out.back().end = p.end;
  else out.push_back(p);
}

Memory& Memories::make(int i) { return i < few ? first_[static_cast<std::size_t>(i)] : rest_[i]; }

const Memory& Memories::operator[](int i) const {
  static const Memory nothing;
  if (i < few) return first_[static_cast<std::size_t>(i)];
  const auto at = rest_.find(i);
  return at != rest_.end() ? at->second : nothing;
}

bool Memory::read(std::int64_t first, std::int64_t count, Pieces& out, std::int64_t& gap) const {
  const std::int64_t last = first + count;
  auto p = std::upper_bound(pieces.begin(), pieces.end(), first, [](std::int64_t at, const Piece& piece) { return at < piece.end; });
  std::int64_t at = first;
  for (; at < last; ++p) {
    if (p == pieces.end() || p->first > at) {
      gap = at;
      return false;
    }
    const std::int64_t until = std::min(last, p->end);
    out.push_back({at - first, until - first, p->origin + (at - p->first), p->term, p->finished});
    at = until;
  }
  return true;
}

void Memory::write(std::int64_t first, std::int64_t count, std::span<const Piece> values) {
  if (count == 0) return;
  const std::int64_t last = first + count;
  // What stays of the pieces cut at both ends, and of the neighbours that may join.
  auto from = std::lower_bound(pieces.begin(), pieces.end(), first, [](const Piece& piece, std::int64_t at) { return piece.end < at; });
  auto to = std::upper_bound(from, pieces.end(), last, [](std::int64_t at, const Piece& piece) { return at < piece.first; });
  Pieces now;
  if (from != to && from->first < first) now.push_back({from->first, first, from->origin, from->term, from->finished});
  for (const Piece& v : values) append(now, {first + v.first, first + v.end, v.origin, v.term, v.finished});
  if (from != to) {
    const Piece& tail = *std::prev(to);
    if (tail.end > last) append(now, {std::max(last, tail.first), tail.end, tail.origin + std::max<std::int64_t>(0, last - tail.first), tail.term, tail.finished});
  }
  const auto old = to - from, fresh = static_cast<std::ptrdiff_t>(now.size());
  const auto both = std::min(old, fresh);
  const auto end = std::copy(now.begin(), now.begin() + both, from);
  if (fresh > both) pieces.insert(end, now.begin() + both, now.end());
  else pieces.erase(end, to);
}

}  // namespace libcoll::sched
