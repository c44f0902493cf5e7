#include "tests/unit/ucx/support.hpp"

#include <cstdio>
#include <mutex>
#include <thread>

namespace libcoll::test {

using xport::Messenger;
using xport::Transfer;

std::unique_ptr<Messenger> make_messenger(Board& board, int rank, int size, const xport::UcxOptions& options) {
  const auto bootstrap = bootstrap_from_callback(rank, size, board.function_for(rank));
  auto made = xport::create_ucx_messenger(*bootstrap, options);
  if (!made) throw std::runtime_error(made.error().text);
  return std::move(*made);
}

void on_threads(int ranks, const xport::UcxOptions& options, const std::function<void(Messenger&, int, Board&)>& body) {
  Board board(ranks);
  std::mutex mutex;
  std::string failures;
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      try {
        const auto m = make_messenger(board, r, ranks, options);
        body(*m, r, board);
      } catch (const std::exception& e) {
        const std::lock_guard lock(mutex);
        failures += "rank " + std::to_string(r) + ": " + e.what() + "\n";
        board.stop();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(failures, "");
}

bool progress_until(Messenger& m, double seconds, const std::function<bool()>& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!done()) {
    if (!m.progress()) std::this_thread::yield();
    if (std::chrono::steady_clock::now() > end) return done();
  }
  return true;
}

void finish_all(Messenger& m, const std::vector<Transfer*>& all, double seconds) {
  const bool ended = progress_until(m, seconds, [&] {
    for (const Transfer* t : all)
      if (!t->finished()) return false;
    return true;
  });
  require(ended, "a transfer did not end");
}

void finish(Messenger& m, Transfer& t, double seconds) { finish_all(m, {&t}, seconds); }

void meet(Messenger& m, Board& board, int word, int ranks) {
  ++board.word(word);
  require(progress_until(m, 60, [&] { return board.word(word) >= static_cast<std::uint64_t>(ranks); }), "a rank did not come");
}

void require_done(const Transfer& t) {
  require(t.finished(), "the transfer is pending");
  require(t.state == Transfer::State::done, "the transfer failed: " + t.error);
}

void require(bool yes, const std::string& text) {
  if (!yes) throw std::runtime_error(text);
}

Bytes block(std::size_t bytes, std::uint64_t tag, int from) {
  Bytes b(bytes);
  fill_block(b.data(), bytes, tag, from, -1);
  return b;
}

}  // namespace libcoll::test
