// Calls on several streams and two communicators at once, in one order on all ranks.
#include <fmt/format.h>

#include <array>
#include <random>
#include <stdexcept>

#include "tests/device/device_body.hpp"
#include "tests/device/device_numbers.hpp"

namespace libcoll::test {

namespace {

constexpr std::size_t lanes = 3, calls_of_a_round = 8;

// A stream with a number on it, and what the number is to become.
struct Lane {
  explicit Lane(const device::Runtime& r) : stream(r.cuda), x(r, 1), y(r, 1) {}
  device::Stream stream;
  DeviceNumbers x, y;
  std::int64_t want = 0;
};

void call(Comm& c, Lane& lane, std::uint64_t which, std::uint64_t root) {
  const CallOptions o{.stream = lane.stream.get()};
  switch (which) {
    case 0: c.allreduce(in_place, lane.x.at(), 1, DType::i64, Op::sum, o), lane.want *= c.size(); return;
    case 1: c.bcast(lane.x.at(), 1, DType::i64, static_cast<int>(root % static_cast<std::uint64_t>(c.size())), o); return;
    case 2: c.reduce_scatter_block(in_place, lane.y.at(), 0, DType::i64, Op::sum, o); return;
    default: c.barrier(o); return;
  }
}

}  // namespace

void run_device_streams(Comm& world, const device::Runtime& runtime, std::uint64_t seed, int rounds) {
  Comm other = world.dup();
  std::array<Lane, lanes> all{Lane(runtime), Lane(runtime), Lane(runtime)};
  std::mt19937_64 random(seed);
  for (int round = 0; round < rounds; ++round) {
    for (Lane& lane : all) lane.x.set({1}), lane.want = 1;
    for (std::size_t i = 0; i < calls_of_a_round; ++i) {
      Comm& c = random() % 2 == 0 ? world : other;
      Lane& lane = all[random() % lanes];
      const std::uint64_t which = random() % 4;
      call(c, lane, which, random());
    }
    for (std::size_t i = 0; i < lanes; ++i) {
      device::require(runtime.cuda, runtime.cuda.stream_synchronize(all[i].stream.get()), "cudaStreamSynchronize");
      if (const std::int64_t got = all[i].x.get()[0]; got != all[i].want)
        throw std::runtime_error(fmt::format("rank {} of {}: streams: round {}, stream {}: {} instead of {} (seed {})", world.rank(), world.size(), round, i, got, all[i].want, seed));
    }
  }
  other.close();
}

}  // namespace libcoll::test
