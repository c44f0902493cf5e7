// Round i: a ring source stages piece i of its blocks once all readers are done with piece i - K
// (K ring slots); a reader copies piece i once it is staged. Sources of other kinds are read whole.
// A rank that is both stages before it reads in each round, so nobody waits in a circle.
#include "transports/shm/move.hpp"

#include <fmt/format.h>

#include "libcoll/kernels/copy.hpp"

namespace libcoll::xport::shm {

namespace {

class Mover {
 public:
  Mover(Group& g, std::uint64_t q, const Transfer& t, std::uint32_t element_bytes)
      : g_(g), q_(q), t_(t), element_bytes_(element_bytes), me_(g.rank()), size_(g.size()) {}

  void run() {
    // The only reader keeps its own block: nobody else would read it.
    where_ = offer(g_, q_, t_.only_reader == me_ ? Offer{} : t_.offer, element_bytes_);
    g_.publish(q_);
    if (where_ == Where::ring) prepare_ring();
    if (!own_follows()) copy_own(0, unknown_bytes);
    if (t_.reads) follow_all();
    const std::uint64_t rounds = std::max(rounds_out_, rounds_in_);
    for (std::uint64_t i = 0; i < rounds; ++i) {
      if (i < rounds_out_) stage(i);
      if (i < rounds_in_) consume(i);
    }
    if (own_follows() && !t_.one_for_all) copy_own(0, unknown_bytes);
    if (late()) fetch_late();
    if (t_.only_source != me_) g_.advance(g_.mine().control->progress.consumed, at_step(q_, step_mask));
    if (t_.reads && t_.only_source < 0) g_.saw_all(q_);
    g_.finish(q_);
    if (lent(where_)) for_readers([&](int r) { g_.wait_finished(q_, r); });
    // Only now: those that agree with this rank have had its data.
    if (bad_peer_ >= 0) g_.refuse(q_, bad_peer_, bad_text_);
  }

 private:
  template <class F>
  void for_readers(F f) {
    if (t_.only_reader >= 0) {
      if (t_.only_reader != me_) f(t_.only_reader);
      return;
    }
    for (int k = 1; k < size_; ++k) f(after(me_, k, size_));
  }

  // A block that is staged for all goes along with its pieces, which are in the cache then; one of
  // many waits until the readers of the others have theirs.
  bool own_follows() const { return where_ == Where::ring; }

  void copy_own(std::uint64_t from, std::uint64_t most) {
    const Wanted& w = g_.wanted[static_cast<std::size_t>(me_)];
    if (!t_.reads || w.bytes <= from || t_.offer.blocks.empty()) return;
    const Block& b = t_.offer.blocks[t_.one_for_all ? 0 : static_cast<std::size_t>(me_)];
    if (b.data == w.to) return;
    const std::uint64_t n = std::min({b.bytes, w.bytes, from + most < from ? unknown_bytes : from + most}) - from;
    if (t_.streaming) kernels::copy_streaming(w.to + from, b.data + from, n);
    else kernels::copy(w.to + from, b.data + from, n);
  }

  void follow_all() {
    for (int k = 1; k < size_; ++k) {
      const int r = after(me_, k, size_);
      if (t_.only_source >= 0 && r != t_.only_source) continue;
      Source& f = g_.sources[static_cast<std::size_t>(r)];
      const Wanted& w = g_.wanted[static_cast<std::size_t>(r)];
      f = follow(g_, q_, r, t_.one_for_all, t_.offer.tabled, t_.offset);
      if (f.bytes != unknown_bytes && f.bytes != w.bytes) {
        f.where = Where::nowhere;
        if (bad_peer_ >= 0) continue;
        bad_peer_ = r;
        bad_text_ = fmt::format("rank {} has {} bytes for rank {}, which expects {} bytes from it (counts disagree)", g_.name_of_rank(r), f.bytes, g_.name_of_rank(me_), w.bytes);
      }
      if (f.where == Where::ring) {
        f.pieces = cut(g_.shape(), t_.one_for_all, size_, element_bytes_, t_.offer.cut_for(f.largest_block));
        rounds_in_ = std::max(rounds_in_, f.pieces.rounds(f.largest_block));
      } else if (f.where != Where::nowhere && !late()) {
        fetch(g_, r, f, w.to, 0, w.bytes, t_.streaming);
      }
    }
  }

  // In place, a block that arrives whole would overwrite the one that has yet to be staged for its sender.
  bool late() const { return where_ == Where::ring && t_.offer.keep; }
  void fetch_late() {
    for (int k = 1; k < size_; ++k) {
      const int r = after(me_, k, size_);
      const Source& f = g_.sources[static_cast<std::size_t>(r)];
      const Wanted& w = g_.wanted[static_cast<std::size_t>(r)];
      if (f.where != Where::ring && f.where != Where::nowhere) fetch(g_, r, f, w.to, 0, w.bytes, t_.streaming);
    }
  }

  void prepare_ring() {
    std::uint64_t largest = 0;
    for (const Block& b : t_.offer.blocks) largest = std::max(largest, b.bytes);
    pieces_ = cut(g_.shape(), t_.one_for_all, size_, element_bytes_, t_.offer.cut_for(largest));
    rounds_out_ = pieces_.rounds(largest);
    ring_ = g_.host().heap().at(g_.slot(q_).source_at);
    ring_slots_ = g_.slot(q_).ring_slots;
  }

  void stage(std::uint64_t i) {
    // Two that both take themselves for the root would wait for each other: look what readers call.
    if (i == ring_slots_) for_readers([&](int r) { g_.wait_slot(q_, r); });
    if (i >= ring_slots_) for_readers([&](int r) { g_.wait_word(g_.peer(r).control->progress.consumed, at_step(q_, i - ring_slots_ + 1), r); });
    std::byte* slot = ring_ + i % ring_slots_ * pieces_.slot;
    for (std::size_t d = 0; d < t_.offer.blocks.size(); ++d) {
      const Block& b = t_.offer.blocks[d];
      const std::uint64_t n = pieces_.length(i, b.bytes);
      if (n != 0 && (t_.one_for_all || static_cast<int>(d) != me_))
        g_.stage(slot + place_in_slot(pieces_, t_.one_for_all, me_, static_cast<int>(d)), b.data + pieces_.begin(i), n);
    }
    g_.advance(g_.mine().control->progress.staged, at_step(q_, i + 1));
    if (t_.one_for_all) copy_own(pieces_.begin(i), pieces_.piece);
  }

  void consume(std::uint64_t i) {
    for (int k = 1; k < size_; ++k) {
      const int r = after(me_, k, size_);
      if (t_.only_source >= 0 && r != t_.only_source) continue;
      const Source& f = g_.sources[static_cast<std::size_t>(r)];
      const Wanted& w = g_.wanted[static_cast<std::size_t>(r)];
      const std::uint64_t n = f.where == Where::ring ? f.pieces.length(i, w.bytes) : 0;
      if (n == 0) continue;
      g_.wait_word(g_.peer(r).control->progress.staged, at_step(q_, i + 1), r);
      const std::byte* from = f.at + i % f.ring_slots * f.pieces.slot + place_in_slot(f.pieces, t_.one_for_all, r, me_);
      if (t_.streaming) kernels::copy_streaming(w.to + f.pieces.begin(i), from, n);
      else kernels::copy(w.to + f.pieces.begin(i), from, n);
    }
    g_.advance(g_.mine().control->progress.consumed, at_step(q_, i + 1));
  }

  Group& g_;
  const std::uint64_t q_;
  const Transfer& t_;
  const std::uint32_t element_bytes_;
  const int me_, size_;
  Where where_ = Where::nowhere;
  Pieces pieces_;
  std::byte* ring_ = nullptr;
  std::uint64_t ring_slots_ = 1, rounds_out_ = 0, rounds_in_ = 0;
  const StagingLease lease_{g_};
  int bad_peer_ = -1;
  std::string bad_text_;
};

}  // namespace

void move(Group& g, std::uint64_t q, const Plan& plan, const Transfer& t) { Mover(g, q, t, plan.call.element_bytes).run(); }

}  // namespace libcoll::xport::shm
