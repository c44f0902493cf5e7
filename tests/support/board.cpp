#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "tests/support/ranks.hpp"

namespace libcoll::test {

using Clock = std::chrono::steady_clock;

namespace {
constexpr auto longest_meeting = std::chrono::seconds(60);
}

Config quiet_config() {
  Config c;
  c.timeout_s = 60;
  c.arena_bytes = std::uint64_t{256} << 20;
  c.calibrate = false;
#if defined(__SANITIZE_THREAD__)
  // Every rank maps the shared memory at an address of its own, so ThreadSanitizer cannot see that a
  // header published by one rank orders another rank's read of the first one's private buffer.
  c.single_copy = "off";
#endif
  return c;
}

bool wait_until(double seconds, const std::function<bool()>& done) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (!done()) {
    if (Clock::now() > end) return done();
    usleep(1000);
  }
  return true;
}

Board::Board(int ranks) : ranks_(ranks) {
  const auto n = static_cast<std::size_t>(ranks);
  constexpr std::size_t head_bytes = 4096;
  static_assert(sizeof(Head) <= head_bytes);
  mapped_bytes_ = head_bytes + n * (cell_bytes + text_bytes);
  void* p = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  head_ = new (p) Head{};
  cells_ = static_cast<char*>(p) + head_bytes;
  texts_ = cells_ + n * cell_bytes;
}

Board::~Board() { munmap(head_, mapped_bytes_); }

void Board::meet() {
  const std::uint32_t generation = head_->generation.load();
  if (head_->arrived.fetch_add(1) + 1 == static_cast<std::uint32_t>(ranks_)) {
    head_->arrived.store(0);
    head_->generation.fetch_add(1);
    return;
  }
  const auto end = Clock::now() + longest_meeting;
  for (int polls = 0; head_->generation.load() == generation; ++polls) {
    if (head_->stopped.load() != 0) throw Error(Errc::bootstrap, "test board: stopped, another rank failed");
    if (Clock::now() > end) throw Error(Errc::bootstrap, "test board: a rank did not come");
    usleep(polls < 100 ? 20 : 500);
  }
}

void Board::allgather(int rank, const void* send, void* recv, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += cell_bytes) {
    const std::size_t n = std::min(cell_bytes, bytes - at);
    std::memcpy(cell(rank), static_cast<const char*>(send) + at, n);
    meet();
    for (int r = 0; r < ranks_; ++r) {
      std::memcpy(static_cast<char*>(recv) + static_cast<std::size_t>(r) * bytes + at, cell(r), n);
    }
    meet();
  }
}

AllgatherFunction Board::function_for(int rank) {
  return [this, rank](const void* send, void* recv, std::size_t bytes) { allgather(rank, send, recv, bytes); };
}

void Board::report(int rank, const std::string& text) {
  char* to = texts_ + static_cast<std::size_t>(rank) * text_bytes;
  to[text.copy(to, text_bytes - 1)] = 0;
}

std::string Board::text_of(int rank) const { return texts_ + static_cast<std::size_t>(rank) * text_bytes; }

}  // namespace libcoll::test
