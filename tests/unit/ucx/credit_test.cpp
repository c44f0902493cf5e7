// Flow control between messengers (docs/adr/0008).
#include <signal.h>

#include <algorithm>
#include <deque>

#include "tests/unit/ucx/support.hpp"
#include "transports/ucx/ucx_impl.hpp"

namespace libcoll::test {
namespace {

using xport::Messenger;
using xport::Transfer;
using xport::ucx::Flow;
using xport::ucx::UcxMessenger;

constexpr std::uint64_t A = 1, B = 2;
constexpr std::uint32_t window = Flow::window;

class UcxCredit : public Ucx {};
INSTANTIATE_TEST_SUITE_P(Transports, UcxCredit, testing::Values(true, false),
                         [](const auto& i) { return i.param ? "without_shared_memory" : "all"; });

UcxMessenger::FlowState state(const Messenger& m, int peer, std::uint64_t communicator = A) {
  return dynamic_cast<const UcxMessenger&>(m).flow_state(peer, communicator);
}

// 8-byte messages whose value is their number.
struct Stream {
  Messenger& m;
  int peer;
  std::deque<Transfer> transfers;
  std::deque<std::uint64_t> values;
  void send(std::uint64_t communicator, std::uint32_t sequence, std::uint32_t message = 0) {
    m.send(peer, {communicator, sequence, message}, &values.emplace_back(sequence * 1000ull + message), 8, transfers.emplace_back());
  }
  // Receives and checks one.
  void take(std::uint64_t communicator, std::uint32_t sequence, std::uint32_t message = 0) const {
    Transfer t;
    std::uint64_t value = 0;
    m.recv(peer, {communicator, sequence, message}, &value, 8, t);
    finish(m, t);
    require_done(t);
    require(value == sequence * 1000ull + message, "wrong value");
  }
  std::size_t done() const {
    return static_cast<std::size_t>(std::count_if(transfers.begin(), transfers.end(), [](const Transfer& t) { return t.state == Transfer::State::done; }));
  }
  void finish_good() {
    std::vector<Transfer*> all;
    for (Transfer& t : transfers) all.push_back(&t);
    finish_all(m, all);
    for (Transfer* t : all) require_done(*t);
  }
};

void connect(Messenger& m, int other) {
  Transfer s, r;
  m.send(other, {99, 0, 0}, nullptr, 0, s);
  m.recv(other, {99, 0, 0}, nullptr, 0, r);
  finish_all(m, {&s, &r});
}

// Sends `n` operations of one message; those of the window go, and no more.
void fill(Stream& s, Messenger& m, std::uint32_t n) {
  for (std::uint32_t i = 0; i < n; ++i) s.send(A, i);
  require(progress_until(m, 30, [&] { return s.done() >= std::min(n, window); }), "the window's messages do not go");
  progress_until(m, 0.05, [] { return false; });
  require(s.done() == std::min(n, window), "sent beyond the window: " + std::to_string(s.done()));
  require(state(m, s.peer).waiting == (n > window), "waiting");
}

TEST_P(UcxCredit, TheWindowHoldsAndOpens) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    Stream s{m, 1 - me, {}, {}};
    constexpr std::uint32_t n = 5 * window;
    if (me == 0) fill(s, m, n);
    meet(m, board, 0, 2);
    if (me == 0) {
      s.finish_good();
    } else {
      std::size_t most = 0;
      for (std::uint32_t i = 0; i < n; ++i) {
        s.take(A, i);
        most = std::max(most, state(m, 0).kept);
      }
      require(most <= window, "kept " + std::to_string(most));
      // One for each half of a window but those that nobody needed.
      const std::uint64_t credits = state(m, 0).credits_sent;
      require(credits >= 3 && credits <= n / Flow::tell_after, "credits: " + std::to_string(credits));
    }
    meet(m, board, 1, 2);
    require(m.traffic(1 - me).messages_sent == 1 + (me == 0 ? n : 0), "credit is counted as traffic");
  });
}

TEST_P(UcxCredit, TwoWayTrafficNeedsNoMessagesOfCredit) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    Stream s{m, 1 - me, {}, {}};
    for (std::uint32_t i = 0; i < 5 * window; ++i) {
      s.send(A, i);
      s.take(A, i);
    }
    s.finish_good();
    meet(m, board, 0, 2);
    require(state(m, 1 - me).credits_sent == 0, "credits were sent");
  });
}

TEST_P(UcxCredit, OneOperationMayHaveMoreMessagesThanTheWindow) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    Stream s{m, 1 - me, {}, {}};
    constexpr std::uint32_t n = 3 * window;
    if (me == 0) {
      for (std::uint32_t i = 0; i < n; ++i) s.send(A, 1, i);
      s.send(A, 2);
    } else {
      for (std::uint32_t i = n; i-- > 0;) s.take(A, 1, i);  // the last first
      s.take(A, 2);
    }
    s.finish_good();
    meet(m, board, 0, 2);
  });
}

// The receiver needs B's message first, and before that the early operation's second message.
TEST_P(UcxCredit, AFullWindowHoldsUpNeitherOtherCommunicatorsNorEarlierOperations) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    Stream s{m, 1 - me, {}, {}};
    constexpr std::uint32_t n = window + 20;
    if (me == 0) {
      fill(s, m, n);
      s.send(A, 3, 1);
      for (std::uint32_t i = 0; i < 10; ++i) s.send(B, i);
      meet(m, board, 0, 2);
      s.finish_good();
    } else {
      s.take(A, 3, 1);
      for (std::uint32_t i = 0; i < 10; ++i) s.take(B, i);
      meet(m, board, 0, 2);  // all of A is still where it was
      for (std::uint32_t i = 0; i < n; ++i) s.take(A, i);
    }
    meet(m, board, 1, 2);
  });
}

// Both run ahead of each other, in two communicators, in opposite order.
TEST_P(UcxCredit, BothSidesFullInOppositeOrder) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    Stream s{m, 1 - me, {}, {}};
    constexpr std::uint32_t n = 3 * window;
    const std::uint64_t first = me == 0 ? A : B, second = me == 0 ? B : A;
    for (const std::uint64_t c : {first, second})
      for (std::uint32_t i = 0; i < n; ++i) s.send(c, i);
    for (const std::uint64_t c : {first, second})
      for (std::uint32_t i = 0; i < n; ++i) s.take(c, i);
    s.finish_good();
    meet(m, board, 0, 2);
  });
}

TEST_P(UcxCredit, LargeMessagesCountToo) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    constexpr std::uint32_t n = 40;
    std::deque<Transfer> transfers;
    std::deque<Bytes> buffers;
    std::vector<Transfer*> all;
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::size_t bytes = i % 8 == 7 ? huge : 300'000;
      buffers.push_back(me == 0 ? block(bytes, i, 0) : Bytes(bytes));
      if (me == 0) {
        m.send(1, {A, i, 0}, buffers.back().data(), bytes, transfers.emplace_back());
        all.push_back(&transfers.back());
        require(state(m, 1).unconsumed < window + Flow::units(bytes), "too much");
      }
    }
    if (me == 0) require(state(m, 1).waiting, "all went at once");
    meet(m, board, 0, 2);
    for (std::uint32_t i = 0; i < n && me == 1; ++i) {
      Transfer t;
      m.recv(0, {A, i, 0}, buffers[i].data(), buffers[i].size(), t);
      finish(m, t);
      require_done(t);
      require(buffers[i] == block(buffers[i].size(), i, 0), "data");
    }
    finish_all(m, all);
    meet(m, board, 1, 2);
  });
}

TEST_P(UcxCredit, ASendThatWaitsCanBeCancelled) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    Stream s{m, 1 - me, {}, {}};
    constexpr std::uint32_t n = window + 3;
    if (me == 0) {
      fill(s, m, n);
      Transfer& gone = s.transfers[window + 1];
      m.cancel(gone);
      require(gone.state == Transfer::State::failed && gone.error.find("rank 1") != std::string::npos, gone.error);
      meet(m, board, 0, 2);
      for (const std::uint32_t i : {window, window + 2}) finish(m, s.transfers[i]), require_done(s.transfers[i]);
    } else {
      meet(m, board, 0, 2);
      for (std::uint32_t i = 0; i < n; ++i)
        if (i != window + 1) s.take(A, i);
    }
    meet(m, board, 1, 2);
    require(m.lost_peer(nullptr) == -1, "a peer was lost");
  });
}

// Nobody asks for any of them: the sender is let go, in this communicator for ever.
TEST_P(UcxCredit, AForgottenCommunicatorNeedsNoCredit) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    Stream s{m, 1 - me, {}, {}};
    if (me == 0) fill(s, m, window + 50);
    meet(m, board, 0, 2);
    if (me == 1) {
      m.forget(A);
      require(state(m, 0).kept == 0 && !state(m, 0).known, "still there");
    } else {
      s.finish_good();
      for (std::uint32_t i = 0; i < 3 * window; ++i) s.send(A, 1000 + i);
      s.finish_good();
    }
    meet(m, board, 1, 2);
    if (me == 0) m.forget(A);
    require(!state(m, 1 - me).known, "still known");
    meet(m, board, 2, 2);
  });
}

// What the sender itself forgets was accepted, and goes.
TEST_P(UcxCredit, ASenderThatForgetsSendsWhatWaits) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    Stream s{m, 1 - me, {}, {}};
    constexpr std::uint32_t n = window + 50;
    if (me == 0) {
      fill(s, m, n);
      m.forget(A);
      meet(m, board, 0, 2);
      s.finish_good();
    } else {
      meet(m, board, 0, 2);
      for (std::uint32_t i = 0; i < n; ++i) s.take(A, i);
    }
    meet(m, board, 1, 2);
  });
}

TEST_P(UcxCredit, AbandonedOperationsCountAsConsumed) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    Stream s{m, 1 - me, {}, {}};
    constexpr std::uint32_t n = 2 * window;
    if (me == 0) fill(s, m, n);
    meet(m, board, 0, 2);
    if (me == 1) {
      s.take(A, 5);
      m.abandon(A, n - 1, 4);  // the last, and all before 4; 4 to n - 2 are still wanted
      for (std::uint32_t i = 4; i < n - 1; ++i)
        if (i != 5) s.take(A, i);
      m.abandon(A, n - 1, n);
    }
    s.finish_good();
    // Late ones, too.
    if (me == 0) {
      for (std::uint32_t i = 0; i < 2 * window; ++i) s.send(A, n - 1, i + 1);
      s.send(A, n);
      s.finish_good();
    } else {
      s.take(A, n);
      require(state(m, 0).kept == 0, "kept");
    }
    meet(m, board, 1, 2);
    if (me == 0) require(progress_until(m, 10, [&] { return state(m, 1).unconsumed < Flow::tell_after; }), "credit leaks");
    meet(m, board, 2, 2);
  });
}

TEST_P(UcxCredit, WithdrawnMessagesAndOtherLengthsCountAsConsumed) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    Bytes data(huge);
    for (std::uint32_t i = 0; i < 20; ++i) {
      if (me == 0) {
        Transfer t, u;
        m.send(1, {A, 2 * i, 0}, data.data(), huge, t);
        m.cancel(t);
        m.send(1, {A, 2 * i + 1, 0}, data.data(), 8, u);
        finish(m, u);
      } else {
        Transfer t;
        m.recv(0, {A, 2 * i + 1, 0}, data.data(), 9, t);
        finish(m, t);
        require(t.state == Transfer::State::failed, "accepted");
      }
    }
    meet(m, board, 0, 2);
    if (me == 0) require(progress_until(m, 10, [&] { return state(m, 1).unconsumed < Flow::tell_after; }), "credit leaks");
    meet(m, board, 1, 2);
    require(m.lost_peer(nullptr) == -1, "a peer was lost");
  });
}

TEST_P(UcxCredit, ClosingSendsWhatWaits) {
  constexpr std::uint32_t n = window + 50;
  std::deque<Transfer> sends;  // outlive their messenger
  std::uint64_t value = 42;
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    connect(m, 1 - me);
    if (me == 0) {
      for (std::uint32_t i = 0; i < n; ++i) m.send(1, {A, i, 0}, &value, 8, sends.emplace_back());
      require(state(m, 1).waiting, "nothing waits");
      ++board.word(0);
      return;
    }
    require(wait_until(30, [&] { return board.word(0) != 0; }), "nothing sent");
    for (std::uint32_t i = 0; i < n; ++i) {
      Transfer t;
      std::uint64_t got = 0;
      m.recv(0, {A, i, 0}, &got, 8, t);
      finish(m, t);
      require_done(t);
      require(got == 42, "value");
    }
  });
  for (const Transfer& t : sends) EXPECT_EQ(t.state, Transfer::State::done) << t.error;
}

TEST_P(UcxCredit, WhatWaitsForALostPeerFails) {
  Board board(2);
  Processes ranks(board, 2, [&](int me) {
    const auto m = make_messenger(board, me, 2, {.exclude_shared_memory = GetParam(), .keepalive_s = 0.5});
    connect(*m, 1 - me);
    if (me == 1) {
      progress_until(*m, 60, [] { return false; });
      return 0;
    }
    Stream s{*m, 1, {}, {}};
    fill(s, *m, window + 5);
    ++board.word(0);
    for (std::uint32_t i = window; i < window + 5; ++i) {
      finish(*m, s.transfers[i]);
      require(s.transfers[i].state == Transfer::State::failed && s.transfers[i].error.find("rank 1") != std::string::npos, s.transfers[i].error);
    }
    require(m->lost_peer(nullptr) == 1, "the lost peer");
    return 0;
  });
  ASSERT_TRUE(wait_until(60, [&] { return board.word(0) == 1; }));
  ranks.signal(1, SIGKILL);
  const auto ends = ranks.wait(60);
  EXPECT_TRUE(ends[0].good()) << board.text_of(0);
}

}  // namespace
}  // namespace libcoll::test
