// Engine: what moves the started collectives and messages of a world on: its messenger, and the queues and
// mailboxes that hold operations. Everything here happens inside calls of the library, or in the progress thread if there is one.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "transports/messenger.hpp"
#include "transports/shm/host.hpp"

namespace libcoll::exec {

class Queue;

// What else needs moving on: the messages of a communicator (Mailbox).
class Mover {
 public:
  virtual bool progress() = 0;  // true if anything happened; nothing if another thread is doing so

 protected:
  ~Mover() = default;
};

class Engine {
 public:
  struct Waiting {
    int spins = 2000;        // polls before yielding
    double yield_us = 100;   // of yielding before sleeping
    double timeout_s = 60;
  };
  Engine(xport::shm::Host&, std::unique_ptr<xport::Messenger>, const Waiting&);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  xport::Messenger* messenger() { return messenger_.get(); }
  xport::shm::Host& host() { return host_; }
  const Waiting& waiting() const { return waiting_; }

  // Queues that others may have to move on.
  void enter(Queue*);
  void leave(Queue*);
  void enter(Mover*);
  void leave(Mover*);  // afterwards nobody is inside its progress()
  bool busy() const { return active() != 0; }
  int active() const { return active_count_.load(std::memory_order_relaxed); }
  // Moves everything on but `except`, which the caller moves on itself. True if anything happened.
  bool progress(const Queue* except = nullptr);
  // A thread that does so whenever there is something to do.
  void start_thread();
  void wake_thread();

 private:
  void thread_body();
  template <class T> void enter(std::vector<T*>&, T*);
  template <class T> void leave(std::vector<T*>&, T*);

  xport::shm::Host& host_;
  std::unique_ptr<xport::Messenger> messenger_;
  const Waiting waiting_;
  std::mutex mutex_;
  std::vector<Queue*> active_;
  std::vector<Mover*> movers_;
  std::atomic<int> active_count_{0};
  std::atomic<bool> quit_{false};
  std::atomic<std::uint32_t> bell_{0};  // the thread sleeps on it while nothing is active
  std::thread thread_;
};

// How a waiting loop spends its idle rounds: polls, then yields, then sleeps.
class Idler {
 public:
  explicit Idler(Engine& engine) : engine_(engine) {}
  // After a round; `network_only`: nothing in shared memory can move the caller on.
  void rest(bool progressed, bool network_only);
  double waited_s() const;
  bool slept() const { return slept_; }  // in the last round

 private:
  using Clock = std::chrono::steady_clock;
  Engine& engine_;
  int rounds_ = 0;
  bool slept_ = false;
  Clock::time_point start_{};
};

}  // namespace libcoll::exec
