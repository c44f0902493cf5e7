#include <cstring>

#include "tests/multiproc/context.hpp"

namespace libcoll::test {

namespace {

constexpr const char* names[] = {"bcast", "allgather", "gather", "scatter", "alltoall"};
constexpr int to_all = -1;

class Check {
 public:
  Check(Context& c, Movement kind, DType dtype, const Shape& s)
      : c_(c), kind_(kind), dtype_(dtype), s_(s), form_(c.draw_form()), tag_(c.draw()), block_(s.count * size_of(dtype)),
        ranks_(static_cast<std::size_t>(c.size)), me_(static_cast<std::size_t>(c.rank)), root_(c.rank == s.root) {
    what_ = std::string(names[static_cast<int>(kind)]) + " " + name_of(dtype) + ", count " + std::to_string(s.count) +
            ", root " + std::to_string(s.root) + (s.in_place ? ", in place, " : ", ") + name_of(form_);
  }

  void run() {
    for (int k = 0; k == 0 || k < calling_.times; ++k) {
      data_ = tag_ + static_cast<std::uint64_t>(k);
      once(k == 0);
    }
  }

 private:
  void once(bool first) {
    if (kind_ == Movement::bcast) return bcast(first);
    const bool rooted = kind_ == Movement::gather || kind_ == Movement::scatter;
    const bool sends = kind_ != Movement::scatter || root_, receives = kind_ != Movement::gather || root_;
    const bool many_out = kind_ == Movement::scatter || kind_ == Movement::alltoall;
    const bool many_in = kind_ != Movement::scatter;
    const bool in_place = s_.in_place && (!rooted || root_);
    Region send, recv;
    if (sends && !(in_place && kind_ != Movement::scatter)) send = take(c_.send_store, many_out ? ranks_ : 1, 0);
    if (receives && !(in_place && kind_ == Movement::scatter)) recv = take(c_.recv_store, many_in ? ranks_ : 1, 1);
    fill(send, recv, in_place);
    const Bytes send_before(send.data, send.data + send.bytes);
    if (first) calling_ = call(in_place && kind_ != Movement::scatter ? static_cast<const void*>(libcoll::in_place) : send.data,
         in_place && kind_ == Movement::scatter ? const_cast<void*>(static_cast<const void*>(libcoll::in_place)) : recv.data);
    calling_.run();
    c_.expect_intact(what_, send, recv);
    c_.expect(what_ + ": send buffer afterwards", send.data, send_before.data(), send.bytes);
    if (receives && recv.data != nullptr) expect_received(recv, many_in);
  }

  Region take(Store& store, std::size_t blocks, int which) {
    return store.take(blocks * block_, size_of(dtype_), c_.place(tag_, which));
  }
  unsigned char* at(const Region& r, std::size_t block) const { return r.data + block * block_; }
  // The block that `from` sends `to`.
  void put(unsigned char* to, int from, int receiver) const {
    const bool one = kind_ == Movement::allgather || kind_ == Movement::gather || kind_ == Movement::bcast;
    if (block_ != 0) fill_block(to, block_, data_, from, one ? to_all : receiver);
  }

  void fill(const Region& send, const Region& recv, bool in_place) const {
    if (kind_ == Movement::alltoall) {
      const Region& r = in_place ? recv : send;
      for (std::size_t d = 0; d < ranks_; ++d) put(at(r, d), c_.rank, static_cast<int>(d));
    } else if (kind_ == Movement::scatter) {
      if (root_)
        for (std::size_t d = 0; d < ranks_; ++d) put(at(send, d), c_.rank, static_cast<int>(d));
    } else if (in_place) {
      put(at(recv, me_), c_.rank, to_all);
    } else {
      put(send.data, c_.rank, to_all);
    }
  }

  void expect_received(const Region& recv, bool many) const {
    Bytes want(recv.bytes);
    if (many)
      for (std::size_t r = 0; r < ranks_; ++r) put(want.data() + r * block_, static_cast<int>(r), c_.rank);
    else put(want.data(), s_.root, c_.rank);
    c_.expect(what_, recv.data, want.data(), want.size());
  }

  void bcast(bool first) {
    Region buffer = take(c_.recv_store, 1, 1);
    if (root_) put(buffer.data, c_.rank, to_all);
    if (first) {
      const CallOptions o{.algorithm = s_.algorithm};
      calling_ = CALL_IN_FORM(form_, c_.comm, bcast, buffer.data, static_cast<Count>(s_.count), dtype_, s_.root, o);
    }
    calling_.run();
    c_.expect_intact(what_, {}, buffer);
    Bytes want(block_);
    put(want.data(), s_.root, to_all);
    c_.expect(what_, buffer.data, want.data(), block_);
  }

  Calling call(const void* send, void* recv) {
    const CallOptions o{.algorithm = s_.algorithm};
    const auto n = static_cast<Count>(s_.count);
    switch (kind_) {
      case Movement::bcast: break;
      case Movement::allgather: return CALL_IN_FORM(form_, c_.comm, allgather, send, recv, n, dtype_, o);
      case Movement::gather: return CALL_IN_FORM(form_, c_.comm, gather, send, recv, n, dtype_, s_.root, o);
      case Movement::scatter: return CALL_IN_FORM(form_, c_.comm, scatter, send, recv, n, dtype_, s_.root, o);
      case Movement::alltoall: return CALL_IN_FORM(form_, c_.comm, alltoall, send, recv, n, dtype_, o);
    }
    return {};
  }

  Context& c_;
  const Movement kind_;
  const DType dtype_;
  const Shape& s_;
  const Form form_;
  const std::uint64_t tag_;  // of buffers
  std::uint64_t data_ = 0;   // of what is in them
  Calling calling_;
  const std::size_t block_, ranks_, me_;
  const bool root_;
  std::string what_;
};

}  // namespace

void check(Context& c, Movement kind, DType dtype, const Shape& s) {
  const std::size_t blocks = kind == Movement::bcast ? 1 : static_cast<std::size_t>(c.size);
  if (c.fits(s.count * size_of(dtype) * blocks)) Check(c, kind, dtype, s).run();
}

}  // namespace libcoll::test
