// Peers come (an endpoint on first use), are lost (an error or keepalive of their endpoint) or leave. Leaving is a
// handshake: "goodbye, I sent n messages" is answered once n have arrived. Closing a connection without it could throw
// away what the kernel or UCX still holds: over TCP, data that crosses a close resets the connection.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "libcoll/core/log.hpp"
#include "transports/ucx/ucx_impl.hpp"

namespace libcoll::xport::ucx {

using detail::failure;
using detail::Result;

UcxMessenger::UcxMessenger(int rank, Worker worker, std::vector<std::vector<char>> addresses, const UcxOptions& options)
    : rank_(rank), options_(options), addresses_(std::move(addresses)), worker_(std::move(worker)) {
  peers_.reserve(addresses_.size());  // UCX has pointers to them
  for (std::size_t r = 0; r < addresses_.size(); ++r) peers_.emplace_back(this, static_cast<int>(r));
  failing_.reserve(peers_.size());
  acknowledge_.reserve(peers_.size());
  linking_.reserve(peers_.size());
}

bool UcxMessenger::usable(int rank, std::string& why) const {
  if (rank < 0 || rank >= static_cast<int>(peers_.size())) {
    why = fmt::format("there is no rank {} in a world of {}", rank, peers_.size());
    return false;
  }
  const Peer& p = peers_[static_cast<std::size_t>(rank)];
  why = p.why;
  return p.state == Peer::State::unused || p.state == Peer::State::connected;
}

bool UcxMessenger::connect(Peer& p) {
  if (p.ep != nullptr) return true;
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(addresses_[static_cast<std::size_t>(p.rank)].data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = on_error;
  params.err_handler.arg = &p;
  const ucs_status_t s = ucp_ep_create(worker_.get(), &params, &p.ep);
  if (s == UCS_OK) {
    p.state = Peer::State::connected;
    begin_link(p);
    return true;
  }
  p.ep = nullptr;
  refused_ = true;
  break_connection(p, fmt::format("rank {} cannot be reached over UCX: {}", p.rank, ucs_status_string(s)));
  return false;
}

// To make a connection UCX needs calls of both sides, of one even after the first data has arrived. So no transfer is done
// before its rank has flushed the connection (over TCP that takes the peer's answer), has told the peer so, and has heard
// the same of it: whoever has left the first collective with a peer owes it nothing.
void UcxMessenger::begin_link(Peer& p) {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = on_link_flushed;
  param.user_data = &p;
  if (!UCS_PTR_IS_PTR(ucp_ep_flush_nbx(p.ep, &param))) link_flushed(p);
}

void UcxMessenger::on_link_flushed(void* request, ucs_status_t status, void* peer) {
  auto& p = *static_cast<Peer*>(peer);
  ucp_request_free(request);
  if (status == UCS_OK) p.owner->link_flushed(p);
}

void UcxMessenger::link_flushed(Peer& p) {
  p.flushed = true;
  linking_.push_back(p.rank);
}

void UcxMessenger::look_for_link(Peer& p) {
  if (p.linked()) release_held(p);
}

void UcxMessenger::settle_links() {
  while (!linking_.empty()) {
    Peer& p = peer(linking_.back());
    linking_.pop_back();
    if (std::string why; !usable(p.rank, why) || p.failing != UCS_OK) continue;
    if (p.state == Peer::State::unused) connect(p);  // heard before this rank had anything to say
    else if (p.flushed) send_control(p, Header::linked, {});
  }
}

void UcxMessenger::on_error(void* arg, ucp_ep_h, ucs_status_t status) {
  auto& p = *static_cast<Peer*>(arg);
  if (p.failing != UCS_OK) return;
  p.failing = status;
  p.owner->failing_.push_back(p.rank);
}

// All that the peer sent before its goodbye is here.
void UcxMessenger::look_for_end(Peer& p) {
  if (p.said_goodbye && p.arrived == p.goodbye_count && p.state != Peer::State::departed && p.state != Peer::State::failed)
    acknowledge_.push_back(p.rank);
}

bool UcxMessenger::settle() {
  bool any = false;
  while (!acknowledge_.empty()) {
    Peer& p = peer(acknowledge_.back());
    acknowledge_.pop_back();
    any = true;
    if (p.state == Peer::State::failed || p.state == Peer::State::departed) continue;
    const bool connected = p.failing == UCS_OK && connect(p);
    p.state = Peer::State::departed;
    p.why = fmt::format("rank {} has closed its world", p.rank);
    if (connected) send_control(p, Header::goodbye_seen, {});
    release_held(p);
    end_receives(p);
    end_waiting(p);
  }
  any |= !linking_.empty();
  settle_links();
  while (!failing_.empty()) {
    Peer& p = peer(failing_.back());
    failing_.pop_back();
    any = true;
    if (p.state == Peer::State::departed) close_endpoint(p);
    else break_connection(p, fmt::format("rank {} was lost: {}", p.rank, ucs_status_string(p.failing)));
  }
  return settle_flows() || any;
}

// Ends all that is pending with this peer. Sends and receives that UCX has begun are ended by UCX, in callbacks.
void UcxMessenger::break_connection(Peer& p, const std::string& why) {
  if (p.state == Peer::State::departed || p.state == Peer::State::failed) return close_endpoint(p);
  p.state = Peer::State::failed;
  p.why = why;
  if (lost_ < 0) lost_ = p.rank;
  release_held(p);
  end_receives(p);
  end_waiting(p);
  close_endpoint(p);
}

void UcxMessenger::end_receives(Peer& p) {
  table_.extract([&](const Entry& e) { return e.peer == p.rank && e.kind == Entry::Kind::posted; },
                 [&](Entry* e) { finish(e, p.why); });
  if (p.state != Peer::State::failed) return;
  // Their data is with the lost sender.
  table_.extract([&](const Entry& e) { return e.peer == p.rank && e.payload == Entry::Payload::rendezvous; },
                 [&](Entry* e) { drop(e); });
}

void UcxMessenger::close_endpoint(Peer& p) {
  if (p.ep == nullptr) return;
  if (transports_.empty() && p.failing == UCS_OK) transports_ = transports_of(p.ep);
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const ucp_ep_h ep = p.ep;
  p.ep = nullptr;
  const auto r = ucp_ep_close_nbx(ep, &param);
  if (UCS_PTR_IS_PTR(r)) closings_.push_back(r);
}

bool UcxMessenger::closings_done() {
  std::erase_if(closings_, [](void* r) {
    if (ucp_request_check_status(r) == UCS_INPROGRESS) return false;
    ucp_request_free(r);
    return true;
  });
  return closings_.empty();
}

void UcxMessenger::send_control(Peer& p, Header::Kind kind, Header h) {
  h.source = static_cast<std::uint32_t>(rank_);
  h.kind = kind;
  credits_sent_ += kind == Header::credit || kind == Header::unlimited;
  start_send(new_entry(Entry::Kind::control, p.rank, h, nullptr, 0, nullptr));
}

bool UcxMessenger::progress_until(Clock::time_point deadline, const std::function<bool()>& done) {
  while (!done()) {
    if (advance(1000)) continue;
    if (Clock::now() > deadline) return false;
    pollfd fd{worker_.event_fd(), POLLIN, 0};
    if (fd.fd < 0) usleep(50);
    else if (ucp_worker_arm(worker_.get()) == UCS_OK) poll(&fd, 1, 10);
  }
  return true;
}

// An acknowledgement may still be on its way out, or UCX's own answer to a peer that has begun to connect.
void UcxMessenger::close_worker() {
  // UCX 1.13.1 counts an endpoint that it could not create as under way for ever: no flush tells then what still is.
  const bool broken = broken_.load(std::memory_order_relaxed) || refused_;
  const auto patience = std::chrono::milliseconds(refused_ ? 100 : 1000);
  void* flush = nullptr;
  const auto quiet = [&] { return worker_.is_quiet(flush); };
  // Those that break off at about the same time get their answers.
  if (broken) progress_until(Clock::now() + std::chrono::milliseconds(100), [] { return false; });
  // Data for a peer that has left keeps an endpoint from ever being quiet: what counts is what is left without endpoints.
  progress_until(Clock::now() + patience, quiet);
  const auto unmade = [](const Peer& p) { return p.ep != nullptr && p.failing == UCS_OK && !p.flushed; };
  for (Peer& p : peers_)
    if (!unmade(p)) close_endpoint(p);
  progress_until(Clock::now() + patience, [&] { return closings_done() && in_flight_ == nullptr; });
  // While there is a worker to give UCX's memory back to.
  const auto drop_arrived = [&] { table_.extract([](const Entry&) { return true; }, [&](Entry* e) { drop(e); }); };
  drop_arrived();
  // No progress after the last look: it may bring the next peer.
  const bool all_made = progress_until(Clock::now() + patience, quiet);
  drop_arrived();
  const auto who = std::find_if(peers_.begin(), peers_.end(), unmade);
  if (all_made && !broken && who == peers_.end()) return;
  if (flush != nullptr) ucp_request_free(flush);
  const int left = worker_.outlive(who != peers_.end() || in_flight_ != nullptr);
  const std::string why = who != peers_.end() ? fmt::format("its connection to rank {} is still being made", who->rank) : broken ? "ranks may still be connecting to it" : "a peer is connecting to it";
  detail::log().info("UCX: rank {} closes, but {}: its worker stays open, one of {} in this process", rank_, why, left);
}

UcxMessenger::~UcxMessenger() {
  const std::lock_guard lock(mutex_);
  const auto seconds = [](double s) { return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s)); };
  table_.extract([](const Entry& e) { return e.kind == Entry::Kind::posted; },
                 [&](Entry* e) { finish(e, "the receive was pending when its messenger closed"); });
  for (Peer& p : peers_) {
    release_held(p);
    p.flows.each([&](Flow& f) { start_waiting(p, f); });
    if (p.state != Peer::State::connected || p.failing != UCS_OK) continue;
    Header h;
    h.communicator = p.sent;
    send_control(p, Header::goodbye, h);
  }
  const auto waits_for = [](const Peer& p) { return p.state == Peer::State::connected && !p.knows_we_leave; };
  const auto all_know = [&] { return in_flight_ == nullptr && std::none_of(peers_.begin(), peers_.end(), waits_for); };
  if (!progress_until(Clock::now() + seconds(options_.linger_s), all_know)) {
    for (const Peer& p : peers_)
      if (waits_for(p)) detail::log().info("UCX: rank {} did not say within {} s that it has all messages", p.rank, options_.linger_s);
  }

  close_worker();
  while (in_flight_ != nullptr) {  // UCX kept them although their endpoints are closed
    Entry* const e = in_flight_;
    in_flight_ = e->right;
    finish(e, fmt::format("the transfer with rank {} was pending when its messenger closed", e->peer));
  }
  payloads_.give(piece_, piece_bytes);
}

namespace {

// What ranks tell each other before they exchange addresses.
struct Hello {
  std::uint32_t code = 0;  // Errc of what went wrong here
  std::uint32_t address_bytes = 0;
  char text[248] = {};
};

Result<std::vector<std::vector<char>>> exchange(Bootstrap& bootstrap, const Result<std::vector<char>>& mine) {
  const auto size = static_cast<std::size_t>(bootstrap.size());
  Hello hello;
  if (mine) hello.address_bytes = static_cast<std::uint32_t>(mine->size());
  else hello.code = static_cast<std::uint32_t>(mine.error().code), hello.text[mine.error().text.copy(hello.text, sizeof hello.text - 1)] = 0;
  std::vector<Hello> hellos(size);
  bootstrap.allgather(&hello, hellos.data(), sizeof hello);
  std::size_t longest = 1;
  for (std::size_t r = 0; r < size; ++r) {
    if (hellos[r].code != 0) return failure(static_cast<Errc>(hellos[r].code), fmt::format("rank {}: {}", r, hellos[r].text), static_cast<int>(r));
    longest = std::max<std::size_t>(longest, hellos[r].address_bytes);
  }
  std::vector<char> block(longest), blocks(longest * size);
  std::copy(mine->begin(), mine->end(), block.begin());
  bootstrap.allgather(block.data(), blocks.data(), longest);
  std::vector<std::vector<char>> addresses(size);
  for (std::size_t r = 0; r < size; ++r) {
    const char* const first = blocks.data() + r * longest;
    addresses[r].assign(first, first + hellos[r].address_bytes);
  }
  return addresses;
}

}  // namespace

std::string UcxMessenger::text() const {
  const std::lock_guard lock(mutex_);
  std::string over = transports_;
  for (const Peer& p : peers_)
    if (over.empty() && p.ep != nullptr && p.failing == UCS_OK) over = transports_of(p.ep);
  transports_ = over;
  return fmt::format("UCX {}{}{}", ucp_get_version_string(), over.empty() ? "" : " over ", over);
}

}  // namespace libcoll::xport::ucx

namespace libcoll::xport {

bool ucx_available() { return true; }

detail::Result<std::unique_ptr<Messenger>> create_ucx_messenger(Bootstrap& bootstrap, const UcxOptions& options) {
  auto worker = ucx::Worker::open(options);
  detail::Result<std::vector<char>> address = worker ? worker->address() : tl::make_unexpected(worker.error());
  try {
    auto addresses = ucx::exchange(bootstrap, address);
    if (!addresses) return tl::make_unexpected(addresses.error());
    auto messenger = std::make_unique<ucx::UcxMessenger>(bootstrap.rank(), std::move(*worker), std::move(*addresses), options);
    const ucs_status_t s = messenger->listen();
    // Nobody may send before all listen.
    auto listening = ucx::exchange(bootstrap, s == UCS_OK ? detail::Result<std::vector<char>>(std::vector<char>(1))
                                                          : detail::failure(Errc::system, ucs_status_string(s)));
    if (!listening) return tl::make_unexpected(listening.error());
    return messenger;
  } catch (const Error& e) {
    return detail::failure(e.code(), e.what(), e.peer());
  }
}

}  // namespace libcoll::xport
