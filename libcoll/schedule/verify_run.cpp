// Runs the events on symbolic memories.
#include <algorithm>

#include "libcoll/schedule/verify_proof.hpp"

namespace libcoll::sched {

// Elements [from, from + count) of a range; count -1: all.
bool Proof::read(std::uint32_t s, const Range& range, Pieces& out, std::int64_t from, std::int64_t count) {
  const int r = rank_of(s);
  const Place where = place(r, range);
  if (count < 0) count = where.count;
  out.clear();
  std::int64_t gap = 0;
  if (count == 0 || memories[at(r)][where.memory].read(where.first + from, count, out, gap)) return true;
  return fail(s, "reads element {}, which nothing has written", gap);
}

bool Proof::write(std::uint32_t s, const Range& range, std::span<const Piece> values, std::int64_t from, std::int64_t count) {
  const int r = rank_of(s);
  const Place where = place(r, range);
  if (count < 0) count = where.count;
  if (count != 0) memories[at(r)][where.memory].write(where.first + from, count, values);
  return true;
}

// All operands together, piece by piece.
bool Proof::combine(std::uint32_t s, const std::vector<Pieces>& operands, std::int64_t count, Pieces& out) {
  out.clear();
  std::vector<std::size_t> next(operands.size());
  std::vector<int> values(operands.size());
  std::string why;
  for (std::int64_t at_ = 0; at_ < count;) {
    std::int64_t until = count, origin = 0;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      while (operands[i][next[i]].end <= at_) ++next[i];
      const Piece& piece = operands[i][next[i]];
      until = std::min(until, piece.end);
      const std::int64_t mine = piece.origin + (at_ - piece.first);
      if (i != 0 && mine != origin) return fail(s, "combines element {} of one contribution with element {} of another", origin, mine);
      if (piece.finished) return fail(s, "combines what was divided already");
      origin = mine;
      values[i] = piece.term;
    }
    const int term = terms.combine(values, why);
    if (term < 0) return fail_text(s, why);
    append(out, {at_, until, origin, term, false});
    at_ = until;
  }
  return true;
}

bool Proof::run() {
  std::vector<Pieces> sent(steps());  // as it was when the send started
  std::vector<Pieces> operands;
  Pieces values;
  for (const std::uint32_t e : events) {
    if (e >= 2 * steps()) {
      if (!run_meeting(meetings[e - 2 * steps()])) return false;
      continue;
    }
    const std::uint32_t id = e / 2;
    const bool starts = e % 2 == 0;
    const int r = rank_of(id);
    const Step& s = all[at(r)].steps[id - base[at(r)]];
    switch (s.kind) {
      case Kind::send:
        if (starts && !read(id, s.from, sent[id])) return false;
        break;
      case Kind::recv:
        if (!starts) {
          write(id, s.to, sent[partner[id]]);
          Pieces().swap(sent[partner[id]]);
        }
        break;
      case Kind::copy:
        if (starts) break;
        if (!read(id, s.from, values)) return false;
        write(id, s.to, values);
        break;
      case Kind::reduce:
        if (starts) break;
        operands.resize(s.many);
        for (std::uint32_t i = 0; i < s.many; ++i)
          if (!read(id, all[at(r)].operands[s.first + i], operands[i])) return false;
        if (!combine(id, operands, place(r, s.to).count, values)) return false;
        write(id, s.to, values);
        break;
      case Kind::finish:
        if (starts) break;
        if (!read(id, s.to, values)) return false;
        if (!p.averages) return fail(id, "divides, but the operation is not an average");
        for (Piece& piece : values) {
          const auto& runs = terms.runs(piece.term);
          if (piece.finished) return fail(id, "divides a second time");
          if (runs.size() != 1 || runs[0] != Run{0, p.size}) return fail(id, "divides before all ranks have contributed");
          piece.finished = true;
        }
        write(id, s.to, values);
        break;
      case Kind::native: break;  // at its meeting
    }
  }
  return true;
}

// Everything is read before anything is written: members wait for each other inside.
bool Proof::run_meeting(const Meeting& m) {
  const auto& members = p.groups[at(m.group)];
  const int n = static_cast<int>(members.size());
  const auto member = [&](int i) -> const Step& { return step(m.steps[at(i)]); };
  const auto part = [&](int i, int k) { return all[at(members[at(i)])].parts[member(i).first + static_cast<std::uint32_t>(k)]; };
  const Step& lead = member(0);
  std::vector<Pieces> in(at(n));
  Pieces out;
  switch (lead.native) {
    case Coll::bcast: {
      if (!read(m.steps[at(lead.root)], member(lead.root).to, out)) return false;
      for (int i = 0; i < n; ++i)
        if (i != lead.root) write(m.steps[at(i)], member(i).to, out);
      return true;
    }
    case Coll::reduce:
    case Coll::allreduce: {
      for (int i = 0; i < n; ++i)
        if (!read(m.steps[at(i)], member(i).from, in[at(i)])) return false;
      const bool to_all = lead.native == Coll::allreduce;
      const int top = to_all ? 0 : lead.root;
      if (!combine(m.steps[at(top)], in, place(members[at(top)], member(top).to).count, out)) return false;
      for (int i = 0; i < n; ++i)
        if (to_all || i == lead.root) write(m.steps[at(i)], member(i).to, out);
      return true;
    }
    case Coll::reduce_scatter: {
      std::vector<Pieces> results(at(n));
      for (int k = 0; k < n; ++k) {
        for (int i = 0; i < n; ++i)
          if (!read(m.steps[at(i)], member(i).from, in[at(i)], part(i, k).offset, part(i, k).count)) return false;
        if (!combine(m.steps[at(k)], in, part(k, k).count, results[at(k)])) return false;
      }
      for (int k = 0; k < n; ++k) write(m.steps[at(k)], member(k).to, results[at(k)]);
      return true;
    }
    case Coll::allgatherv:
    case Coll::gatherv:
      for (int i = 0; i < n; ++i)
        if (!read(m.steps[at(i)], member(i).from, in[at(i)])) return false;
      for (int k = 0; k < n; ++k)
        for (int i = 0; i < n && (lead.native == Coll::allgatherv || k == lead.root); ++i)
          write(m.steps[at(k)], member(k).to, in[at(i)], part(k, i).offset, part(k, i).count);
      return true;
    case Coll::scatterv:
      for (int i = 0; i < n; ++i)
        if (!read(m.steps[at(lead.root)], member(lead.root).from, in[at(i)], part(lead.root, i).offset, part(lead.root, i).count)) return false;
      for (int i = 0; i < n; ++i) write(m.steps[at(i)], member(i).to, in[at(i)]);
      return true;
    case Coll::alltoallv: {
      std::vector<Pieces> crossing(at(n) * at(n));
      for (int i = 0; i < n; ++i)
        for (int k = 0; k < n; ++k)
          if (!read(m.steps[at(i)], member(i).from, crossing[at(i) * at(n) + at(k)], part(i, k).offset, part(i, k).count)) return false;
      for (int i = 0; i < n; ++i)
        for (int k = 0; k < n; ++k) write(m.steps[at(k)], member(k).to, crossing[at(i) * at(n) + at(k)], part(k, n + i).offset, part(k, n + i).count);
      return true;
    }
    default: return true;  // barrier: no data
  }
}

// A barrier: every rank ends only after every other has begun. What a step's end tells about who has begun
// travels along dependencies, messages (not back from receiver to sender) and natives.
bool Proof::check_barrier() {
  if (p.coll != Coll::barrier) return true;
  const std::size_t words = (at(p.size) + 63) / 64;
  std::vector<std::uint64_t> known(std::size_t{steps()} * words), final(at(p.size) * words);
  const auto join = [&](std::uint64_t* to, const std::uint64_t* from) {
    for (std::size_t w = 0; w < words; ++w) to[w] |= from[w];
  };
  const auto of = [&](std::uint32_t s) { return known.data() + s * words; };
  for (const std::uint32_t e : events) {
    if (e >= 2 * steps()) {
      const Meeting& m = meetings[e - 2 * steps()];
      std::vector<std::uint64_t> all_of(words);
      for (const std::uint32_t s : m.steps) join(all_of.data(), of(s));
      for (const std::uint32_t s : m.steps) join(of(s), all_of.data());
      continue;
    }
    const std::uint32_t s = e / 2;
    const int r = rank_of(s);
    const Step& step = all[at(r)].steps[s - base[at(r)]];
    if (e % 2 == 0) {
      of(s)[at(r) / 64] |= std::uint64_t{1} << at(r) % 64;
      for (std::uint32_t a = 0; a < step.many_after; ++a) join(of(s), of(base[at(r)] + all[at(r)].after[step.first_after + a]));
    } else {
      if (step.kind == Kind::recv) join(of(s), of(partner[s]));
      join(final.data() + at(r) * words, of(s));
    }
  }
  for (int r = 0; r < p.size; ++r)
    for (int other = 0; other < p.size; ++other)
      if (other != r && (final[at(r) * words + at(other) / 64] >> at(other) % 64 & 1) == 0) {
        error = fmt::format("rank {}: may leave the barrier before rank {} has entered it", r, other);
        return false;
      }
  return true;
}

}  // namespace libcoll::sched
