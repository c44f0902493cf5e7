// One rank of a collective with real data: its buffers, its arguments, and what it must receive.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "tests/support/proofs.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {

using detail::Args;
using detail::Call;
using detail::Coll;

inline constexpr std::uint64_t communicator = 7;
inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// All elements have 8 bytes: doubles, or for operations that do not commute the map x -> a x + b of 32 bits each.
struct Affine { std::uint32_t a, b; };
inline void compose(const void* in, void* inout, std::size_t count, DType, void*) {
  for (std::size_t i = 0; i < count; ++i) {
    Affine l, r;
    std::memcpy(&l, static_cast<const std::byte*>(in) + i * sizeof l, sizeof l);
    std::memcpy(&r, static_cast<const std::byte*>(inout) + i * sizeof r, sizeof r);
    r = {l.a * r.a, l.a * r.b + l.b};
    std::memcpy(static_cast<std::byte*>(inout) + i * sizeof r, &r, sizeof r);
  }
}
inline const CustomOp affine{.function = compose, .element_bytes = sizeof(Affine)};

using Element = std::uint64_t;  // its bits
inline constexpr Element untouched = 0xA5A5A5A5A5A5A5A5u;

inline bool reduces(Coll c) {
  return c == Coll::reduce || c == Coll::allreduce || c == Coll::scan || c == Coll::exscan || c == Coll::reduce_scatter || c == Coll::reduce_scatter_block;
}

// One rank's buffers, arguments and expected results.
class Rank {
 public:
  Rank(const sched::Problem& p, int rank, std::uint64_t tag) : p_(p), me_(rank), n_(p.size), tag_(tag), root_(rank == p.root) {
    switch (p.coll) {
      case Coll::gatherv:
      case Coll::scatterv: counts_ = p.block_counts; break;
      case Coll::alltoallv:
        for (int r = 0; r < n_; ++r) {
          out_.push_back(p.block_counts[at(me_ * n_ + r)]);
          counts_.push_back(p.block_counts[at(r * n_ + me_)]);
        }
        break;
      default: counts_ = p.counts;
    }
    displs_ = places(counts_);
    out_displs_ = places(out_);
    define();
  }

  Call call() const {
    const bool custom = reduces(p_.coll) && !p_.commutative;
    Call c{.coll = p_.coll, .dtype = custom ? DType::byte : DType::f64, .op = custom ? Op::custom : p_.averages ? Op::avg : Op::sum,
           .root = static_cast<std::uint32_t>(p_.root), .count = p_.count, .element_bytes = sizeof(Element), .in_place = in_place()};
    c.commutative = !custom;
    return c;
  }
  bool in_place() const { return p_.in_place && sched::may_be_in_place(p_, me_); }

  Args args() {
    Args a{.send = send_.data(), .recv = recv_.data(), .custom = &affine};
    const auto data = [](const std::vector<std::int64_t>& v) { return v.data(); };
    switch (p_.coll) {
      case Coll::allgatherv: a.recv_counts = data(counts_), a.recv_displs = data(displs_), a.local_count = counts_[at(me_)]; break;
      case Coll::gatherv:
        if (root_) a.recv_counts = data(counts_), a.recv_displs = data(displs_);
        a.local_count = counts_[at(me_)];
        break;
      case Coll::scatterv:
        if (root_) a.send_counts = data(counts_), a.send_displs = data(displs_);
        a.local_count = counts_[at(me_)];
        break;
      case Coll::alltoallv:
        a.send_counts = data(out_), a.send_displs = data(out_displs_), a.recv_counts = data(counts_), a.recv_displs = data(displs_);
        a.local_count = counts_[at(me_)];
        break;
      case Coll::reduce_scatter: a.recv_counts = data(counts_), a.local_count = counts_[at(me_)]; break;
      case Coll::bcast: a.send = nullptr; break;
      default: break;
    }
    if (in_place() && p_.coll == Coll::scatter) a.recv = send_.data() + at(me_ * p_.count);
    else if (in_place()) a.send = recv_.data() + (p_.coll == Coll::allgather || p_.coll == Coll::gather ? at(me_ * p_.count) : 0);
    return a;
  }

  std::string wrong() const {
    for (std::size_t i = 0; i < want_.size(); ++i) {
      if (recv_[i] == want_[i]) continue;
      double got, want;
      std::memcpy(&got, &recv_[i], 8);
      std::memcpy(&want, &want_[i], 8);
      if (p_.averages && std::abs(got - want) <= 1e-12 * std::abs(want)) continue;
      return "rank " + std::to_string(me_) + ": element " + std::to_string(i) + " of " + std::to_string(want_.size()) + " is " + std::to_string(got) + " and not " + std::to_string(want);
    }
    return send_ == before_ || in_place() ? "" : "rank " + std::to_string(me_) + ": the send buffer was written";
  }

 private:
  // With gaps, in reversed order.
  std::vector<std::int64_t> places(const std::vector<std::int64_t>& counts) const {
    std::vector<std::int64_t> d(counts.size());
    std::int64_t end = 0;
    for (std::size_t r = counts.size(); r-- > 0;) d[r] = end + 1, end = d[r] + counts[r];
    return d;
  }
  static std::size_t extent(const std::vector<std::int64_t>& counts) { return at(std::accumulate(counts.begin(), counts.end(), static_cast<std::int64_t>(counts.size() + 1))); }

  // Element i of what `from` contributes, to `to` where it sends each another.
  Element value(int from, std::int64_t i, int to = 0) const {
    const std::uint64_t h = mixed(tag_, static_cast<std::uint64_t>(from), static_cast<std::uint64_t>(i) * 64 + static_cast<std::uint64_t>(to));
    Element e;
    if (reduces(p_.coll) && !p_.commutative) {
      const Affine a{static_cast<std::uint32_t>(h) | 1, static_cast<std::uint32_t>(h >> 32)};
      std::memcpy(&e, &a, 8);
    } else {
      const auto d = static_cast<double>(h % 100000);
      std::memcpy(&e, &d, 8);
    }
    return e;
  }
  Element fold(int last, std::int64_t i) const {
    Element sum = value(0, i);
    for (int r = 1; r <= last; ++r) {
      Element next = value(r, i);
      if (p_.commutative) {
        double x, y;
        std::memcpy(&x, &sum, 8), std::memcpy(&y, &next, 8);
        x += y;
        std::memcpy(&sum, &x, 8);
      } else {
        compose(&sum, &next, 1, DType::byte, nullptr);
        sum = next;
      }
    }
    if (p_.averages) {
      double x;
      std::memcpy(&x, &sum, 8);
      x /= n_;
      std::memcpy(&sum, &x, 8);
    }
    return sum;
  }

  void put(std::vector<Element>& to, std::int64_t from, std::int64_t count, auto f) {
    for (std::int64_t i = 0; i < count; ++i) to[at(from + i)] = f(i);
  }
  void define() {
    const std::int64_t k = p_.count;
    const std::int64_t total = std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
    const auto own = [&](std::int64_t i) { return value(me_, i); };
    const auto size = [](std::vector<Element>& v, std::int64_t n) { v.assign(at(n), untouched); };
    const auto operand = [&](std::int64_t count, std::int64_t room) {  // in recv if in place
      size(recv_, in_place() ? std::max(count, room) : room);
      if (!in_place()) size(send_, count);
      put(in_place() ? recv_ : send_, 0, count, own);
    };
    const auto result = [&](std::int64_t from, std::int64_t count, int last) {
      want_ = recv_;
      if (in_place()) want_.resize(at(count));  // the rest may have been used
      put(want_, 0, count, [&](std::int64_t i) { return fold(last, from + i); });
    };
    switch (p_.coll) {
      case Coll::barrier: break;
      case Coll::bcast:
        size(recv_, k);
        if (root_) put(recv_, 0, k, own);
        size(want_, k);
        put(want_, 0, k, [&](std::int64_t i) { return value(p_.root, i); });
        break;
      case Coll::allreduce: operand(k, k), result(0, k, n_ - 1); break;
      case Coll::reduce:
        operand(k, root_ ? k : 0);
        if (root_) result(0, k, n_ - 1);
        break;
      case Coll::scan: operand(k, k), result(0, k, me_); break;
      case Coll::exscan:
        operand(k, k);
        if (me_ == 0) want_ = recv_;
        else result(0, k, me_ - 1);
        break;
      case Coll::reduce_scatter_block: operand(k * n_, k), result(me_ * k, k, n_ - 1); break;
      case Coll::reduce_scatter:
        operand(total, counts_[at(me_)]);
        result(std::accumulate(counts_.begin(), counts_.begin() + me_, std::int64_t{0}), counts_[at(me_)], n_ - 1);
        break;
      case Coll::allgather:
      case Coll::gather: {
        const bool receives = p_.coll == Coll::allgather || root_;
        size(recv_, receives ? n_ * k : 0);
        if (in_place()) put(recv_, me_ * k, k, own);
        else size(send_, k), put(send_, 0, k, own);
        want_ = recv_;
        for (int r = 0; receives && r < n_; ++r) put(want_, r * k, k, [&](std::int64_t i) { return value(r, i); });
        break;
      }
      case Coll::scatter:
        if (root_) size(send_, n_ * k);
        for (int r = 0; root_ && r < n_; ++r) put(send_, r * k, k, [&](std::int64_t i) { return value(me_, i, r); });
        if (in_place()) break;
        size(recv_, k), size(want_, k);
        put(want_, 0, k, [&](std::int64_t i) { return value(p_.root, i, me_); });
        break;
      case Coll::alltoall:
        size(recv_, n_ * k), size(want_, n_ * k);
        if (!in_place()) size(send_, n_ * k);
        for (int r = 0; r < n_; ++r) {
          put(in_place() ? recv_ : send_, r * k, k, [&](std::int64_t i) { return value(me_, i, r); });
          put(want_, r * k, k, [&](std::int64_t i) { return value(r, i, me_); });
        }
        break;
      case Coll::allgatherv:
      case Coll::gatherv: {
        const bool receives = p_.coll == Coll::allgatherv || root_;
        size(send_, counts_[at(me_)]), put(send_, 0, counts_[at(me_)], own);
        recv_.assign(receives ? extent(counts_) : 0, untouched);
        want_ = recv_;
        for (int r = 0; receives && r < n_; ++r) put(want_, displs_[at(r)], counts_[at(r)], [&](std::int64_t i) { return value(r, i); });
        break;
      }
      case Coll::scatterv:
        if (root_) send_.assign(extent(counts_), untouched);
        for (int r = 0; root_ && r < n_; ++r) put(send_, displs_[at(r)], counts_[at(r)], [&](std::int64_t i) { return value(me_, i, r); });
        size(recv_, counts_[at(me_)]), size(want_, counts_[at(me_)]);
        put(want_, 0, counts_[at(me_)], [&](std::int64_t i) { return value(p_.root, i, me_); });
        break;
      case Coll::alltoallv:
        send_.assign(extent(out_), untouched);
        recv_.assign(extent(counts_), untouched);
        want_ = recv_;
        for (int r = 0; r < n_; ++r) {
          put(send_, out_displs_[at(r)], out_[at(r)], [&](std::int64_t i) { return value(me_, i, r); });
          put(want_, displs_[at(r)], counts_[at(r)], [&](std::int64_t i) { return value(r, i, me_); });
        }
        break;
    }
    before_ = send_;
  }

  const sched::Problem& p_;
  const int me_, n_;
  const std::uint64_t tag_;
  const bool root_;
  std::vector<std::int64_t> counts_, displs_, out_, out_displs_;
  std::vector<Element> send_, recv_, want_, before_;
};

}  // namespace libcoll::test
