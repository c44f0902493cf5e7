#include <cstring>
#include <numeric>

#include "tests/multiproc/context.hpp"

namespace libcoll::test {

namespace {

constexpr const char* names[] = {"allreduce", "reduce", "reduce_scatter_block", "reduce_scatter", "scan", "exscan"};

// Who gets what: elements [first, first + count) of the fold of ranks 0 .. last (none: last < 0).
struct Part {
  std::size_t first = 0, count = 0;
  int last = -1;
};

class Check {
 public:
  Check(Context& c, Reduction kind, const Operation& op, const Shape& s)
      : c_(c), kind_(kind), op_(op), s_(s), form_(c.draw_form()), tag_(c.draw()), me_(static_cast<std::size_t>(c.rank)) {
    what_ = std::string(names[static_cast<int>(kind)]) + " " + op.name + ", count " + std::to_string(s.count) +
            ", root " + std::to_string(s.root) + ", algorithm \"" + std::string(s.algorithm) + "\"" +
            (s.in_place ? ", in place, " : ", ") + name_of(form_);
    counts_.assign(static_cast<std::size_t>(c.size), static_cast<Count>(s.count));
    if (kind == Reduction::reduce_scatter)
      for (std::size_t r = 0; r < counts_.size(); ++r)
        counts_[r] = static_cast<Count>(mixed(tag_, r) % 4 == 0 ? 0 : mixed(tag_, r) % (2 * s.count + 1));
    const bool scatters = kind == Reduction::reduce_scatter_block || kind == Reduction::reduce_scatter;
    // Between hosts the order of operands is the algorithm's, unless the caller wants that of the ranks.
    fixed_order_ = c.comm.topology().host_count() == 1 || op.op.op() == Op::custom || tag_ % 2 == 0;
    if (!fixed_order_) op_.values = Values::exact;  // the same bits in any order
    if (fixed_order_) what_ += ", in rank order";
    total_ = scatters ? static_cast<std::size_t>(std::accumulate(counts_.begin(), counts_.end(), Count{0})) : s.count;
  }

  void run() {
    for (int k = 0; k == 0 || k < calling_.times; ++k) {
      data_ = tag_ + static_cast<std::uint64_t>(k);
      once(k == 0);
    }
  }

 private:
  void once(bool first) {
    const Part part = mine();
    // In place, the operand lies in the receive buffer, which has room for the whole of it.
    const bool in_place = s_.in_place && (kind_ != Reduction::reduce || c_.rank == s_.root);
    const bool receives = kind_ != Reduction::reduce || c_.rank == s_.root;
    Region recv, send;
    if (receives || tag_ % 2 == 0)
      recv = c_.recv_store.take((in_place ? total_ : part_size(part)) * op_.element, op_.element, c_.place(tag_, 1));
    if (!in_place) send = c_.send_store.take(total_ * op_.element, op_.element, c_.place(tag_, 0));
    Region& operand = in_place ? recv : send;
    if (operand.bytes != 0) op_.operand(operand.data, 0, total_, data_, c_.rank);

    if (first) calling_ = call(in_place ? static_cast<const void*>(libcoll::in_place) : send.data, recv.data);
    calling_.run();

    c_.expect_intact(what_, send, recv);
    if (!in_place) {
      Bytes before(send.bytes);
      op_.operand(before.data(), 0, total_, data_, c_.rank);
      c_.expect(what_ + ": send buffer afterwards", send.data, before.data(), send.bytes);
    }
    if (part.last < 0 || !receives) expect_as_before(recv, in_place);
    else c_.expect(what_, recv.data, expected(part).data(), part.count * op_.element);
  }

  Part mine() const {
    const int all = c_.size - 1;
    switch (kind_) {
      case Reduction::allreduce: return {0, s_.count, all};
      case Reduction::reduce: return {0, s_.count, c_.rank == s_.root ? all : -1};
      case Reduction::scan: return {0, s_.count, c_.rank};
      case Reduction::exscan: return {0, s_.count, c_.rank - 1};
      default: break;
    }
    const Count before = std::accumulate(counts_.begin(), counts_.begin() + c_.rank, Count{0});
    return {static_cast<std::size_t>(before), static_cast<std::size_t>(counts_[me_]), all};
  }
  std::size_t part_size(const Part& p) const { return p.count; }

  Bytes expected(const Part& p) const {
    std::vector<Bytes> operands(static_cast<std::size_t>(p.last) + 1, Bytes(p.count * op_.element));
    for (int r = 0; r <= p.last; ++r) op_.operand(operands[static_cast<std::size_t>(r)].data(), p.first, p.count, data_, r);
    return op_.fold(operands, p.count, c_.size);
  }

  void expect_as_before(const Region& recv, bool in_place) const {
    Bytes before(recv.bytes, Store::untouched);
    if (in_place) op_.operand(before.data(), 0, total_, data_, c_.rank);
    c_.expect(what_ + ": receive buffer that must stay", recv.data, before.data(), recv.bytes);
  }

  Calling call(const void* send, void* recv) {
    const CallOptions o{.algorithm = s_.algorithm, .determinism = fixed_order_ ? Determinism::placement : Determinism::fast};
    const auto n = static_cast<Count>(s_.count);
    switch (kind_) {
      case Reduction::allreduce: return CALL_IN_FORM(form_, c_.comm, allreduce, send, recv, n, op_.dtype, op_.op, o);
      case Reduction::reduce: return CALL_IN_FORM(form_, c_.comm, reduce, send, recv, n, op_.dtype, op_.op, s_.root, o);
      case Reduction::reduce_scatter_block: return CALL_IN_FORM(form_, c_.comm, reduce_scatter_block, send, recv, n, op_.dtype, op_.op, o);
      case Reduction::reduce_scatter: return CALL_IN_FORM(form_, c_.comm, reduce_scatter, send, recv, counts_, op_.dtype, op_.op, o);
      case Reduction::scan: return CALL_IN_FORM(form_, c_.comm, scan, send, recv, n, op_.dtype, op_.op, o);
      case Reduction::exscan: return CALL_IN_FORM(form_, c_.comm, exscan, send, recv, n, op_.dtype, op_.op, o);
    }
    return {};
  }

  Context& c_;
  const Reduction kind_;
  Operation op_;
  const Shape& s_;
  const Form form_;
  const std::uint64_t tag_;  // of buffers and counts
  std::uint64_t data_ = 0;   // of what is in them
  Calling calling_;
  const std::size_t me_;
  std::string what_;
  std::vector<Count> counts_;
  std::size_t total_ = 0;  // elements of the operand
  bool fixed_order_ = true;
};

}  // namespace

void check(Context& c, Reduction kind, const Operation& op, const Shape& s) {
  const bool scan = kind == Reduction::scan || kind == Reduction::exscan;
  if (scan && !op.scans) return;
  const std::size_t blocks = kind == Reduction::reduce_scatter ? 2 * static_cast<std::size_t>(c.size)
                             : kind == Reduction::reduce_scatter_block ? static_cast<std::size_t>(c.size) : 1;
  if (!c.fits(s.count * op.element * blocks)) return;
  Check(c, kind, op, s).run();
}

}  // namespace libcoll::test
