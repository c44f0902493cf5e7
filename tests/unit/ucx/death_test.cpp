// Peers that are killed while they do this or that.
#include <signal.h>
#include <unistd.h>

#include <deque>

#include "tests/unit/ucx/support.hpp"

namespace libcoll::test {
namespace {

using xport::Messenger;
using xport::Transfer;
using xport::UcxOptions;

class UcxDeath : public testing::TestWithParam<bool> {
 protected:
  UcxOptions options() const { return {.exclude_shared_memory = GetParam(), .keepalive_s = 0.5}; }
};
INSTANTIATE_TEST_SUITE_P(Transports, UcxDeath, testing::Values(true, false),
                         [](const auto& i) { return i.param ? "without_shared_memory" : "all"; });

void expect_all_good(Board& board, const std::vector<Processes::End>& ends, int killed) {
  for (std::size_t r = 0; r < ends.size(); ++r) {
    if (static_cast<int>(r) == killed) continue;
    EXPECT_TRUE(ends[r].good()) << "rank " << r << ": code " << ends[r].exit_code << " signal " << ends[r].signal << " " << board.text_of(static_cast<int>(r));
  }
}

// Both ways, so that an endpoint exists on either side.
void exchange(Messenger& m, int other, std::uint32_t n) {
  Transfer s, r;
  char out = 1, in = 0;
  m.recv(other, {1, n, 0}, &in, 1, r);
  m.send(other, {1, n, 0}, &out, 1, s);
  finish_all(m, {&s, &r});
  require_done(s), require_done(r);
}

TEST_P(UcxDeath, ProcessesExchange) {
  Board board(3);
  Processes ranks(board, 3, [&](int me) {
    const auto m = make_messenger(board, me, 3, options());
    const int to = (me + 1) % 3, from = (me + 2) % 3;
    for (std::uint32_t n = 0; n < 50; ++n) {
      const std::size_t bytes = n % 10 == 9 ? huge : n * 100;
      Transfer s, r;
      Bytes in(bytes);
      const Bytes out = block(bytes, n, me);
      m->send(to, {1, n, 0}, out.data(), bytes, s);
      m->recv(from, {1, n, 0}, in.data(), bytes, r);
      finish_all(*m, {&s, &r});
      require_done(s), require_done(r);
      require(in == block(bytes, n, from), "data");
    }
    return 0;
  });
  expect_all_good(board, ranks.wait(60), -1);
}

// Survivors name the dead in whatever they wait for, and go on with each other.
TEST_P(UcxDeath, ThePendingFailAndNameIt) {
  Board board(3);
  Processes ranks(board, 3, [&](int me) {
    const auto m = make_messenger(board, me, 3, options());
    for (int r = 0; r < 3; ++r)
      if (r != me) exchange(*m, r, 0);
    ++board.word(0);
    if (me == 1) progress_until(*m, 60, [] { return false; });
    Bytes buffer(huge), other(huge);
    Transfer small, large, signal, sent;
    m->recv(1, {1, 1, 0}, buffer.data(), 8, small);
    m->recv(1, {1, 2, 0}, buffer.data() + 8, huge - 8, large);
    m->recv(1, {1, 3, 0}, nullptr, 0, signal);
    m->send(1, {1, 4, 0}, other.data(), huge, sent);  // never asked for
    finish_all(*m, {&small, &large, &signal, &sent}, 30);
    for (const Transfer* t : {&small, &large, &signal}) {
      require(t->state == Transfer::State::failed, "done, although its sender is dead");
      require(t->error.find("rank 1") != std::string::npos, t->error);
    }
    std::string why;
    require(m->lost_peer(&why) == 1, "the lost peer");
    require(why.find("rank 1") != std::string::npos, why);
    Transfer again, back;
    m->send(1, {1, 5, 0}, buffer.data(), 8, again);
    m->recv(1, {1, 5, 0}, buffer.data(), 8, back);
    require(again.state == Transfer::State::failed && back.state == Transfer::State::failed, "later ones do not fail at once");
    exchange(*m, 2 - me, 6);
    return 0;
  });
  ASSERT_TRUE(wait_until(60, [&] { return board.word(0) == 3; }));
  usleep(100'000);
  ranks.signal(1, SIGKILL);
  expect_all_good(board, ranks.wait(60), 1);
}

// Killed at any moment of a busy exchange: nobody crashes or hangs. All are connected before: UCX 1.13.1 itself stops a
// process ("tcp_ep.c:478 Assertion") if a peer dies within the milliseconds between connecting to it and being answered.
// Disabled since it may also fail later ("uct_iface.h:884 Assertion comp->count > 0", in a large send; one run in four
// over TCP with UCX 1.13.1): run it by hand with --gtest_also_run_disabled_tests, and here again with a newer UCX.
TEST_P(UcxDeath, DISABLED_AtAnyMoment) {
  const int trials = std::max(2, static_cast<int>(12 * test_scale()));
  for (int trial = 0; trial < trials; ++trial) {
    Board board(3);
    Processes ranks(board, 3, [&](int me) {
      const auto m = make_messenger(board, me, 3, options());
      for (int r = 0; r < 3; ++r)
        if (r != me) exchange(*m, r, 1u << 31);
      meet(*m, board, 1, 3);
      ++board.word(0);
      const std::size_t sizes[] = {8, 20'000, huge, 0, 300'000};
      std::vector<Bytes> in(2, Bytes(huge)), out(2, Bytes(huge));
      for (std::uint32_t n = 1;; ++n) {
        std::deque<Transfer> transfers;
        std::vector<Transfer*> all;
        for (int i = 1; i < 3; ++i) {
          const int r = (me + i) % 3;
          const auto k = static_cast<std::size_t>(i - 1);
          const std::size_t bytes = sizes[n % 5];
          m->recv(r, {1, n, 0}, in[k].data(), bytes, transfers.emplace_back());
          m->send(r, {1, n, 0}, out[k].data(), bytes, transfers.emplace_back());
        }
        for (Transfer& t : transfers) all.push_back(&t);
        // Another survivor may have left already: what waits for it fails as well.
        if (!progress_until(*m, 30, [&] {
              for (const Transfer* t : all)
                if (!t->finished() && m->lost_peer(nullptr) < 0) return false;
              return true;
            }))
          throw std::runtime_error("the death was not noticed");
        bool failed = m->lost_peer(nullptr) >= 0;
        for (const Transfer* t : all) failed |= t->state == Transfer::State::failed;
        if (!failed) continue;
        for (Transfer* t : all) {
          m->cancel(*t);
          require(t->finished(), "pending after cancel()");
        }
        return 0;
      }
    });
    ASSERT_TRUE(wait_until(60, [&] { return board.word(0) == 3; }));
    usleep(static_cast<useconds_t>(mixed(test_seed(), static_cast<std::uint64_t>(trial)) % 60'000));
    ranks.signal(trial % 3, SIGKILL);
    expect_all_good(board, ranks.wait(60), trial % 3);
  }
}

// A peer that does nothing at all doesn't keep others from closing.
TEST_P(UcxDeath, ClosingWaitsForNobodyForLong) {
  Board board(2);
  Processes ranks(board, 2, [&](int me) {
    auto m = make_messenger(board, me, 2, {.exclude_shared_memory = GetParam(), .linger_s = 0.2});
    exchange(*m, 1 - me, 0);
    if (me == 1) {
      board.word(0) = 1;
      for (;;) pause();
    }
    require(wait_until(30, [&] { return board.word(0) != 0; }), "the other did not come");
    Bytes data(huge);
    Transfer t;
    m->send(1, {1, 1, 0}, data.data(), huge, t);
    m.reset();
    require(t.finished(), "pending although its messenger is gone");
    return 0;
  });
  EXPECT_TRUE(ranks.wait_for(0, 30));
  ranks.signal(1, SIGKILL);
  expect_all_good(board, ranks.wait(10), 1);
}

}  // namespace
}  // namespace libcoll::test
