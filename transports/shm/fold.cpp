// Phases of piece i: (1) stage: a ring source copies its pieces of all foreign slices; (2) consume: a
// rank reduces piece i of its own slice from everybody's vector into its result, into its out slot
// if somebody pulls, and straight into results that lie in the arena; (3) gather: a rank takes piece i of
// the other slices. Phases of neighbouring pieces overlap (i, i-1, i-2) so that a hop hides behind work.
// Words: staged, consumed, gathered count pieces. An in-place vector may be lent: a rank overwrites
// piece i of slice p only after p has consumed it, and nobody else reads slice p.
#include "transports/shm/fold.hpp"

#include <cstring>

#include "libcoll/kernels/copy.hpp"

namespace libcoll::xport::shm {

namespace {

constexpr std::uint64_t remote_batch_bytes = 256 * 1024;  // stays in a second-level cache

class Folder {
 public:
  Folder(Group& g, std::uint64_t q, const Plan& plan, const Args& args, const Fold& f)
      : g_(g), q_(q), plan_(plan), args_(args), f_(f), me_(g.rank()), size_(g.size()),
        last_(f.last), gathers_(gathers(me_)),
        pieces_(cut(g.shape(), f.one_for_all, size_, plan.call.element_bytes, f.largest)),
        rounds_(pieces_.rounds(f.largest)) {}

  void run() {
    where_ = offer(g_, q_, f_.offer, plan_.call.element_bytes);
    choose_result();
    g_.publish(q_);
    follow_all();
    batch_ = std::max<std::uint64_t>(1, remote_batch_bytes / static_cast<std::uint64_t>(size_ - 1) / std::max<std::uint64_t>(pieces_.piece, 1));
    if (needs_scratch_) scratch_ = g_.remote_scratch(static_cast<std::size_t>(size_) * scratch_stride());
    for (std::uint64_t i = 0; i < rounds_ + 2; ++i) {
      if (where_ == Where::ring && i < rounds_) stage(i);
      if (i >= 1 && i <= rounds_) consume(i - 1);
      if (gathers_ && i >= 2) gather(i - 2);
    }
    finish();
  }

 private:
  Progress& progress(int r) { return g_.peer(r).control->progress; }
  bool gathers(int r) const { return f_.gather == Fold::Gather::all || (f_.gather == Fold::Gather::root && r == f_.root); }
  bool reads_me(int r) const {
    if (r == me_ || f_.offer.blocks.empty() || (f_.ordered && r < me_)) return false;
    if (f_.only_reader >= 0 && r != f_.only_reader) return false;
    return f_.one_for_all || f_.offer.blocks[static_cast<std::size_t>(r)].bytes != 0;
  }
  std::uint64_t slice_begin(int r) const { return std::min(static_cast<std::uint64_t>(r) * f_.slice_stride, f_.total_bytes); }
  std::uint64_t slice_bytes(int r) const { return std::min(f_.slice_stride, f_.total_bytes - slice_begin(r)); }

  // Where others find my results: in the descriptor, so that they follow.
  void choose_result() {
    Slot& s = g_.slot(q_);
    result_ = f_.gather == Fold::Gather::none ? Where::nowhere : Where::ring;
    if (gathers_) {
      const Shape& shape = g_.shape();
      const std::uint64_t shared_at = f_.total_bytes >= shape.share_from ? g_.host().heap().shared_at(f_.gathered, f_.total_bytes) : 0;
      if (shared_at != 0) {
        result_ = Where::shared;
        s.result_at = shared_at;
        g_.count_lent();
      } else if (f_.gather == Fold::Gather::all && f_.total_bytes >= shape.remote_from.whole) {
        result_ = Where::remote;
        s.result_at = reinterpret_cast<std::uint64_t>(f_.gathered);
      }
    }
    out_ = nullptr;
    if (result_ == Where::ring) {
      s.result_at = claim_slots(g_, q_, pieces_.stride, pieces_.rounds(f_.my_bytes), true, s.out_slots);
      out_ = g_.host().heap().at(s.result_at);
      out_slots_ = s.out_slots;
    }
    s.result = result_;
  }

  void follow_all() {
    for (int k = 1; k < size_; ++k) {
      const int r = after(me_, k, size_);
      const bool reads = r >= f_.first && r <= last_;
      if (!reads && f_.gather == Fold::Gather::none) continue;
      Source& s = g_.sources[static_cast<std::size_t>(r)];
      s = follow(g_, q_, r, f_.one_for_all, false, f_.my_offset);
      if (s.where == Where::remote && !s.direct) needs_scratch_ = true;
      if (gathers(r) && g_.slot(q_, r).result != Where::shared) pulled_ = true;
    }
    if (f_.first == 0 && last_ == size_ - 1) g_.saw_all(q_);
  }

  void stage(std::uint64_t i) {
    const Slot& s = g_.slot(q_);
    if (i >= s.ring_slots)
      for (int k = 1; k < size_; ++k) {
        const int r = after(me_, k, size_);
        if (reads_me(r)) g_.wait_word(progress(r).consumed, at_step(q_, i - s.ring_slots + 1), r);
      }
    std::byte* slot = g_.host().heap().at(s.source_at) + i % s.ring_slots * pieces_.slot;
    for (std::size_t d = 0; d < f_.offer.blocks.size(); ++d) {
      const Block& b = f_.offer.blocks[d];
      const std::uint64_t n = pieces_.length(i, b.bytes);
      if (n != 0 && (f_.one_for_all || static_cast<int>(d) != me_)) g_.stage(slot + place_in_slot(pieces_, f_.one_for_all, me_, static_cast<int>(d)), b.data + pieces_.begin(i), n);
    }
    g_.advance(progress(me_).staged, at_step(q_, i + 1));
  }

  std::uint64_t scratch_stride() const { return (batch_ * pieces_.piece + 63) / 64 * 64; }

  // A system call costs as much as copying some 20 KiB: several pieces are read at once.
  const std::byte* remote_operand(int r, const Source& s, std::uint64_t i) {
    std::byte* scratch = scratch_ + static_cast<std::uint64_t>(r) * scratch_stride();
    const std::uint64_t from = pieces_.begin(i);
    if (i % batch_ == 0) fetch(g_, r, s, scratch, from, std::min(batch_ * pieces_.piece, f_.my_bytes - from), false);
    return scratch + i % batch_ * pieces_.piece;
  }

  const void* operand(int r, std::uint64_t i) {
    if (r == me_) return f_.own + pieces_.begin(i);
    const Source& s = g_.sources[static_cast<std::size_t>(r)];
    if (s.direct) return s.at + pieces_.begin(i);
    if (s.where == Where::remote) return remote_operand(r, s, i);
    g_.wait_word(progress(r).staged, at_step(q_, i + 1), r);
    return s.at + i % s.ring_slots * pieces_.slot + place_in_slot(pieces_, f_.one_for_all, r, me_);
  }

  void consume(std::uint64_t i) {
    const std::uint64_t n = pieces_.length(i, f_.my_bytes);
    if (n != 0) {
      const bool out = pulled_ && result_ == Where::ring;
      if (out && i >= out_slots_)
        for (int r = 0; r < size_; ++r)
          if (pulls(r)) g_.wait_word(progress(r).gathered, at_step(q_, i - out_slots_ + 1), r);
      int operands = 0;
      for (int r = f_.first; r <= last_; ++r) g_.operands[static_cast<std::size_t>(operands++)] = operand(r, i);
      int dsts = 0;
      const auto add = [&](std::byte* p) { g_.results[static_cast<std::size_t>(dsts++)] = p; };
      if (f_.result) add(f_.result + pieces_.begin(i));
      for (int r = 0; r < size_; ++r)
        if (r != me_ && gathers(r) && g_.slot(q_, r).result == Where::shared)
          add(g_.host().heap().at(g_.slot(q_, r).result_at) + slice_begin(me_) + pieces_.begin(i));
      // The out slot is read by others: large pieces go there as staged data does, by a second pass
      // over a result that is still in the cache.
      const bool apart = out && dsts > 0 && n >= page_bytes;
      if (out && !apart) add(out_ + i % out_slots_ * pieces_.stride);
      reduce_piece(g_, plan_, args_, dsts, operands, n, f_.streaming);
      if (apart) g_.stage(out_ + i % out_slots_ * pieces_.stride, g_.results[0], n);
    }
    g_.advance(progress(me_).consumed, at_step(q_, i + 1));
  }

  bool pulls(int r) const { return r != me_ && gathers(r) && g_.slot(q_, r).result != Where::shared; }

  void gather(std::uint64_t i) {
    for (int k = 1; k < size_; ++k) {
      const int r = after(me_, k, size_);
      const std::uint64_t n = pieces_.length(i, slice_bytes(r));
      if (n == 0) continue;
      g_.wait_word(progress(r).consumed, at_step(q_, i + 1), r);
      if (result_ == Where::shared) continue;  // r pushed it here
      const std::uint64_t at = slice_begin(r) + pieces_.begin(i);
      const Slot& s = g_.slot(q_, r);
      std::byte* to = f_.gathered + at;
      if (s.result == Where::ring) copy(to, g_.host().heap().at(s.result_at) + i % s.out_slots * pieces_.stride, n);
      else if (s.result == Where::shared) copy(to, g_.host().heap().at(s.result_at) + at, n);
      else if (g_.peer(r).same_process) copy(to, reinterpret_cast<const std::byte*>(s.result_at + at), n);
      else gather_remote(r, s, i);
    }
    g_.advance(progress(me_).gathered, at_step(q_, i + 1));
  }

  // Reads the batch that ends with piece i.
  void gather_remote(int r, const Slot& s, std::uint64_t i) {
    const std::uint64_t end = pieces_.begin(i) + pieces_.length(i, slice_bytes(r));
    if ((i + 1) % batch_ != 0 && end < slice_bytes(r)) return;
    const std::uint64_t from = i / batch_ * batch_ * pieces_.piece, at = slice_begin(r) + from;
    if (!read_remote(g_.peer(r).pid, f_.gathered + at, s.result_at + at, end - from)) g_.peer_unreadable(r);
  }

  void copy(void* to, const void* from, std::uint64_t n) const {
    if (f_.streaming) kernels::copy_streaming(to, from, n);
    else kernels::copy(to, from, n);
  }

  void finish() {
    Progress& p = progress(me_);
    g_.advance(p.consumed, at_step(q_, step_mask));
    if (f_.gather != Fold::Gather::none) g_.advance(p.gathered, at_step(q_, step_mask));
    g_.finish(q_);
    if (lent(where_))
      for (int r = 0; r < size_; ++r)
        if (reads_me(r)) g_.wait_word(progress(r).consumed, at_step(q_, rounds_), r);
    if (lent(result_))
      for (int r = 0; r < size_; ++r)
        if (pulls(r)) g_.wait_finished(q_, r);
  }

  Group& g_;
  const std::uint64_t q_;
  const Plan& plan_;
  const Args& args_;
  const Fold& f_;
  const int me_, size_, last_;
  const bool gathers_;
  const Pieces pieces_;
  const std::uint64_t rounds_;
  Where where_ = Where::nowhere, result_ = Where::nowhere;
  bool pulled_ = false, needs_scratch_ = false;
  std::byte* scratch_ = nullptr;
  std::byte* out_ = nullptr;
  std::uint64_t out_slots_ = 1;
  const StagingLease lease_{g_};
  std::uint64_t batch_ = 1;  // pieces per process_vm_readv
};

}  // namespace

void fold(Group& g, std::uint64_t q, const Plan& plan, const Args& args, const Fold& f) { Folder(g, q, plan, args, f).run(); }

void reduce_piece(Group& g, const Plan& plan, const Args& args, int dst_count, int operand_count, std::uint64_t bytes, bool streaming) {
  const std::uint64_t count = bytes / plan.call.element_bytes;
  if (plan.reduce) {
    plan.reduce({g.results.data(), dst_count, g.operands.data(), operand_count, count, g.size(), streaming});
    return;
  }
  // A user's function: inout = in (op) inout, folded from the right so that `in` is always the
  // lower rank's operand. Accumulates apart, since a result may lie where an operand still is.
  const CustomOp& op = *args.custom;
  std::byte* sum = g.custom_scratch(bytes);
  std::memcpy(sum, g.operands[static_cast<std::size_t>(operand_count - 1)], bytes);
  for (int k = operand_count - 2; k >= 0; --k) op.function(g.operands[static_cast<std::size_t>(k)], sum, count, plan.call.dtype, op.context);
  for (int d = 0; d < dst_count; ++d) std::memcpy(g.results[static_cast<std::size_t>(d)], sum, bytes);
}

}  // namespace libcoll::xport::shm
