// Things that go wrong on several hosts: started on every rank by hosts.py. Each scene runs in a fresh child process with
// a fresh world, so that ranks may die in it; the process that hosts.py sees says what was wrong and exits with 1.
// Usage: coll_hosts_faults refused | different | killed | stopped | left | messages [ROUNDS]
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <thread>

#include "tests/multiproc/calls.hpp"
#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

constexpr double patience_s = 30;  // a scene that takes longer hangs

int me = -1, ranks = 0, failures = 0;

struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};
std::string text_of(const Outcome& o) { return fmt::format("{}, peer {}: {}", libcoll::name_of(o.code), o.peer, o.text); }
void require(bool condition, const std::string& what) {
  if (!condition) throw Wrong(what);
}
void require_names(const Outcome& o, Errc code, int whom) {
  require(o.code == code && o.peer == whom && o.text.find("rank " + std::to_string(whom)) != std::string::npos,
          fmt::format("wanted {} that names rank {}, got {}", libcoll::name_of(code), whom, text_of(o)));
}

// -- Scenes

using Scene = std::function<void()>;  // makes a world; throws what is wrong

Comm new_world(double timeout_s) {
  Config config = quiet_config();
  config.timeout_s = timeout_s;
  Comm world = Comm::from_environment(config);
  // Everybody has talked to everybody: UCX 1.13 ends a process whose peer dies while they shake hands.
  std::vector<int> all(static_cast<std::size_t>(world.size()), 1), got(all.size());
  world.alltoall<int>(all, got, {.algorithm = "scattered"});
  return world;
}

// What a broken communicator still does: say so, and close.
void leave_broken(Comm& world) {
  Args x(world);
  for (const Which w : all_calls) {
    const Outcome o = outcome_of([&] { call(world, w, x); });
    require(o.code == Errc::closed, fmt::format("{} afterwards: {}", name_of(w), text_of(o)));
  }
  require(outcome_of([&] { (void)world.dup(); }).code == Errc::closed, "dup works afterwards");
  const Outcome o = outcome_of([&] { world.close(); });
  require(o.code == Errc::ok && !world, "close: " + text_of(o));
  for (const auto& e : std::filesystem::directory_iterator("/dev/shm"))
    require(e.path().filename().string().find("libcoll") == std::string::npos, "left in /dev/shm: " + e.path().string());
}

struct Bad {
  const char* word;
  bool (*applies)(Which);
  void (*spoil)(Args&);
};
bool counted(Which w) { return w != Which::barrier && !has_tables(w); }
bool typed(Which w) { return w != Which::barrier; }
const std::vector<Bad> bad_inputs{{"count is -3", counted, [](Args& x) { x.count = -3; }},
                                  {"type", typed, [](Args& x) { x.type = static_cast<DType>(77); }},
                                  {"root is -1", rooted, [](Args& x) { x.root = -1; }},
                                  {"operation", reduces, [](Args& x) { x.op = static_cast<Op>(99); }},
                                  {"pancake", [](Which) { return true; }, [](Args& x) { x.options.algorithm = "pancake"; }}};

// One rank's arguments are invalid, over and over, on one communicator.
void refused(int rounds) {
  Comm world = new_world(20);
  int turn = 0;
  for (int round = 0; round < rounds; ++round)
    for (const Which w : all_calls)
      for (const Bad& bad : bad_inputs) {
        if (!bad.applies(w)) continue;
        const int odd = turn++ % ranks;
        Args x(world, turn % 3 == 0 ? 3000 : 4);
        if (me == odd) bad.spoil(x);
        const Outcome o = outcome_of([&] { call(world, w, x); });
        const std::string where = fmt::format("{}, {} on rank {} (turn {}): ", name_of(w), bad.word, odd, turn);
        if (me == odd) {
          require(o.code == Errc::invalid_argument && o.text.find(bad.word) != std::string::npos && o.text.find(name_of(w)) != std::string::npos, where + text_of(o));
        } else if (o.code != Errc::ok || all_see_all(w)) {
          try {
            require_names(o, Errc::mismatch, odd);
          } catch (const Wrong& e) {
            throw Wrong(where + e.what());
          }
        }
        // Several in a row, too, without a call that works between.
        if (turn % 4 == 0) expect_usable(world);
      }
  expect_usable(world);
  world.close();
}

struct Difference {
  const char* word;
  bool (*applies)(Which);
  void (*change)(Which&, Args&);
};
const std::vector<Difference> differences{
    {"count", counted, [](Which&, Args& x) { x.count -= 1; }},
    {"type", typed, [](Which&, Args& x) { x.type = DType::i64; }},
    {"operation", reduces, [](Which&, Args& x) { x.op = Op::max; }},
    {"root", rooted, [](Which&, Args& x) { x.root = 1; }},
    {"collective", [](Which) { return true; }, [](Which& w, Args&) { w = w == Which::allgather ? Which::alltoall : Which::allgather; }},
    {"rooted collective", [](Which) { return true; }, [](Which& w, Args&) { w = w == Which::bcast ? Which::gather : Which::bcast; }}};

struct Case {
  Which which;
  std::size_t difference;
  int odd;
  Count count;
};
std::vector<Case> different_cases() {
  std::vector<Case> all;
  int turn = 0;
  for (const Which w : all_calls)
    for (std::size_t d = 0; d < differences.size(); ++d)
      if (differences[d].applies(w)) ++turn, all.push_back({w, d, turn % ranks, turn % 3 == 0 ? 20000 : 4});
  return all;
}

// Ranks call different things. Where a rank sees it, all do or time out; then the communicator works, or is
// broken on all ranks. Goes through the cases from `next` until one breaks the communicator.
void different(std::size_t& next, int& broken) {
  Comm world = new_world(3);
  const std::vector<Case> cases = different_cases();
  while (next < cases.size()) {
    const Case c = cases[next++];
    Args x(world, c.count);
    Which w = c.which;
    if (me == c.odd) differences[c.difference].change(w, x);
    const Outcome o = outcome_of([&] { call(world, w, x); });
    const std::string where = fmt::format("{}, other {} on rank {}, count {}: ", name_of(c.which), differences[c.difference].word, c.odd, c.count);
    require(o.code == Errc::ok || o.code == Errc::mismatch || o.code == Errc::timeout, where + text_of(o));
    const bool may_pass = !all_see_all(c.which) || std::string_view(differences[c.difference].word) == "rooted collective";
    require(o.code != Errc::ok || may_pass, where + "did not notice");
    const Outcome after = outcome_of([&] { expect_usable(world); });
    if (o.code != Errc::timeout && after.code == Errc::ok) continue;
    require(after.code != Errc::ok, where + "usable after " + text_of(o));
    ++broken;
    std::fprintf(stderr, "%sbroken: %s\n", where.c_str(), text_of(o.code == Errc::ok ? after : o).c_str());
    return leave_broken(world);
  }
  world.close();
}

struct Stream {
  Which which;
  Count count;
  int victim;
  int delay_ms;
};
// The same on all ranks: hosts.py gives every run a secret of its own.
std::uint64_t common_seed() {
  if (std::getenv("LIBCOLL_TEST_SEED") != nullptr) return test_seed();
  const char* secret = std::getenv("LIBCOLL_SECRET");
  return std::hash<std::string>()(secret == nullptr ? "" : secret) % 1000000;
}
std::vector<Stream> streams(int rounds) {
  std::mt19937_64 random(common_seed());
  std::vector<Stream> all;
  for (int i = 0; i < rounds; ++i) {
    const Which w = all_calls[static_cast<std::size_t>(i) % all_calls.size()];
    all.push_back({w, (i / 16 + i) % 2 == 0 ? 4 : 40009, static_cast<int>(random() % static_cast<unsigned>(ranks)), static_cast<int>(random() % 30)});
  }
  return all;
}

Outcome call_forever(Comm& world, const Stream& s) {
  Args x(world, s.count);
  // The victim's clock may run from here on, when others are still inside.
  return outcome_of([&] {
    for (;;) call(world, s.which, x);
  });
}

void after(int ms, int signal) {
  std::thread([=] { usleep(static_cast<useconds_t>(ms) * 1000), kill(getpid(), signal); }).detach();
}

void killed(const Stream& s) {
  Comm world = new_world(60);
  if (me == s.victim) after(10 + s.delay_ms, SIGKILL);
  require_names(call_forever(world, s), Errc::peer_lost, s.victim);
  leave_broken(world);
}

// A rank that stops answering. Who waits for whom decides who is named.
void stopped(const Stream& s) {
  Comm world = new_world(2);
  if (me == s.victim) after(10 + s.delay_ms, SIGSTOP);
  const Outcome o = call_forever(world, s);
  require(o.code == Errc::timeout && o.peer >= 0 && o.peer < ranks && o.text.find("rank " + std::to_string(o.peer)) != std::string::npos, text_of(o));
  if (ranks == 2) require_names(o, Errc::timeout, s.victim);
  leave_broken(world);
}

// A rank that ends without close(), in order or at once.
void left(const Stream& s) {
  Comm world = new_world(60);
  if (me == s.victim) {
    Args x(world, s.count);
    for (int i = 0; i < s.delay_ms; ++i) call(world, s.which, x);
    if (s.delay_ms % 2 == 0) _exit(0);
    return;
  }
  require_names(call_forever(world, s), Errc::peer_lost, s.victim);
  leave_broken(world);
}

// A rank dies while all others have messages with it under way, and with each other.
void messages(const Stream& s, int round) {
  Comm world = new_world(60);
  const std::size_t bytes = round % 2 == 0 ? 8 : 1u << 20;
  std::vector<char> out(bytes), in(bytes);
  const auto exchange = [&](int peer) {
    Message m = world.isend(out.data(), bytes, peer);
    world.recv(in.data(), bytes, round % 4 < 2 ? peer : any_source);
    m.wait();
  };
  if (me == s.victim) after(10 + s.delay_ms, SIGKILL);
  const Outcome o = outcome_of([&] {
    for (;;)
      for (int r = 0; r < ranks; ++r)
        if ((r == s.victim) != (me == s.victim)) exchange(me == s.victim ? r : s.victim);
  });
  require_names(o, Errc::peer_lost, s.victim);
  require_names(outcome_of([&] { world.recv(in.data(), bytes, s.victim, 1); }), Errc::peer_lost, s.victim);
  // The others are not concerned.
  for (int r = 0; r < ranks; ++r) {
    if (r == s.victim || r == me) continue;
    Message m = world.isend(out.data(), bytes, r, 2);
    world.recv(in.data(), bytes, r, 2);
    m.wait();
  }
}

// -- A child for every scene

// What a victim may come to: exit code 0, SIGKILL, or a stop that its parent ends.
void run_scene(const std::string& name, const Scene& scene, bool victim = false) {
  static int scenes = 0;
  std::FILE* const said = std::tmpfile();
  const pid_t child = fork();
  if (child == 0) {
    const std::string root = std::getenv("LIBCOLL_ROOT");  // each scene meets at a port of its own
    setenv("LIBCOLL_ROOT", fmt::format("{}:{}", root.substr(0, root.rfind(':')), 21000 + scenes).c_str(), 1);
    dup2(fileno(said), STDOUT_FILENO), dup2(fileno(said), STDERR_FILENO);
    int code = 0;
    try {
      scene();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "WRONG: %s\n", e.what());
      code = 1;
    }
    std::fflush(nullptr);
    std::exit(code);
  }
  ++scenes;
  int status = 0;
  bool stopped = false;
  const bool ended = wait_until(patience_s, [&] {
    const pid_t p = waitpid(child, &status, WNOHANG | WUNTRACED);
    stopped |= p == child && WIFSTOPPED(status);
    if (stopped) return wait_until(6, [] { return false; }) || kill(child, SIGKILL) == 0;  // the others have long given up
    return p == child;
  });
  if (stopped || !ended) kill(child, SIGKILL), waitpid(child, &status, 0);
  std::string text;
  std::rewind(said);
  for (char line[4096]; std::fgets(line, sizeof line, said) != nullptr;) text += line;
  std::fclose(said);
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  const bool good = ended && (victim ? killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
  if (!good) ++failures;
  const char* how = good ? "" : !ended ? ": hangs" : killed ? ": was killed" : WIFSIGNALED(status) ? ": crashed" : ": failed";
  if (!good || !text.empty()) std::fprintf(stderr, "%s%s\n%s", name.c_str(), how, text.c_str());
}

int run(const std::string& what, int rounds) {
  me = std::atoi(std::getenv("LIBCOLL_RANK"));
  ranks = std::atoi(std::getenv("LIBCOLL_SIZE"));
  if (what == "refused") run_scene("refused", [&] { refused(rounds); });
  if (what == "different") {
    struct Shared { std::size_t next; int broken; };
    auto* at = static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const std::size_t all = different_cases().size();
    while (at->next < all && failures == 0) run_scene(fmt::format("different from case {}", at->next), [&] { different(at->next, at->broken); });
    if (me == 0) std::printf("different: %d of %zu cases broke the communicator\n", at->broken, all);
  }
  int round = 0;
  for (const Stream& s : streams(rounds)) {
    const auto name = [&](const char* verb) { return fmt::format("{} of {} elements, rank {} {} after {} ms", name_of(s.which), s.count, s.victim, verb, s.delay_ms); };
    if (what == "killed") run_scene(name("killed"), [&] { killed(s); }, me == s.victim);
    if (what == "stopped") run_scene(name("stopped"), [&] { stopped(s); }, me == s.victim);
    if (what == "messages") run_scene(name("is killed among messages"), [&, round = round++] { messages(s, round); }, me == s.victim);
    if (what == "left") run_scene(name("left"), [&] { left(s); }, me == s.victim);
  }
  if (failures != 0) std::fprintf(stderr, "LIBCOLL_TEST_SEED=%llu repeats this run\n", static_cast<unsigned long long>(common_seed()));
  if (me == 0 && failures == 0) std::printf("%s: passed\n", what.c_str());
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace libcoll::test

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  return libcoll::test::run(argv[1], argc > 2 ? std::atoi(argv[2]) : 1);
}
