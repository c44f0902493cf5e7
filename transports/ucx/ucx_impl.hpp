// The messenger itself. One mutex guards everything; UCX's callbacks run inside calls that hold it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "transports/messenger.hpp"
#include "transports/ucx/flow.hpp"
#include "transports/ucx/matching.hpp"
#include "transports/ucx/room.hpp"
#include "transports/ucx/ucx_worker.hpp"

namespace libcoll::xport::ucx {

using Clock = std::chrono::steady_clock;

class UcxMessenger final : public Messenger {
 public:
  // `addresses`: of all ranks, in rank order.
  UcxMessenger(int rank, Worker, std::vector<std::vector<char>> addresses, const UcxOptions&);
  ~UcxMessenger() override;
  // Before any transfer.
  ucs_status_t listen();

  void send(int peer, const MessageKey&, const void* data, std::size_t bytes, Transfer&) override;
  void recv(int peer, const MessageKey&, void* data, std::size_t bytes, Transfer&) override;
  bool progress() override;
  void cancel(Transfer&) override;
  void notify(int peer, const Notice&) override;
  void set_broken() override { broken_.store(true, std::memory_order_relaxed); }
  bool has_unsent() const override;
  bool take_notice(std::uint64_t communicator, Notice&) override;
  void forget(std::uint64_t communicator) override;
  void abandon(std::uint64_t communicator, std::uint32_t sequence, std::uint32_t first_live) override;
  int lost_peer(std::string* why) const override;
  int event_fd() const override { return worker_.event_fd(); }
  bool arm() override;
  Traffic traffic(int peer) const override;
  std::string text() const override;

  // For tests: of what this rank sends to the peer in the communicator, and of the messenger.
  struct FlowState {
    bool known = false;            // the communicator, with this peer
    std::uint32_t unconsumed = 0;  // units started, not known to be consumed
    bool waiting = false;
    std::uint64_t credits_sent = 0;  // messages that carried nothing else, to anybody
    std::size_t kept = 0;            // early messages, from anybody
  };
  FlowState flow_state(int peer, std::uint64_t communicator) const;

 private:
  struct Peer {
    Peer(UcxMessenger* of, int with) : owner(of), rank(with), flows(with) {}
    enum class State : std::uint8_t { unused, connected, departed, failed };
    UcxMessenger* owner;
    int rank;
    State state = State::unused;
    ucp_ep_h ep = nullptr;
    std::string why;                           // of departed and failed
    ucs_status_t failing = UCS_OK;             // what the error handler was told
    bool flushed = false;                      // the connection is made on this side
    bool told = false;                         // the peer, of that
    bool heard = false;                        // the same of it
    bool linked() const { return told && heard; }
    Entry* held = nullptr;                     // transfers that are over but for that
    bool said_goodbye = false;                 // and sent so many data messages before:
    std::uint64_t goodbye_count = 0;
    bool knows_we_leave = false;               // it has seen our goodbye and all that we sent before
    std::uint64_t sent = 0, arrived = 0;       // data messages, for the goodbyes
    std::uint16_t messages_arrived = 0;        // of any kind, for the peer's Room
    Room room;
    Traffic traffic;
    Flows flows;
  };

  // -- Transfers (ucx_messenger.cpp)
  Entry* new_entry(Entry::Kind, int peer, const Header&, void* data, std::size_t bytes, Transfer*);
  Header header_of(const MessageKey&, Header::Kind) const;
  void deliver(Entry* posted, Entry* arrived);
  void drop(Entry* arrived);
  void finish(Entry*, const std::string& error = {});
  void complete(Entry*);
  void release_held(Peer&);
  bool same_call(Entry* posted, const Header& arrived, std::size_t bytes);
  ucs_status_t arrived(const Header&, void* data, std::size_t bytes, std::uint64_t attributes);
  ucs_status_t keep(const Header&, void* data, std::size_t bytes, std::uint64_t attributes);
  ucs_status_t control_arrived(const Header&);
  static ucs_status_t on_message(void* self, const void* header, std::size_t header_bytes, void* data, std::size_t bytes,
                                 const ucp_am_recv_param_t*);
  bool advance(int limit);

  // -- What UCX does (ucx_requests.cpp)
  static constexpr unsigned message_id = 0;
  bool start_send(Entry*);  // false if UCX refused
  ucs_status_ptr_t send_in_one_piece(Peer&, Entry*);
  ucs_status_ptr_t send_in_pieces(Peer&, Entry*);
  static void expect_end(ucp_request_param_t&, Entry*);
  void start_rendezvous(Entry*, void* descriptor);
  void started(Entry*, ucs_status_ptr_t result);
  void ended(Entry*, ucs_status_t);
  static void on_sent(void* request, ucs_status_t, void* entry);
  static void on_received(void* request, ucs_status_t, std::size_t bytes, void* entry);

  // -- Flow control (ucx_flow.cpp)
  void start_data(Flow&, Entry*);
  void start_or_wait(Flow&, Entry*);
  void note(Flow&);
  void heard(const Header&);
  void consumed(Flow&, std::size_t bytes);
  bool is_abandoned(const Header&) const;
  void let_go(int sender, std::uint64_t communicator);
  void tell(int to, Header::Kind, const Header&);
  bool settle_flows();
  void start_waiting(Peer&, Flow&);
  void end_waiting(Peer&);

  // -- Peers (ucx_lifetime.cpp)
  Peer& peer(int rank) { return peers_[static_cast<std::size_t>(rank)]; }
  bool usable(int rank, std::string& why) const;
  // True if there is an endpoint afterwards.
  bool connect(Peer&);
  void begin_link(Peer&);
  void link_flushed(Peer&);
  void look_for_link(Peer&);
  void settle_links();
  static void on_error(void* peer, ucp_ep_h, ucs_status_t);
  static void on_link_flushed(void* request, ucs_status_t, void* peer);
  // Acts on what callbacks noted: failed endpoints, goodbyes to acknowledge, credit.
  bool settle();
  void look_for_end(Peer&);
  void break_connection(Peer&, const std::string& why);
  void end_receives(Peer&);
  void close_endpoint(Peer&);
  bool closings_done();
  void close_worker();
  void send_control(Peer&, Header::Kind, Header);
  bool progress_until(Clock::time_point deadline, const std::function<bool()>& done);

  const int rank_;
  const UcxOptions options_;
  const std::vector<std::vector<char>> addresses_;
  mutable std::mutex mutex_;
  EntryPool entries_;
  PayloadPool payloads_;
  void* piece_ = payloads_.take(piece_bytes);  // where the next small message is put together
  MatchTable table_;
  Forgotten forgotten_;
  Entry* in_flight_ = nullptr;              // known to UCX
  std::vector<Peer> peers_;
  std::vector<int> failing_, acknowledge_, linking_;  // ranks, noted in callbacks
  std::unordered_map<std::uint64_t, Abandoned> abandoned_;  // by communicator
  std::vector<Flow*> due_;                  // credit is owed, or sends that wait may go
  struct Excuse {
    int peer;
    std::uint64_t communicator;
    bool operator==(const Excuse&) const = default;
  };
  std::vector<Excuse> excuses_;             // whoever sends to a forgotten communicator needs no credit any more
  std::uint64_t credits_sent_ = 0;
  std::vector<void*> closings_;             // UCX's requests
  int lost_ = -1;
  std::atomic<bool> broken_{false};
  bool refused_ = false;                    // UCX could not even begin a connection
  std::vector<Notice> notices_;
  std::atomic<bool> any_notice_{false};
  mutable std::string transports_;
  Worker worker_;                           // destroyed first: its callbacks use the rest
};

}  // namespace libcoll::xport::ucx
