#include "libcoll/execution/fiber.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace libcoll::exec {
namespace {

std::string message_of(const std::exception_ptr& e) {
  if (e == nullptr) return "nothing";
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    return x.what();
  } catch (...) {
    return "something else";
  }
}

// Asked anew each time: the compiler takes a thread's id for a constant of the function that asks.
[[gnu::noinline]] std::thread::id current_thread() {
  asm volatile("");
  return std::this_thread::get_id();
}

// Says when it goes.
struct Witness {
  int& gone;
  ~Witness() { ++gone; }
};

TEST(Fiber, RunsToItsEndOrToASuspension) {
  Fiber f;
  EXPECT_FALSE(f.busy());
  std::vector<int> seen;
  f.start([&] { seen.push_back(1); });
  EXPECT_FALSE(f.busy());
  f.start([&] {
    seen.push_back(2);
    f.suspend();
    seen.push_back(4);
    f.suspend();
    seen.push_back(6);
  });
  EXPECT_TRUE(f.busy());
  seen.push_back(3);
  f.resume();
  EXPECT_TRUE(f.busy());
  seen.push_back(5);
  f.resume();
  EXPECT_FALSE(f.busy());
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(f.take_error(), nullptr);
}

TEST(Fiber, SuspendsFromDeepInsideAndKeepsItsStack) {
  Fiber f;
  std::size_t sum = 0;
  const std::function<std::size_t(std::size_t)> climb = [&](std::size_t n) -> std::size_t {
    volatile char room[512] = {};
    room[n % 512] = static_cast<char>(n);
    if (n == 0) return 0;
    f.suspend();
    const std::size_t below = climb(n - 1);
    return below + n + (room[n % 512] == static_cast<char>(n) ? 0u : 1000u);
  };
  f.start([&] { sum = climb(100); });
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(f.busy());
    f.resume();
  }
  EXPECT_FALSE(f.busy());
  EXPECT_EQ(sum, 5050u);
}

TEST(Fiber, KeepsWhatItsWorkThrew) {
  Fiber f;
  f.start([] { throw std::runtime_error("at once"); });
  EXPECT_FALSE(f.busy());
  EXPECT_EQ(message_of(f.take_error()), "at once");
  EXPECT_EQ(f.take_error(), nullptr);
  f.start([&] {
    try {
      f.suspend();
      throw std::runtime_error("caught inside");
    } catch (const std::runtime_error&) {
    }
    f.suspend();
    throw std::logic_error("later");
  });
  // Exceptions on both stacks do not meet.
  try {
    throw std::runtime_error("outside");
  } catch (const std::runtime_error& e) {
    f.resume();
    EXPECT_STREQ(e.what(), "outside");
  }
  f.resume();
  EXPECT_EQ(message_of(f.take_error()), "later");
}

TEST(Fiber, CancelUnwindsAndItWorksAgain) {
  Fiber f;
  int gone = 0, reached = 0;
  f.start([&] {
    const Witness w{gone};
    f.suspend();
    ++reached;
  });
  f.cancel();
  EXPECT_FALSE(f.busy());
  EXPECT_EQ(gone, 1);
  EXPECT_EQ(reached, 0);
  EXPECT_EQ(f.take_error(), nullptr);
  f.cancel();  // nothing to cancel
  f.start([&] { ++reached; });
  EXPECT_EQ(reached, 1);
  // Work that goes on after having been told is told again.
  int told = 0;
  f.start([&] {
    for (int i = 0; i < 3; ++i) {
      try {
        f.suspend();
      } catch (const Fiber::Abandoned&) {
        ++told;
      }
    }
  });
  f.cancel();
  EXPECT_EQ(told, 3);
  EXPECT_FALSE(f.busy());
  f.start([&] { f.suspend(); });  // no longer cancelled
  EXPECT_TRUE(f.busy());
  f.resume();
  EXPECT_FALSE(f.busy());
}

TEST(Fiber, DestructionUnwindsSuspendedWork) {
  int gone = 0;
  {
    Fiber f;
    f.start([&] {
      const Witness outer{gone};
      const auto inner = [&] {
        const Witness w{gone};
        f.suspend();
      };
      inner();
    });
    EXPECT_EQ(gone, 0);
  }
  EXPECT_EQ(gone, 2);
  Fiber never_used;
}

TEST(Fiber, GoesOnInAnotherThread) {
  Fiber f;
  std::vector<std::thread::id> where;
  f.start([&] {
    for (int i = 0; i < 4; ++i) {
      where.push_back(current_thread());
      f.suspend();
    }
    throw std::runtime_error("from the last thread");
  });
  for (int i = 0; i < 3; ++i) std::thread([&] { f.resume(); }).join();
  std::thread([&] { f.resume(); }).join();
  EXPECT_FALSE(f.busy());
  ASSERT_EQ(where.size(), 4u);
  EXPECT_EQ(where[0], std::this_thread::get_id());
  EXPECT_NE(where[1], where[0]);
  EXPECT_EQ(message_of(f.take_error()), "from the last thread");
}

TEST(Fiber, ManyAtOnce) {
  constexpr std::size_t many = 64;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<int> steps(many);
  for (std::size_t i = 0; i < many; ++i) {
    fibers.push_back(std::make_unique<Fiber>());
    Fiber& f = *fibers.back();
    f.start([&f, &step = steps[i]] {
      for (; step < 10; ++step) f.suspend();
    });
  }
  for (int round = 0; round < 10; ++round)
    for (auto& f : fibers) f->resume();
  for (std::size_t i = 0; i < many; ++i) {
    EXPECT_FALSE(fibers[i]->busy());
    EXPECT_EQ(steps[i], 10);
  }
}

}  // namespace
}  // namespace libcoll::exec
