#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {

using Clock = std::chrono::steady_clock;

namespace {

std::string what_of(const std::function<void()>& f) {
  try {
    f();
    return "";
  } catch (const Error& e) {
    return std::string(name_of(e.code())) + ": " + e.what();
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

// Ranks that only lost a peer say less than the one that started it.
bool secondary(const std::string& text) {
  for (const char* start : {"peer lost", "closed", "bootstrap: test board", "timeout"})
    if (text.rfind(start, 0) == 0) return true;
  return false;
}

std::string listed(const std::vector<std::string>& texts) {
  std::string out;
  for (const bool second : {false, true}) {
    for (std::size_t r = 0; r < texts.size(); ++r) {
      if (texts[r].empty() || secondary(texts[r]) != second) continue;
      out += "rank " + std::to_string(r) + " of " + std::to_string(texts.size()) + ": " + texts[r] + "\n";
    }
  }
  if (!out.empty()) out += seed_text() + "\n";
  return out;
}

void run_rank(Board& board, const Launch& launch, int rank, const Body& body) {
  Comm world = Comm::from_callback(rank, launch.ranks, board.function_for(rank), launch.config);
  body(world);
  if (world) world.close();
}

}  // namespace

std::string run_threads(const Launch& launch, const Body& body) {
  Board board(launch.ranks);
  const auto n = static_cast<std::size_t>(launch.ranks);
  std::vector<std::string> texts(n);
  std::vector<char> done(n);
  std::mutex mutex;
  std::condition_variable changed;
  bool failed = false;
  std::vector<std::thread> threads;
  for (int r = 0; r < launch.ranks; ++r) {
    threads.emplace_back([&, r] {
      const std::string text = what_of([&] { run_rank(board, launch, r, body); });
      const std::lock_guard lock(mutex);
      texts[static_cast<std::size_t>(r)] = text;
      done[static_cast<std::size_t>(r)] = 1;
      if (!text.empty()) failed = true, board.stop();
      changed.notify_all();
    });
  }
  const auto all_done = [&] { return std::count(done.begin(), done.end(), 1) == launch.ranks; };
  {
    std::unique_lock lock(mutex);
    const auto seconds = [](double s) { return std::chrono::duration<double>(s); };
    changed.wait_for(lock, seconds(launch.watchdog_s), [&] { return failed || all_done(); });
    // After a failure the others will wait for a rank that is gone: no need to watch them do so.
    if (failed) changed.wait_for(lock, seconds(2), all_done);
    if (!all_done()) {
      for (std::size_t r = 0; r < n; ++r)
        if (!done[r]) texts[r] = "timeout: still running when the watchdog looked";
      std::fprintf(stderr, "run_threads: giving up\n%s", listed(texts).c_str());
      std::fflush(nullptr);
      std::_Exit(1);
    }
  }
  for (std::thread& t : threads) t.join();
  return listed(texts);
}

Processes::Processes(Board& board, int ranks, const std::function<int(int)>& body)
    : ends_(static_cast<std::size_t>(ranks)) {
  test_seed();  // drawn here, so that all children inherit the same
  std::fflush(nullptr);
  for (int r = 0; r < ranks; ++r) {
    const pid_t pid = fork();
    if (pid == 0) {
      int code = 1;
      const std::string text = what_of([&] { code = body(r); });
      if (!text.empty()) board.report(r, text), code = 1;
      std::fflush(nullptr);
      _exit(code);
    }
    pids_.push_back(pid);
  }
}

void Processes::signal(int rank, int number) const {
  if (!ends_[static_cast<std::size_t>(rank)].ended) kill(pid(rank), number);
}

bool Processes::reap(std::size_t rank) {
  End& e = ends_[rank];
  if (e.ended) return true;
  int status = 0;
  if (waitpid(pids_[rank], &status, WNOHANG) != pids_[rank]) return false;
  e.ended = true;
  if (WIFEXITED(status)) e.exit_code = WEXITSTATUS(status);
  else e.signal = WTERMSIG(status);
  return true;
}

bool Processes::wait_for(int rank, double seconds) {
  return wait_until(seconds, [&] { return reap(static_cast<std::size_t>(rank)); });
}

const std::vector<Processes::End>& Processes::wait(double seconds) {
  wait_until(seconds, [&] {
    bool all = true;
    for (std::size_t r = 0; r < pids_.size(); ++r) all &= reap(r);
    return all;
  });
  for (std::size_t r = 0; r < pids_.size(); ++r) {
    if (ends_[r].ended) continue;
    kill(pids_[r], SIGKILL);
    waitpid(pids_[r], nullptr, 0);
    pids_[r] = -1;
  }
  return ends_;
}

Processes::~Processes() {
  for (std::size_t r = 0; r < pids_.size(); ++r) {
    if (pids_[r] <= 0 || reap(r)) continue;
    kill(pids_[r], SIGKILL);
    waitpid(pids_[r], nullptr, 0);
  }
}

std::string run_forked(const Launch& launch, const Body& body) {
  Board board(launch.ranks);
  Processes ranks(board, launch.ranks, [&](int r) {
    try {
      run_rank(board, launch, r, body);
    } catch (...) {
      board.stop();
      throw;
    }
    return 0;
  });
  const std::vector<Processes::End>& ends = ranks.wait(launch.watchdog_s);
  std::vector<std::string> texts;
  for (int r = 0; r < launch.ranks; ++r) {
    const Processes::End& e = ends[static_cast<std::size_t>(r)];
    std::string text = board.text_of(r);
    if (!e.ended) text = "timeout: killed by the watchdog";
    else if (e.signal != 0) text = "died of signal " + std::to_string(e.signal);
    else if (e.exit_code != 0 && text.empty()) text = "exit code " + std::to_string(e.exit_code);
    texts.push_back(text);
  }
  return listed(texts);
}

}  // namespace libcoll::test
