// Mailbox: the messages of one communicator on this rank (Comm::isend, Comm::irecv): which message a receive gets is decided
// here, how messages travel by a Link to each peer (Link: another host, the same host, this rank itself).
// Used by the thread that owns the communicator and, while something is under way, by whoever calls Engine::progress.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "libcoll/error.hpp"
#include "libcoll/execution/engine.hpp"
#include "libcoll/execution/matcher.hpp"
#include "transports/shm/lane.hpp"

namespace libcoll::exec {

class Link;
class Mailbox;
class Queue;

// A send or a receive; as a node, a receive that no message has met.
struct MessageOp : MatchNode {
  enum class Stage : std::uint8_t { idle, posted, moving, done };  // posted: only receives
  explicit MessageOp(Mailbox& b) : box(b) {}
  Mailbox& box;
  std::atomic<Stage> stage{Stage::idle};
  bool sends = false;
  int peer = -1;                    // destination, or source once it is known, or what was asked for
  void* data = nullptr;             // of a send: only read
  std::size_t bytes = 0;
  double timeout_s = 0;             // 0: the world's
  Link* link = nullptr;             // that moves it
  std::uint64_t steps = 0;          // counts whatever happens to it
  std::exception_ptr error;
  MessageOp* next_free = nullptr;
  unsigned looks = 0;               // of test: since the last look for the lost
  double watched_s = 0;             // that these took without a step, long pauses of the caller left out
  std::uint64_t watched_steps = 0;
  std::chrono::steady_clock::time_point last_look{};
  bool under_way() const {
    const Stage s = stage.load(std::memory_order_acquire);
    return s == Stage::posted || s == Stage::moving;
  }
};

// A message whose envelope is here. While its link hands it over `data` may lie in the link's memory; the one that is kept
// has its own.
struct Arrival : MatchNode {
  Link* link = nullptr;
  std::size_t bytes = 0;
  const void* data = nullptr;       // all of it, or null: it is elsewhere
  std::uint8_t how = 0;             // the link's own, like the next two
  std::uint64_t at = 0;
  std::uint64_t key = 0;
  MessageOp* sender = nullptr;      // of a message to oneself
  std::unique_ptr<std::byte[]> kept;
  std::byte in_line[128];
};

// How messages travel to and from one peer. All calls with the mailbox's lock.
class Link {
 public:
  Link(Mailbox& b, int r) : box(b), peer(r) {}
  virtual ~Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  Mailbox& box;
  const int peer;                   // rank in the communicator
  int wanted = 0;                   // receives that wait for messages of this peer alone
  bool lost = false;
  std::string why;                  // then

  virtual bool over_network() const { return false; }
  // Never waits. Ends it at once if it can (Mailbox::finish).
  virtual void send(MessageOp&) = 0;
  // Looks for envelopes and hands them to Mailbox::arrived. True if there was one.
  virtual bool poll() = 0;
  // Moves on what is under way.
  virtual bool advance() = 0;
  // A receive has met the message. False: its sender has withdrawn it. It does not fit: it is over without its data.
  virtual bool claim(Arrival&, bool fits) = 0;
  // Then: its data for this receive, whose length is the same.
  virtual void take(Arrival&, MessageOp&) = 0;
  // Lets go of one of its sends, or of a receive that was matched; then the buffer is free. May wait a moment.
  virtual void cancel(MessageOp&) = 0;
  // Whether the peer needs this rank for something that no operation stands for any more.
  virtual bool has_duties() const { return false; }
  // Whether the system says that the peer is dead; why.
  virtual bool is_dead(std::string&) { return false; }
  // The communicator is closing, and all of this rank's operations have ended. Own buffers go, too.
  virtual void close() {}
};

class Mailbox final : public Mover {
 public:
  // `members`: ranks of the world by rank of the communicator; `places`: in `host`, the group of those on this host, or -1.
  struct Setting {
    std::vector<int> members;
    std::vector<int> places;
    int rank = 0;
    std::uint64_t communicator = 0;
  };
  Mailbox(Engine&, Queue&, xport::shm::Group& host, Setting);
  struct Disown {
    void operator()(Mailbox* m) const { m->disown(); }
  };

  // Arguments are valid. Throws if the communicator is broken.
  MessageOp* start_send(const void* data, std::size_t bytes, int dest, int tag, double timeout_s);
  MessageOp* start_receive(void* data, std::size_t bytes, int source, int tag, double timeout_s);
  // From now on others move it on, too; blocking calls do without.
  void share() { settle(); }
  // Throws what it ended with, once.
  bool test(MessageOp&);
  void wait(MessageOp&);
  void cancel(MessageOp&) noexcept;
  void release(MessageOp&);
  bool progress() override;
  // Ends whatever is under way: the communicator cannot go on.
  void break_off(int culprit, const std::string& why);
  // The first half of leaving: nothing can start any more, and all ends. This rank looks at nobody's memory any more.
  void shut_down();
  // The second, once all members have come to the first (or nobody will): what the links still hold for others goes.
  void leave();
  // Then, once no member looks at this rank's memory.
  void give_back() { lanes_.release(); }

  // -- For links.
  Engine& engine() { return engine_; }
  xport::shm::Lanes& lanes() { return lanes_; }
  const Setting& setting() const { return setting_; }
  bool is_wanted(const Link& l) const { return l.wanted != 0 || any_wanted_ != 0; }
  // Null if a receive got it, or it was withdrawn; else the one that is kept until a receive does.
  Arrival* arrived(Arrival&);
  void finish(MessageOp&);
  void fail(MessageOp&, Errc, const std::string& what, int culprit);
  void step(MessageOp& op) { ++op.steps; }
  // All that involves the peer ends, now and later.
  void lose(Link&, const std::string& why);
  void hold(Arrival&, const void* data);  // in memory of its own
  void withdraw(Arrival& a) { arrivals_.remove(a), forget(a); }  // one that is kept
  std::string text_of(const MessageOp&) const;

 private:
  ~Mailbox() = default;
  void disown();
  MessageOp& take_op(bool sends, void* data, std::size_t bytes, int peer, int tag, double timeout_s);
  Link& link_to(int peer);
  Arrival& keep(const Arrival&);
  void forget(Arrival&);
  bool deliver(Arrival&, MessageOp&);
  template <class Which, class To> void each_under_way(const Which&, const To&);
  void post(MessageOp&);
  void unpost(MessageOp&);
  bool advance();
  void settle();
  void end(MessageOp&, std::exception_ptr);
  void let_go(MessageOp&);
  void watch(MessageOp&);
  void look_for_lost();
  void look_for_dead();
  void time_out(MessageOp&);
  bool only_network() const;
  double limit_s(const MessageOp& op) const { return op.timeout_s > 0 ? op.timeout_s : engine_.waiting().timeout_s; }

  Engine& engine_;
  Queue& queue_;                     // of the owner's thread alone
  const Setting setting_;
  xport::shm::Lanes lanes_;
  bool registered_ = false, closed_ = false, disowned_ = false;  // of the owner's thread
  int held_ = 0;
  // -- With the lock.
  std::mutex mutex_;
  MatchList receives_, arrivals_;
  std::vector<std::unique_ptr<Link>> links_;  // by rank; null: nothing was sent to it or asked of it
  std::vector<Link*> used_;
  int any_wanted_ = 0;               // receives from any source that wait
  int under_way_ = 0;                // operations
  std::string broken_;
  int culprit_ = -1;
  std::vector<std::unique_ptr<MessageOp>> all_;
  MessageOp* free_ = nullptr;
  std::vector<std::unique_ptr<Arrival>> all_arrivals_;
  Arrival* free_arrival_ = nullptr;  // linked by `next`
};

// Makes the link to a peer of this host, of another one, or to this rank.
std::unique_ptr<Link> make_lane_link(Mailbox&, int peer);
std::unique_ptr<Link> make_network_link(Mailbox&, int peer);
std::unique_ptr<Link> make_self_link(Mailbox&, int peer);
// What the messages of a communicator go by in the messenger: envelopes, and the rest. To be forgotten with it.
std::uint64_t envelopes_of(std::uint64_t communicator);
std::uint64_t payloads_of(std::uint64_t communicator);

}  // namespace libcoll::exec
