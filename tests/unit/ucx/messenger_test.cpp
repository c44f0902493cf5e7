#include <poll.h>

#include <algorithm>
#include <deque>
#include <thread>

#include "tests/unit/ucx/support.hpp"
#include "transports/ucx/ucx_worker.hpp"

namespace libcoll::test {
namespace {

using xport::MessageKey;
using xport::Messenger;
using xport::Traffic;
using xport::Transfer;
using xport::UcxOptions;

const std::size_t sizes[] = {0, 1, 8, 64 << 10, 4 << 20};

INSTANTIATE_TEST_SUITE_P(Transports, Ucx, testing::Values(true, false),
                         [](const auto& i) { return i.param ? "without_shared_memory" : "all"; });

TEST_P(Ucx, EverySizeBetweenEveryPair) {
  for (const int ranks : {2, 4}) {
    on_threads(ranks, options(), [&](Messenger& m, int me, Board&) {
      std::uint32_t sequence = 0;
      for (const std::size_t bytes : sizes) {
        ++sequence;
        std::deque<Transfer> transfers;
        std::deque<Bytes> buffers;
        std::vector<Transfer*> all;
        for (int r = 0; r < ranks; ++r) {
          if (r == me) continue;
          m.recv(r, {1, sequence, 0}, buffers.emplace_back(bytes).data(), bytes, transfers.emplace_back());
          all.push_back(&transfers.back());
        }
        const Bytes mine = block(bytes, sequence, me);
        for (int r = 0; r < ranks; ++r) {
          if (r == me) continue;
          m.send(r, {1, sequence, 0}, mine.data(), bytes, transfers.emplace_back());
          all.push_back(&transfers.back());
        }
        finish_all(m, all);
        for (const Transfer* t : all) require_done(*t);
        for (int r = 0, i = 0; r < ranks; ++r) {
          if (r == me) continue;
          require(buffers[static_cast<std::size_t>(i++)] == block(bytes, sequence, r), "wrong data of size " + std::to_string(bytes));
        }
      }
    });
  }
}

TEST_P(Ucx, MessagesThatArriveBeforeTheyAreAskedFor) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    std::deque<Transfer> transfers;
    std::deque<Bytes> buffers;
    std::vector<Transfer*> all;
    std::uint32_t n = 0;
    for (const std::size_t bytes : {0, 1, 8, 200, 3000, 64 << 10, 1 << 20, 4 << 20}) {
      if (me == 0) {
        buffers.push_back(block(bytes, n, 0));
        m.send(1, {7, 1, n++}, buffers.back().data(), bytes, transfers.emplace_back());
        all.push_back(&transfers.back());
      } else {
        buffers.emplace_back(bytes);
        ++n;
      }
    }
    if (me == 1) {
      // All that can come early has come once this has: it was sent last.
      Transfer last;
      m.recv(0, {7, 2, 0}, nullptr, 0, last);
      finish(m, last);
      for (std::uint32_t i = n; i-- > 0;) {  // out of order, too
        m.recv(0, {7, 1, i}, buffers[i].data(), buffers[i].size(), transfers.emplace_back());
        all.push_back(&transfers.back());
      }
    } else {
      m.send(1, {7, 2, 0}, nullptr, 0, transfers.emplace_back());
      all.push_back(&transfers.back());
    }
    finish_all(m, all);
    for (const Transfer* t : all) require_done(*t);
    if (me == 1)
      for (std::uint32_t i = 0; i < n; ++i) require(buffers[i] == block(buffers[i].size(), i, 0), "message " + std::to_string(i));
    meet(m, board, 0, 2);
  });
}

// What is done needs its sender no more, on a new connection and where the socket is full, too.
TEST_P(Ucx, WhatIsDoneArrivesWithoutItsSender) {
  struct Case {
    std::size_t bytes;
    bool late;
    bool small_between = false;  // behind each of them, once it is done, when the socket may be full
  };
  for (const Case c : {Case{8, false}, {8, true}, {64 << 10, false}, {1 << 20, false}, {1 << 20, true}, {1 << 20, true, true}, {huge, false}}) {
    on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
      const std::uint32_t n = c.bytes < huge ? 32 : 4;
      const auto bytes_of = [&](std::uint32_t i) { return c.small_between && i % 2 != 0 ? 8 : c.bytes; };
      std::deque<Transfer> transfers;
      std::deque<Bytes> buffers;
      std::vector<Transfer*> all;
      for (std::uint32_t i = 0; i < n; ++i) {
        buffers.push_back(me == 0 ? block(bytes_of(i), i, 0) : Bytes(bytes_of(i)));
        all.push_back(&transfers.emplace_back());
        if (me == 0) m.send(1, {1, 1, i}, buffers.back().data(), bytes_of(i), transfers.back());
        if (me == 0 && c.small_between) finish(m, transfers.back());
      }
      if (me == 0) {
        finish_all(m, all);
        for (const Transfer* t : all) require_done(*t);
        // From here on it makes no call.
        for (int ms = 0; board.word(0) == 0 && ms < 40'000; ++ms) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return;
      }
      // As it is when the receiver computes: nothing takes what arrives.
      if (c.late) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      for (std::uint32_t i = 0; i < n; ++i) m.recv(0, {1, 1, i}, buffers[i].data(), bytes_of(i), transfers[i]);
      finish_all(m, all);
      for (std::uint32_t i = 0; i < n; ++i) {
        require_done(transfers[i]);
        require(buffers[i] == block(bytes_of(i), i, 0), "message " + std::to_string(i));
      }
      ++board.word(0);
    });
  }
}

TEST_P(Ucx, ManyInFlightInAnyOrder) {
  const int n = static_cast<int>(1000 * test_scale()) + 100;
  on_threads(3, options(), [&](Messenger& m, int me, Board& board) {
    std::deque<Transfer> transfers;
    std::vector<Transfer*> all;
    std::vector<Bytes> in, out;
    const auto bytes_of = [](int i) { return static_cast<std::size_t>(mixed(5, static_cast<std::uint64_t>(i)) % (i % 50 == 0 ? 100'000 : 2'000)); };
    const int to = (me + 1) % 3, from = (me + 2) % 3;
    for (int i = 0; i < n; ++i) {
      out.push_back(block(bytes_of(i), static_cast<std::uint64_t>(i), me));
      in.emplace_back(bytes_of(i));
    }
    for (int i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i), other = static_cast<std::size_t>(n - 1 - i);
      m.send(to, {1, 0, static_cast<std::uint32_t>(i)}, out[k].data(), out[k].size(), transfers.emplace_back());
      all.push_back(&transfers.back());
      m.recv(from, {1, 0, static_cast<std::uint32_t>(other)}, in[other].data(), in[other].size(), transfers.emplace_back());
      all.push_back(&transfers.back());
    }
    finish_all(m, all);
    for (const Transfer* t : all) require_done(*t);
    for (int i = 0; i < n; ++i) require(in[static_cast<std::size_t>(i)] == block(bytes_of(i), static_cast<std::uint64_t>(i), from), "message " + std::to_string(i));
    meet(m, board, 0, 3);
  });
}

// Eager and rendezvous, receive first and message first.
TEST_P(Ucx, AnotherLengthFailsTheReceiveOnly) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    std::uint32_t n = 0;
    for (const std::size_t bytes : {std::size_t{8}, huge}) {
      for (const bool early : {false, true}) {
        Transfer t;
        Bytes buffer(bytes + 1);
        const MessageKey key{1, n, 0};
        if (me == 0) {
          if (!early) meet(m, board, static_cast<int>(n), 2);
          m.send(1, key, buffer.data(), bytes, t);
          Transfer after;
          m.send(1, {2, n, 0}, nullptr, 0, after);
          finish_all(m, {&t, &after});
          require_done(t);
        } else {
          Transfer after;
          if (early) m.recv(0, {2, n, 0}, nullptr, 0, after), finish(m, after);
          m.recv(0, key, buffer.data(), bytes + 1, t);
          if (!early) meet(m, board, static_cast<int>(n), 2);
          if (!early) m.recv(0, {2, n, 0}, nullptr, 0, after), finish(m, after);
          finish(m, t);
          require(t.state == Transfer::State::failed, "accepted");
          for (const std::string& part : {std::string("rank 0"), std::to_string(bytes) + " bytes", std::to_string(bytes + 1)})
            require(t.error.find(part) != std::string::npos, t.error + " lacks " + part);
        }
        ++n;
      }
    }
    meet(m, board, 10, 2);
    require(m.lost_peer(nullptr) == -1, "a peer was lost");
  });
}

TEST_P(Ucx, CountersAreExact) {
  on_threads(3, options(), [&](Messenger& m, int me, Board& board) {
    if (me == 2) return meet(m, board, 0, 3);
    const int other = 1 - me;
    std::deque<Transfer> transfers;
    std::vector<Transfer*> all;
    std::uint64_t bytes = 0;
    Bytes out(huge), in(huge);
    std::uint32_t n = 0;
    for (const std::size_t size : sizes) {
      m.send(other, {1, n, 0}, out.data(), size, transfers.emplace_back());
      all.push_back(&transfers.back());
      m.recv(other, {1, n, 0}, in.data(), size, transfers.emplace_back());
      all.push_back(&transfers.back());
      finish_all(m, all);
      bytes += size, ++n;
    }
    const Traffic t = m.traffic(other), none = m.traffic(2);
    require(t.bytes_sent == bytes && t.bytes_received == bytes, "bytes");
    require(t.messages_sent == n && t.messages_received == n, "messages");
    require(none.bytes_sent + none.messages_sent + none.bytes_received + none.messages_received == 0, "traffic with nobody");
    meet(m, board, 0, 3);
  });
}

TEST_P(Ucx, ASleeperIsWokenByTheEventDescriptor) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    if (m.event_fd() < 0) return;
    Transfer warm;
    char byte = 0;
    if (me == 0) m.send(1, {1, 0, 0}, &byte, 1, warm);
    else m.recv(0, {1, 0, 0}, &byte, 1, warm);
    finish(m, warm);
    Transfer t;
    if (me == 0) {
      require(wait_until(30, [&] { return board.word(0) != 0; }), "the sleeper did not come");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      m.send(1, {1, 1, 0}, &byte, 1, t);
      finish(m, t);
    } else {
      m.recv(0, {1, 1, 0}, &byte, 1, t);
      board.word(0) = 1;
      int sleeps = 0;
      while (!t.finished()) {
        if (m.progress() || !m.arm()) continue;
        pollfd fd{m.event_fd(), POLLIN, 0};
        require(poll(&fd, 1, 20'000) == 1, "not woken in 20 s");
        ++sleeps;
      }
      require(sleeps > 0, "never slept");
    }
    require_done(t);
    meet(m, board, 1, 2);
  });
}

TEST_P(Ucx, SeveralThreadsShareAMessenger) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    constexpr int threads = 3, rounds = 100;
    std::atomic<int> bad{0};
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&, i] {
        for (std::uint32_t n = 0; n < rounds; ++n) {
          const std::size_t bytes = n % 20 == 0 ? 300'000 : 100;
          const auto communicator = static_cast<std::uint64_t>(i);
          Transfer s, r;
          Bytes in(bytes);
          const Bytes out = block(bytes, n * 10 + communicator, me);
          m.recv(1 - me, {communicator, n, 0}, in.data(), bytes, r);
          m.send(1 - me, {communicator, n, 0}, out.data(), bytes, s);
          finish_all(m, {&s, &r});
          if (in != block(bytes, n * 10 + communicator, 1 - me)) ++bad;
        }
      });
    }
    for (std::thread& t : all) t.join();
    require(bad == 0, "wrong data");
    meet(m, board, 0, 2);
  });
}

TEST_P(Ucx, ToOneself) {
  on_threads(1, options(), [&](Messenger& m, int, Board&) {
    for (const std::size_t bytes : sizes) {
      Transfer s, r;
      Bytes in(bytes);
      const Bytes out = block(bytes, 1, 0);
      m.send(0, {1, static_cast<std::uint32_t>(bytes), 0}, out.data(), bytes, s);
      m.recv(0, {1, static_cast<std::uint32_t>(bytes), 0}, in.data(), bytes, r);
      finish_all(m, {&s, &r});
      require_done(s), require_done(r);
      require(in == out, "data");
    }
  });
}

TEST_P(Ucx, SaysWhatItIs) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    Transfer t;
    if (me == 0) m.send(1, {}, nullptr, 0, t);
    else m.recv(0, {}, nullptr, 0, t);
    finish(m, t);
    require(m.text().starts_with("UCX 1."), m.text());
    require(m.text().find(GetParam() ? "over tcp/" : " over ") != std::string::npos, m.text());
    require(!GetParam() || m.text().find("posix") == std::string::npos, m.text());
    meet(m, board, 0, 2);
  });
}

TEST(UcxCreation, NoSuchPeer) {
  on_threads(1, {}, [&](Messenger& m, int, Board&) {
    for (const int r : {-1, 1}) {
      Transfer s, t;
      m.send(r, {}, nullptr, 0, s);
      m.recv(r, {}, nullptr, 0, t);
      require(s.state == Transfer::State::failed && t.state == Transfer::State::failed, "accepted");
    }
  });
}

TEST(UcxCreation, LeavesSharedMemoryOut) {
  using xport::ucx::without_shared_memory;
  EXPECT_EQ(without_shared_memory(""), "^sm");
  EXPECT_EQ(without_shared_memory("all"), "^sm");
  EXPECT_EQ(without_shared_memory("^ib"), "^ib,sm");
  EXPECT_EQ(without_shared_memory("tcp,sm,self"), "tcp,self");
  EXPECT_EQ(without_shared_memory("posix,rc,cma"), "rc");
  EXPECT_EQ(without_shared_memory("shm"), "^sm");
}

}  // namespace
}  // namespace libcoll::test
