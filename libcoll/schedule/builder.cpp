#include "libcoll/schedule/builder.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace libcoll::sched {

namespace {
bool is_block(Space s) { return s == Space::send_block || s == Space::recv_block; }
constexpr std::int64_t far_end = std::numeric_limits<std::int64_t>::max();
}  // namespace

Builder::Builder(int rank, int size) : sent_(static_cast<std::size_t>(size)), received_(static_cast<std::size_t>(size)) {
  schedule_.rank = rank;
  schedule_.size = size;
}

Range Builder::scratch(std::int64_t count) {
  const Range r{Space::scratch, 0, schedule_.scratch, count};
  schedule_.scratch += count;
  return r;
}

Step& Builder::begin(Kind kind) {
  waits_.clear();
  touched_.clear();
  Step& step = schedule_.steps.emplace_back();
  step.kind = kind;
  return step;
}

// Remembers the access and notes whom it has to wait for.
void Builder::touch(const Range& r, bool write) {
  if (r.count == 0) return;
  Track& track = tracks_[{r.space, is_block(r.space) ? r.block : 0}];
  const std::int64_t first = r.offset, last = r.count == whole_block ? far_end : r.offset + r.count;
  // Cut the segments at both ends, so that those inside lie inside completely.
  const auto cut = [&](std::int64_t at) {
    auto next = track.upper_bound(at);
    if (next == track.begin()) return;
    auto s = std::prev(next);
    if (s->first == at || s->second.end <= at) return;
    Segment tail = s->second;
    s->second.end = at;
    track.emplace(at, std::move(tail));
  };
  cut(first);
  cut(last);
  const auto self = static_cast<std::uint32_t>(schedule_.steps.size() - 1);
  std::int64_t at = first;
  for (auto s = track.lower_bound(first); at < last; ++s) {
    if (s == track.end() || s->first > at) {  // nobody has touched this gap
      const std::int64_t until = s == track.end() ? last : std::min(last, s->first);
      s = track.emplace_hint(s, at, Segment{until, -1, {}});
    }
    Segment& g = s->second;
    if (g.writer >= 0 && g.writer != self) waits_.push_back(static_cast<std::uint32_t>(g.writer));
    if (write) {
      for (const std::uint32_t reader : g.readers)
        if (reader != self) waits_.push_back(reader);
      g.readers.clear();
      g.writer = self;
    } else if (g.readers.empty() || g.readers.back() != self) {
      g.readers.push_back(self);
    }
    at = g.end;
  }
}

void Builder::end() {
  Step& step = schedule_.steps.back();
  for (std::uint32_t s = fence_from_; s < fence_to_; ++s) waits_.push_back(s);
  std::sort(waits_.begin(), waits_.end());
  waits_.erase(std::unique(waits_.begin(), waits_.end()), waits_.end());
  step.first_after = static_cast<std::uint32_t>(schedule_.after.size());
  step.many_after = static_cast<std::uint32_t>(waits_.size());
  schedule_.after.insert(schedule_.after.end(), waits_.begin(), waits_.end());
}

void Builder::send(int peer, const Range& from) {
  if (from.count == 0) return;
  Step& s = begin(Kind::send);
  s.peer = peer;
  s.message = sent_[static_cast<std::size_t>(peer)]++;
  s.from = from;
  touch(from, false);
  end();
}

void Builder::recv(int peer, const Range& to) {
  if (to.count == 0) return;
  Step& s = begin(Kind::recv);
  s.peer = peer;
  s.message = received_[static_cast<std::size_t>(peer)]++;
  s.to = to;
  touch(to, true);
  end();
}

void Builder::send_signal(int peer) {
  Step& s = begin(Kind::send);
  s.peer = peer;
  s.message = sent_[static_cast<std::size_t>(peer)]++;
  end();
}

void Builder::recv_signal(int peer) {
  Step& s = begin(Kind::recv);
  s.peer = peer;
  s.message = received_[static_cast<std::size_t>(peer)]++;
  end();
}

void Builder::copy(const Range& to, const Range& from) {
  if (to.count == 0 || to == from) return;
  Step& s = begin(Kind::copy);
  s.to = to;
  s.from = from;
  touch(from, false);
  touch(to, true);
  end();
}

void Builder::reduce(const Range& to, std::span<const Range> operands) {
  if (to.count == 0) return;
  if (operands.size() == 1) return copy(to, operands[0]);
  Step& s = begin(Kind::reduce);
  s.to = to;
  s.first = static_cast<std::uint32_t>(schedule_.operands.size());
  s.many = static_cast<std::uint32_t>(operands.size());
  schedule_.operands.insert(schedule_.operands.end(), operands.begin(), operands.end());
  for (const Range& o : operands) touch(o, false);
  touch(to, true);
  end();
}

void Builder::reduce(const Range& to, const Range& a, const Range& b) {
  const Range both[] = {a, b};
  reduce(to, both);
}

void Builder::finish(const Range& to) {
  if (to.count == 0) return;
  begin(Kind::finish).to = to;
  touch(to, true);
  end();
}

void Builder::native(Coll coll, int group, int root, const Range& to, const Range& from, std::span<const Part> parts) {
  Step& s = begin(Kind::native);
  s.native = coll;
  s.group = group;
  s.root = root;
  s.to = to;
  s.from = from;
  s.first = static_cast<std::uint32_t>(schedule_.parts.size());
  s.many = static_cast<std::uint32_t>(parts.size());
  schedule_.parts.insert(schedule_.parts.end(), parts.begin(), parts.end());
  touch(from, false);
  touch(to, true);
  end();
}

void Builder::fence() {
  const auto now = static_cast<std::uint32_t>(schedule_.steps.size());
  if (now == fence_to_) return;
  fence_from_ = fence_to_;
  fence_to_ = now;
}

Schedule Builder::take() { return std::exchange(schedule_, Schedule{}); }

}  // namespace libcoll::sched
