// Peers that die, or give the communicator up, while messages are under way.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>

#include "tests/multiproc/calls.hpp"
#include "tests/support/ranks.hpp"

namespace libcoll::test {
namespace {

enum class What { recv, recv_any, recv_large, send_large };
struct Scene {
  const char* name;
  What what;
  bool polling;
  const char* single_copy;
};

// Runs `body(comm, rank)` on three ranks, which returns an exit code; the victim's end does not matter.
void run(const char* single_copy, int victim, const std::function<int(Comm&, Board&, int)>& body) {
  constexpr int ranks = 3;
  Board board(ranks);
  Config config = quiet_config();
  config.timeout_s = 30;
  config.single_copy = single_copy;
  Processes processes(board, ranks, [&](int r) {
    Comm c = Comm::from_callback(r, ranks, board.function_for(r), config);
    return body(c, board, r);
  });
  const auto& ends = processes.wait(25);
  for (int r = 0; r < ranks; ++r) {
    const auto& e = ends[static_cast<std::size_t>(r)];
    if (r == victim) continue;
    EXPECT_TRUE(e.good()) << "rank " << r << ": " << (e.ended ? "code " + std::to_string(e.exit_code) + ", signal " + std::to_string(e.signal) : "hung") << "; " << board.text_of(r);
  }
}

Outcome end_of(Message& m, bool polling) {
  return outcome_of([&] {
    if (!polling) return m.wait();
    while (!m.test()) sched_yield();
  });
}

class Dies : public testing::TestWithParam<Scene> {};

TEST_P(Dies, IsNamed) {
  constexpr int victim = 1;
  const Scene& s = GetParam();
  run(s.single_copy, victim, [&](Comm& c, Board& board, int r) {
    const std::size_t large = 4u << 20;
    std::vector<char> buffer(large), from_victim(8);
    int word = 42;
    if (r == victim) {
      // What was sent before is as good as any.
      for (const int peer : {0, 2}) c.send(&word, sizeof word, peer, 5);
      std::vector<Message> more;
      for (const int peer : {0, 2}) more.push_back(c.isend(buffer.data(), large, peer, 6));
      c.barrier();
      return raise(SIGKILL);
    }
    Message m = s.what == What::recv ? c.irecv(from_victim.data(), 8, victim, 1) : s.what == What::recv_any ? c.irecv(from_victim.data(), 8, any_source, 1)
              : s.what == What::send_large ? c.isend(buffer.data(), large, victim, 1) : Message();
    c.barrier();
    if (s.what == What::recv_large) {  // its data may be with the dead
      wait_until(5, [&] { return outcome_of([&] { c.send(&word, sizeof word, victim, 3); }).code == Errc::peer_lost; });
      m = c.irecv(buffer.data(), large, victim, 6);
    }
    const Outcome o = end_of(m, s.polling);
    board.report(r, std::string(libcoll::name_of(o.code)) + ": " + o.text);
    if (s.what == What::recv_large && o.code == Errc::ok) return 0;  // it had come
    if (o.code != Errc::peer_lost || o.peer != victim || o.text.find("rank 1") == std::string::npos) return 10;
    int got = 0;
    const Outcome before = outcome_of([&] { c.recv(&got, sizeof got, victim, 5); });
    board.report(r, "sent before: " + before.text);
    if (before.code != Errc::ok || got != 42) return 11;
    // Later ones end at once, and survivors go on.
    const Outcome later = outcome_of([&] { c.recv(&got, sizeof got, victim, 5); });
    board.report(r, "later: " + later.text);
    if (later.code != Errc::peer_lost || later.peer != victim) return 12;
    const int other = 2 - r;
    Message send = c.isend(buffer.data(), large, other, 8);
    std::vector<char> in(large);
    const Outcome alive = outcome_of([&] { c.recv(in.data(), large, other, 8), send.wait(); });
    board.report(r, "survivors: " + alive.text);
    if (alive.code != Errc::ok) return 13;
    // A collective notices, too.
    if (outcome_of([&] { c.barrier(); }).code != Errc::peer_lost) return 14;
    return outcome_of([&] { c.send(&word, sizeof word, other, 8); }).code == Errc::closed ? 0 : 15;
  });
}

const Scene scenes[] = {{"recv", What::recv, false, "on"}, {"recv_polling", What::recv, true, "on"}, {"recv_any", What::recv_any, false, "on"},
                        {"recv_large", What::recv_large, false, "on"}, {"recv_large_staged", What::recv_large, true, "off"},
                        {"send_large", What::send_large, false, "on"}, {"send_large_staged", What::send_large, true, "off"}};
INSTANTIATE_TEST_SUITE_P(Ways, Dies, testing::ValuesIn(scenes), [](const auto& test) { return std::string(test.param.name); });

// Messages of a communicator that is given up end everywhere, and name who did.
TEST(Aborted, EndsMessages) {
  run("auto", -1, [](Comm& c, Board& board, int r) {
    int x = 0;
    std::vector<char> large(1u << 20);
    Message m = r == 0 ? c.irecv(&x, sizeof x, 1, 1) : r == 1 ? c.irecv(&x, sizeof x, any_source, 1) : c.isend(large.data(), large.size(), 0, 9);
    c.barrier();
    if (r == 2) c.abort("a test says so");
    const Outcome o = end_of(m, r == 1);
    board.report(r, o.text);
    if (r == 2) return o.code == Errc::closed && o.text.find("a test says so") != std::string::npos ? 0 : 20;
    if (o.code != Errc::peer_lost || o.peer != 2) return 21;
    return outcome_of([&] { c.send(&x, sizeof x, 0, 1); }).code == Errc::closed ? 0 : 22;
  });
}

// A Comm that goes without close() while peers wait for its messages: they time out, and nothing else happens.
TEST(Gone, TimesOut) {
  run("auto", -1, [](Comm& c, Board& board, int r) {
    int x = 0;
    std::vector<char> large(1u << 20);
    Comm part = c.dup();
    if (r == 2) {
      Message m = part.isend(large.data(), large.size(), 0, 9);
      part.barrier();
      part = Comm();
      if (outcome_of([&] { m.wait(); }).code != Errc::closed) return 30;
    } else {
      part.barrier();
      const Outcome o = outcome_of([&] { part.recv(&x, sizeof x, 2, 1, {.timeout_s = 0.2}); });
      board.report(r, o.text);
      if (o.code != Errc::timeout || o.peer != 2) return 31;
      part = Comm();
    }
    c.barrier();
    c.close();
    return 0;
  });
}

}  // namespace
}  // namespace libcoll::test
