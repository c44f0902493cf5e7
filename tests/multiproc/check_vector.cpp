// The forms with counts and displacements. Blocks lie in a mixed order with gaps between them, and
// the bytes of the gaps must stay as they were.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "tests/multiproc/context.hpp"

namespace libcoll::test {

namespace {

constexpr const char* names[] = {"allgatherv", "gatherv", "scatterv", "alltoallv"};

struct Table {
  std::vector<Count> counts, displs;
  Count extent = 0;  // elements
};

class Check {
 public:
  Check(Context& c, VectorForm kind, DType dtype, const Shape& s)
      : c_(c), kind_(kind), dtype_(dtype), element_(size_of(dtype)), s_(s), form_(c.draw_form()), tag_(c.draw()),
        me_(static_cast<std::size_t>(c.rank)), root_(c.rank == s.root) {
    what_ = std::string(names[static_cast<int>(kind)]) + " " + name_of(dtype) + ", counts about " + std::to_string(s.count) +
            ", root " + std::to_string(s.root) + (s.in_place ? ", in place" : "") + ", tag " + std::to_string(tag_) + ", " + name_of(form_);
  }

  void run() {
    for (int k = 0; k == 0 || k < calling_.times; ++k) {
      data_ = tag_ + static_cast<std::uint64_t>(k);
      first_ = k == 0;
      once();
    }
  }

 private:
  void once() {
    switch (kind_) {
      case VectorForm::allgatherv: return collect(true);
      case VectorForm::gatherv: return collect(root_);
      case VectorForm::scatterv: return scatter();
      case VectorForm::alltoallv: return exchange();
    }
  }

  // What `from` sends `to` of; in an alltoallv in place both directions are alike. Some ranks have a lot.
  Count count_of(int from, int to) const {
    auto a = static_cast<std::uint64_t>(from), b = static_cast<std::uint64_t>(to);
    if (kind_ == VectorForm::alltoallv && s_.in_place && a > b) std::swap(a, b);
    const std::uint64_t h = mixed(tag_, a, b), most = s_.count;
    return static_cast<Count>(h % 5 == 0 ? 0 : h % 5 == 1 ? most : (h >> 8) % (most / 8 + 1));
  }
  Table table(const std::vector<Count>& counts, int owner) const {
    Table t{counts, std::vector<Count>(counts.size())};
    std::vector<std::size_t> order(counts.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return mixed(tag_ + 1, a, static_cast<std::uint64_t>(owner)) < mixed(tag_ + 1, b, static_cast<std::uint64_t>(owner));
    });
    for (const std::size_t r : order) {
      t.extent += static_cast<Count>(mixed(tag_ + 2, r) % 3);
      t.displs[r] = t.extent;
      t.extent += counts[r];
    }
    return t;
  }
  // One count for each rank, as seen by `rank`, of what goes to it (incoming) or from it.
  Table per_rank(int rank, bool incoming) const {
    std::vector<Count> counts;
    for (int r = 0; r < c_.size; ++r) {
      if (kind_ == VectorForm::allgatherv || kind_ == VectorForm::gatherv) counts.push_back(count_of(r, 0));
      else if (kind_ == VectorForm::scatterv) counts.push_back(count_of(0, r));
      else counts.push_back(incoming ? count_of(r, rank) : count_of(rank, r));
    }
    return table(counts, rank + (incoming ? 0 : c_.size));
  }
  std::size_t bytes(Count n) const { return static_cast<std::size_t>(n) * element_; }
  Region take(Store& store, Count elements, int which) { return store.take(bytes(elements), element_, c_.place(tag_, which)); }
  void put(unsigned char* to, Count n, int from, int receiver) const {
    const bool one = kind_ == VectorForm::allgatherv || kind_ == VectorForm::gatherv;
    if (n != 0) fill_block(to, bytes(n), data_, from, one ? -1 : receiver);
  }
  void put_all(unsigned char* to, const Table& t, bool incoming) const {
    for (int r = 0; r < c_.size; ++r) {
      const auto i = static_cast<std::size_t>(r);
      if (t.counts[i] != 0) put(to + bytes(t.displs[i]), t.counts[i], incoming ? r : c_.rank, incoming ? c_.rank : r);
    }
  }
  void expect_table(const Region& recv, const Table& t) const {
    Bytes want(recv.bytes, Store::untouched);
    put_all(want.data(), t, true);
    c_.expect(what_, recv.data, want.data(), want.size());
  }

  void collect(bool receives) {
    const Table t = per_rank(c_.rank, true);
    const Count own = t.counts[me_];
    const bool in_place = s_.in_place && receives;
    Region recv, send;
    if (receives) recv = take(c_.recv_store, t.extent, 1);
    if (!in_place) send = take(c_.send_store, own, 0);
    put(in_place && own != 0 ? recv.data + bytes(t.displs[me_]) : send.data, own, c_.rank, -1);
    const void* from = in_place ? static_cast<const void*>(libcoll::in_place) : send.data;
    const std::span<const Count> counts = receives ? std::span<const Count>(t.counts) : std::span<const Count>();
    const std::span<const Count> displs = receives ? std::span<const Count>(t.displs) : std::span<const Count>();
    if (first_)
      calling_ = kind_ == VectorForm::allgatherv ? CALL_IN_FORM(form_, c_.comm, allgatherv, from, own, recv.data, counts, displs, dtype_)
                                                 : CALL_IN_FORM(form_, c_.comm, gatherv, from, own, recv.data, counts, displs, dtype_, s_.root);
    calling_.run();
    c_.expect_intact(what_, send, recv);
    if (receives) expect_table(recv, t);
  }

  void scatter() {
    const Table t = per_rank(s_.root, false);
    const Count own = t.counts[me_];
    const bool in_place = s_.in_place && root_;
    Region send, recv;
    if (root_) send = take(c_.send_store, t.extent, 0), put_all(send.data, t, false);
    if (!in_place) recv = take(c_.recv_store, own, 1);
    void* to = in_place ? const_cast<void*>(static_cast<const void*>(libcoll::in_place)) : recv.data;
    const std::span<const Count> counts = root_ ? std::span<const Count>(t.counts) : std::span<const Count>();
    const std::span<const Count> displs = root_ ? std::span<const Count>(t.displs) : std::span<const Count>();
    if (first_) calling_ = CALL_IN_FORM(form_, c_.comm, scatterv, send.data, counts, displs, to, own, dtype_, s_.root);
    calling_.run();
    c_.expect_intact(what_, send, recv);
    if (in_place) return;
    Bytes want(bytes(own));
    put(want.data(), own, s_.root, c_.rank);
    c_.expect(what_, recv.data, want.data(), want.size());
  }

  void exchange() {
    const Table in = per_rank(c_.rank, true), out = per_rank(c_.rank, false);
    Region recv = take(c_.recv_store, in.extent, 1), send;
    if (s_.in_place) put_all(recv.data, in, false);
    else send = take(c_.send_store, out.extent, 0), put_all(send.data, out, false);
    const void* from = s_.in_place ? static_cast<const void*>(libcoll::in_place) : send.data;
    const std::span<const Count> out_counts = out.counts, out_displs = out.displs, in_counts = in.counts, in_displs = in.displs;
    if (first_) calling_ = CALL_IN_FORM(form_, c_.comm, alltoallv, from, out_counts, out_displs, recv.data, in_counts, in_displs, dtype_);
    calling_.run();
    c_.expect_intact(what_, send, recv);
    expect_table(recv, in);
  }

  Context& c_;
  const VectorForm kind_;
  const DType dtype_;
  const std::size_t element_;
  const Shape& s_;
  const Form form_;
  const std::uint64_t tag_;  // of buffers and counts
  std::uint64_t data_ = 0;   // of what is in them
  bool first_ = true;        // later runs of a persistent call have the tables only as it copied them
  Calling calling_;
  const std::size_t me_;
  const bool root_;
  std::string what_;
};

}  // namespace

void check(Context& c, VectorForm kind, DType dtype, const Shape& s) {
  if (c.fits((s.count + 3) * size_of(dtype) * static_cast<std::size_t>(c.size))) Check(c, kind, dtype, s).run();
}

}  // namespace libcoll::test
