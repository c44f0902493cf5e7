#include "judge.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace libcoll::pmpi {

namespace {

bool is_floating(DType t) noexcept { return t == DType::f32 || t == DType::f64 || parts_of(t) == 2; }

template <class T>
class Judge {
 public:
  Judge(const std::byte* ours, const std::byte* mpis, const Terms& t) : ours_(ours), mpis_(mpis), terms_(t), parts_(parts_of(t.dtype)) {}

  bool agree(std::int64_t element, double& allowed) const noexcept {
    for (int part = 0; part < parts_; ++part)
      if (!agree_in_part(element * parts_ + part, element, allowed)) return false;
    return true;
  }

 private:
  static double value(const std::byte* from, std::int64_t at) noexcept {
    T v;
    std::memcpy(&v, from + static_cast<std::size_t>(at) * sizeof v, sizeof v);
    return static_cast<double>(v);
  }
  bool agree_in_part(std::int64_t at, std::int64_t element, double& allowed) const noexcept {
    const double a = value(ours_, at), b = value(mpis_, at);
    allowed = 0;
    if (a == b || (std::isnan(a) && std::isnan(b))) return true;
    const double unit = 2.0 * terms_.ranks * (std::numeric_limits<T>::epsilon() / 2);
    switch (terms_.by) {
      case Terms::By::bits:
      case Terms::By::value: return false;
      case Terms::By::sum: {
        const double s = terms_.magnitudes[static_cast<std::size_t>(at)];
        if (s > static_cast<double>(std::numeric_limits<T>::max())) return true;
        allowed = unit * s;
        break;
      }
      case Terms::By::product:
        allowed = parts_ == 2 ? 4 * unit * std::hypot(value(mpis_, element * 2), value(mpis_, element * 2 + 1)) : unit * std::fabs(b);
        break;
    }
    return std::fabs(a - b) <= allowed;  // false if only one is finite
  }

  const std::byte *ours_, *mpis_;
  const Terms& terms_;
  int parts_;
};

}  // namespace

Terms terms_of(Op op, DType dtype, int ranks) noexcept {
  Terms t{.dtype = dtype, .ranks = ranks};
  if (!is_floating(dtype)) return t;
  if (op == Op::min || op == Op::max) t.by = Terms::By::value;
  if (op == Op::sum) t.by = Terms::By::sum;
  if (op == Op::prod) t.by = Terms::By::product;
  return t;
}

Verdict judge(std::span<const std::byte> ours, std::span<const std::byte> mpis, std::size_t element_bytes, const Terms& terms) noexcept {
  Verdict v;
  if (element_bytes == 0 || ours.empty() || std::memcmp(ours.data(), mpis.data(), ours.size()) == 0) return v;
  const bool is_single = terms.dtype == DType::f32 || terms.dtype == DType::c64;
  const Judge<float> single(ours.data(), mpis.data(), terms);
  const Judge<double> twice(ours.data(), mpis.data(), terms);
  const auto elements = static_cast<std::int64_t>((ours.size() + element_bytes - 1) / element_bytes);
  for (std::int64_t i = 0; i < elements; ++i) {
    const std::size_t at = static_cast<std::size_t>(i) * element_bytes, n = std::min(element_bytes, ours.size() - at);
    double allowed = 0;
    if (std::memcmp(ours.data() + at, mpis.data() + at, n) == 0) continue;
    if (terms.by != Terms::By::bits && (is_single ? single.agree(i, allowed) : twice.agree(i, allowed))) continue;
    if (v.differing++ == 0) v.first = i, v.allowed = allowed;
  }
  return v;
}

}  // namespace libcoll::pmpi
