// Messages in one piece with their header, and with padding before their data.
#include <algorithm>
#include <deque>

#include "tests/unit/ucx/support.hpp"

namespace libcoll::test {
namespace {

using xport::Messenger;
using xport::Transfer;

class UcxPieces : public Ucx {};
INSTANTIATE_TEST_SUITE_P(Transports, UcxPieces, testing::Values(true, false),
                         [](const auto& i) { return i.param ? "without_shared_memory" : "all"; });

// Large ones have padding before their data, as their place in memory asks for; it is gone where they arrive, whether they
// were asked for, come early, or are dropped.
TEST_P(UcxPieces, LargeMessagesFromAnyAddress) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    const std::size_t lengths[] = {4095, 4096, 4097, 70001, 1 << 20, (1 << 20) + 1};
    std::uint32_t sequence = 0;
    for (const std::size_t bytes : lengths) {
      const Bytes expected = block(bytes, bytes, 0);
      for (std::size_t offset = 0; offset < 17; ++offset) {
        ++sequence;
        if (me == 0) {
          Bytes buffer(offset + bytes);
          std::copy(expected.begin(), expected.end(), buffer.begin() + static_cast<std::ptrdiff_t>(offset));
          std::deque<Transfer> sends(3);
          m.send(1, {7, sequence, 0}, buffer.data() + offset, bytes, sends[0]);
          m.send(1, {7, sequence, 1}, buffer.data() + offset, bytes, sends[1]);
          m.send(1, {7, sequence, 2}, nullptr, 0, sends[2]);
          finish_all(m, {&sends[0], &sends[1], &sends[2]});
          for (const Transfer& t : sends) require_done(t);
        } else {
          Bytes asked(bytes), early(bytes);
          Transfer a, b, last;
          m.recv(0, {7, sequence, 0}, asked.data(), bytes, a);
          m.recv(0, {7, sequence, 2}, nullptr, 0, last);
          finish(m, last);
          m.recv(0, {7, sequence, 1}, early.data(), bytes, b);
          finish_all(m, {&a, &b});
          require_done(a), require_done(b);
          require(asked == expected && early == expected, std::to_string(bytes) + " bytes at " + std::to_string(offset));
        }
      }
    }
    // Early and never asked for.
    if (me == 0) {
      const Bytes data = block(70000, 1, 0);
      Transfer t, last;
      m.send(1, {8, 1, 0}, data.data(), data.size(), t);
      m.send(1, {9, 1, 0}, nullptr, 0, last);
      finish_all(m, {&t, &last});
      require_done(t);
    } else {
      Transfer last;
      m.recv(0, {9, 1, 0}, nullptr, 0, last);
      finish(m, last);
      m.forget(8);
    }
    meet(m, board, 0, 2);
  });
}

// Up to 1 KiB goes in one piece with its header while there surely is room: asked for, early, dropped, of the wrong length, after
// a large one, and so many that there is none.
TEST_P(UcxPieces, SmallMessagesInOnePiece) {
  on_threads(2, options(), [&](Messenger& m, int me, Board& board) {
    std::uint32_t sequence = 0;
    const auto exchange = [&](std::size_t bytes) {
      const Bytes mine = block(bytes, ++sequence, me);
      Bytes theirs(bytes);
      Transfer in, out;
      if (me == 0 || sequence % 2 == 0) m.recv(1 - me, {7, sequence, 0}, theirs.data(), bytes, in);
      m.send(1 - me, {7, sequence, 0}, mine.data(), bytes, out);
      finish(m, out);
      if (me != 0 && sequence % 2 != 0) m.recv(1 - me, {7, sequence, 0}, theirs.data(), bytes, in);
      finish(m, in);
      require_done(in), require_done(out);
      require(theirs == block(bytes, sequence, 1 - me), std::to_string(bytes) + " bytes");
    };
    for (const std::size_t bytes : {0, 1, 7, 8, 1023, 1024, 1025, 4 << 20, 8, 8, 8, 70000, 1024, 1024, 0, 0}) exchange(bytes);
    std::deque<Transfer> many(200);
    std::deque<Bytes> buffers;
    ++sequence;
    for (std::uint32_t i = 0; i < many.size(); ++i) {
      buffers.push_back(me == 0 ? block(i * 5, i, 0) : Bytes(i * 5));
      if (me == 0) m.send(1, {7, sequence, i}, buffers[i].data(), i * 5, many[i]);
      else m.recv(0, {7, sequence, i}, buffers[i].data(), i * 5, many[i]);
    }
    for (std::uint32_t i = 0; i < many.size(); ++i) {
      finish(m, many[i]);
      require_done(many[i]);
      require(buffers[i] == block(i * 5, i, 0), "one of many: " + std::to_string(i));
    }
    meet(m, board, 0, 2);
    char byte = 0;
    Transfer wrong;
    if (me == 0) m.send(1, {7, ++sequence, 0}, "12345678", 8, wrong);
    else m.recv(0, {7, ++sequence, 0}, &byte, 1, wrong);
    finish(m, wrong);
    require(me == 0 || wrong.mismatch, "8 bytes where 1 was expected");
    Transfer unwanted;
    if (me == 0) m.send(1, {8, 1, 0}, "12345678", 8, unwanted), finish(m, unwanted);
    exchange(8);
    if (me == 1) m.forget(8);
    exchange(8);
    meet(m, board, 1, 2);
  });
}

}  // namespace
}  // namespace libcoll::test
