// A training-like loop: the same allreduce on the same buffers, step after step, planned once. Buffers
// from Comm::allocate are reduced in place, without copies.
#include <libcoll/libcoll.hpp>

#include <cmath>
#include <cstdio>

int main() {
  using namespace libcoll;
  try {
    Comm world = Comm::from_environment();
    constexpr std::size_t parameters = 1 << 18;
    constexpr int steps = 20;
    Buffer memory = world.allocate(parameters * sizeof(float));
    const std::span<float> gradient = memory.span<float>();
    Persistent average = world.plan_allreduce(in_place, gradient.data(), static_cast<Count>(gradient.size()), DType::f32, Op::avg);
    double weight = 0;
    for (int step = 0; step < steps; ++step) {
      for (std::size_t i = 0; i < parameters; ++i) gradient[i] = static_cast<float>(world.rank() + step);
      average.start();
      average.wait();
      weight += gradient[parameters / 2];
    }
    // The mean of rank + step over ranks, summed over steps.
    const double expected = steps * ((world.size() - 1) / 2.0 + (steps - 1) / 2.0);
    if (world.rank() == 0) std::printf("weight %g, expected %g\n", weight, expected);
    const bool right = std::abs(weight - expected) < 1e-3;
    memory = Buffer();
    world.close();
    return right ? 0 : 1;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
