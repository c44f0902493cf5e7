// Giving up on messages, and leaving.
#include <chrono>
#include <deque>
#include <thread>

#include "tests/unit/ucx/support.hpp"

namespace libcoll::test {
namespace {

using xport::Messenger;
using xport::Transfer;

class UcxClosing : public Ucx {};
INSTANTIATE_TEST_SUITE_P(Transports, UcxClosing, testing::Values(true, false),
                         [](const auto& i) { return i.param ? "without_shared_memory" : "all"; });

TEST_P(UcxClosing, CancelledReceivesLeaveTheirBuffersAlone) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    Bytes buffer(huge, 1);
    if (me == 1) {
      Transfer posted;
      m.recv(0, {1, 1, 0}, buffer.data(), buffer.size(), posted);
      m.cancel(posted);
      require(posted.state == Transfer::State::failed && posted.error.find("rank 0") != std::string::npos, posted.error);
      Transfer moving;
      m.recv(0, {1, 2, 0}, buffer.data(), buffer.size(), moving);
      meet(m, board, 0, 2);
      m.cancel(moving);  // somewhere between posted and done
      require(moving.finished(), "pending after cancel()");
      const Bytes now = buffer;
      meet(m, board, 1, 2);
      progress_until(m, 0.1, [] { return false; });
      require(now == buffer, "written after cancel()");
    } else {
      Bytes data(huge, 2);
      meet(m, board, 0, 2);
      Transfer a, b;
      m.send(1, {1, 1, 0}, data.data(), data.size(), a);
      m.send(1, {1, 2, 0}, data.data(), data.size(), b);
      meet(m, board, 1, 2);
      progress_until(m, 0.1, [] { return false; });
      m.cancel(a);  // nobody asks for it any more
      m.cancel(b);
      require(a.finished() && b.finished(), "pending after cancel()");
    }
    meet(m, board, 2, 2);
    // The connection outlived it.
    Transfer t;
    std::uint64_t x = 42, y = 0;
    if (me == 0) m.send(1, {1, 3, 0}, &x, 8, t);
    else m.recv(0, {1, 3, 0}, &y, 8, t);
    finish(m, t);
    require_done(t);
    require(me == 0 || y == 42, "value");
    meet(m, board, 3, 2);
  });
}

TEST_P(UcxClosing, ForgottenMessagesLetTheirSendersGo) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    Bytes data(huge);
    Transfer large, small, signal;
    if (me == 0) {
      m.send(1, {9, 1, 0}, data.data(), data.size(), large);
      m.send(1, {9, 2, 0}, data.data(), 5000, small);
      m.send(1, {1, 1, 0}, nullptr, 0, signal);
      finish_all(m, {&large, &small, &signal});  // the receiver asks for the signal only
      require_done(large);
    } else {
      m.recv(0, {1, 1, 0}, nullptr, 0, signal);
      finish(m, signal);
      m.forget(9);
    }
    meet(m, board, 0, 2);
    // Late ones are dropped on arrival; other communicators are as before.
    Transfer late, other;
    if (me == 0) {
      m.send(1, {9, 3, 0}, data.data(), data.size(), late);
      m.send(1, {8, 3, 0}, data.data(), data.size(), other);
      finish_all(m, {&late, &other});
    } else {
      m.recv(0, {8, 3, 0}, data.data(), data.size(), other);
      finish(m, other);
    }
    require_done(other);
    meet(m, board, 1, 2);
  });
}

// A send that is done is delivered, although its messenger closes before the receiver looks.
TEST_P(UcxClosing, ClosingLosesNothing) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    std::uint64_t values[64] = {};
    Transfer warm;  // connects: only then can a send be done without its receiver's help
    if (me == 0) m.send(1, {1, 2, 0}, nullptr, 0, warm);
    else m.recv(0, {1, 2, 0}, nullptr, 0, warm);
    finish(m, warm);
    if (me == 0) {
      std::deque<Transfer> transfers;
      for (std::uint32_t i = 0; i < 64; ++i) {
        values[i] = i + 1;
        m.send(1, {1, 0, i}, &values[i], 8, transfers.emplace_back());
        finish(m, transfers.back());
      }
      board.word(0) = 1;
      return;  // closes
    }
    require(wait_until(30, [&] { return board.word(0) != 0; }), "nothing sent");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    progress_until(m, 0.3, [] { return false; });  // by now the sender has left
    for (std::uint32_t i = 0; i < 64; ++i) {
      Transfer t;
      m.recv(0, {1, 0, i}, &values[i], 8, t);
      finish(m, t);
      require_done(t);
      require(values[i] == i + 1, "value");
    }
    // Leaving is no loss; but nothing can come from there any more.
    Transfer t, u;
    m.recv(0, {1, 1, 0}, values, 8, t);
    m.send(0, {1, 1, 0}, values, 8, u);
    require(t.state == Transfer::State::failed && t.error.find("rank 0") != std::string::npos, "receiving from who left: " + t.error);
    require(u.state == Transfer::State::failed, "sending to who left");
    require(m.lost_peer(nullptr) == -1, "leaving counts as loss");
  });
}

TEST_P(UcxClosing, ReceivesFromWhoLeavesFail) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    Transfer warm, t;
    char byte = 0;
    if (me == 0) m.send(1, {1, 0, 0}, &byte, 1, warm);
    else m.recv(0, {1, 0, 0}, &byte, 1, warm);
    finish(m, warm);
    meet(m, board, 0, 2);
    if (me == 0) return;
    m.recv(0, {1, 1, 0}, &byte, 1, t);
    finish(m, t);
    require(t.state == Transfer::State::failed && t.error.find("rank 0") != std::string::npos, t.error);
  });
}

// UCX 1.13.1 stops the process where a worker goes before its answer to a peer that connects has left. In a process of its own:
// workers that outlive their messengers there keep later children of this one from using UCX (docs/adr/0007).
TEST_P(UcxClosing, WhileAPeerConnects) {
  Board board_of_child(1);
  Processes child(board_of_child, 1, [&](int) {
    for (int pause_us = 0; pause_us < 3000; pause_us += 100)
      on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
        if (me == 1) {
          require(wait_until(30, [&] { return board.word(0) != 0; }), "nothing sent");
          progress_until(m, 1e-6 * pause_us, [] { return false; });
          return;  // closes: it never had anything to say to the other
        }
        Transfer t;
        std::uint64_t x = 1;
        m.send(1, {1, 0, 0}, &x, 8, t);
        board.word(0) = 1;
        std::this_thread::sleep_for(std::chrono::microseconds(pause_us / 2));
        finish(m, t, 20);  // well or not
      });
    return testing::Test::HasFailure() ? 1 : 0;
  });
  EXPECT_TRUE(child.wait(120)[0].good()) << "signal " << child.wait(1)[0].signal << ": " << board_of_child.text_of(0);
}

}  // namespace
}  // namespace libcoll::test
