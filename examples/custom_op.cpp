// A user's operation on a user's record: merging running means and variances (Chan, Golub, LeVeque
// 1979). Ranks are combined in rank order, so the operation need not commute.
#include <libcoll/libcoll.hpp>

#include <cmath>
#include <cstdio>

namespace {

struct Moments { double count, mean, m2; };

// inout = in (op) inout, where `in` comes from lower ranks.
void merge(const void* in, void* inout, std::size_t count, libcoll::DType, void*) {
  const auto* a = static_cast<const Moments*>(in);
  auto* b = static_cast<Moments*>(inout);
  for (std::size_t i = 0; i < count; ++i) {
    const double n = a[i].count + b[i].count, delta = b[i].mean - a[i].mean;
    b[i] = {n, a[i].mean + delta * b[i].count / n, a[i].m2 + b[i].m2 + delta * delta * a[i].count * b[i].count / n};
  }
}

}  // namespace

int main() {
  using namespace libcoll;
  try {
    Comm world = Comm::from_environment();
    // Rank r has seen the single value r.
    const Moments mine{1, static_cast<double>(world.rank()), 0};
    Moments all{};
    const CustomOp op{.function = merge, .commutative = true, .element_bytes = sizeof(Moments)};
    world.allreduce(&mine, &all, 1, DType::byte, op);
    const double n = world.size(), mean = (n - 1) / 2, variance = (n * n - 1) / 12;
    if (world.rank() == 0) std::printf("mean %g, variance %g over %g ranks\n", all.mean, all.m2 / all.count, all.count);
    const bool right = all.count == n && std::abs(all.mean - mean) < 1e-9 && std::abs(all.m2 / all.count - variance) < 1e-9;
    world.close();
    return right ? 0 : 1;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
