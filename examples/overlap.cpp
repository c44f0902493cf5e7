// Communication beside computation: a large vector is summed over all ranks while this rank works on
// something else and looks in now and then, which moves the sum on. (With LIBCOLL_PROGRESS_THREAD=on a
// thread does that, and the calls of test() could be left out.)
#include <libcoll/libcoll.hpp>

#include <cstdio>
#include <vector>

int main() {
  using namespace libcoll;
  try {
    Comm world = Comm::from_environment();
    constexpr std::size_t elements = 1 << 20, pieces = 64;
    std::vector<float> send(elements), sum(elements), field(elements, 1.0f);
    for (std::size_t i = 0; i < elements; ++i) send[i] = static_cast<float>(world.rank() + i % 7);

    Request request = world.iallreduce(send.data(), sum.data(), elements, DType::f32, Op::sum);
    std::size_t done_after = pieces;  // pieces of work
    for (std::size_t piece = 0; piece < pieces; ++piece) {
      for (std::size_t i = piece * elements / pieces; i < (piece + 1) * elements / pieces; ++i) field[i] = 0.5f * field[i] + 2.0f;
      if (done_after == pieces && request.test()) done_after = piece + 1;
    }
    request.wait();  // only from here on `sum` may be read, and `send` be written

    const int n = world.size();
    bool right = true;
    for (std::size_t i = 0; i < elements; ++i) {
      const auto want = static_cast<float>(n * (n - 1) / 2 + n * static_cast<int>(i % 7));
      right = right && sum[i] == want && field[i] == 2.5f;
    }
    if (world.rank() == 0) std::printf("%s; the sum was there after %zu of %zu pieces of work\n", right ? "right" : "WRONG", done_after, pieces);
    world.close();
    return right ? 0 : 1;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
