#include "libcoll/bootstrap/meeting.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>

#include "libcoll/bootstrap/door.hpp"
#include "libcoll/bootstrap/root_address.hpp"
#include "libcoll/core/log.hpp"

namespace libcoll::detail {
namespace {

using std::chrono::milliseconds;

// Others wait this much longer than rank 0, whose last word names the missing ranks.
constexpr auto last_word_slack = milliseconds(2000);
// Rank 0 holds out this long for an address that is in use.
constexpr auto bind_patience = milliseconds(10'000);
// One attempt at one candidate; doubles, since rank 0 may merely be busy.
constexpr auto first_attempt = milliseconds(2000), longest_attempt = milliseconds(16'000);

// Rank 0 needs a descriptor per rank for a moment. The soft limit is often 1024 and the hard one far
// above; it is put back, since programs that use select() rely on small descriptors.
class DescriptorAllowance {
 public:
  explicit DescriptorAllowance(int ranks) {
    constexpr rlim_t others = 512;
    if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) return;
    const rlim_t need = static_cast<rlim_t>(ranks) + others;
    if (before_.rlim_cur >= need) return;
    const rlimit wanted{std::min(need, before_.rlim_max), before_.rlim_max};
    raised_ = ::setrlimit(RLIMIT_NOFILE, &wanted) == 0;
  }
  DescriptorAllowance(const DescriptorAllowance&) = delete;
  DescriptorAllowance& operator=(const DescriptorAllowance&) = delete;
  ~DescriptorAllowance() {
    if (raised_) ::setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_{};
  bool raised_ = false;
};

// Tells all of them why and hands the reason on.
tl::unexpected<Failure> abandon(Door::Guests& guests, Failure why) {
  for (auto& [rank, guest] : guests) guest.link.give_up(why);
  return tl::make_unexpected(std::move(why));
}

std::vector<Link> links_of(Door::Guests& guests, const std::vector<int>& ranks) {
  std::vector<Link> out;
  for (const int r : ranks) out.push_back(std::move(guests.at(r).link));
  return out;
}

Identity identity(const JobInfo& job) {
  return {.rank = job.rank, .size = job.size, .job = job_key(job.secret, job.job_id)};
}

// Where a child of `parent` finds it.
WireAddress address_for_child(const Door::Guest& parent, bool loopback_only) {
  if (parent.seen.family() == AF_UNIX) return parent.listener;
  if (parent.seen.is_loopback() && !loopback_only) {
    return {.kind = WireAddress::Kind::same_host, .length = 0, .port = parent.listener.port, .data = {}};
  }
  SocketAddress a = parent.seen;
  a.set_port(parent.listener.port);
  return to_wire(a);
}

Result<std::unique_ptr<TreeBootstrap>> join_as_root(const JobInfo& job, Deadline deadline) {
  const DescriptorAllowance allowance(job.size);
  std::vector<int> expected;
  for (int r = 1; r < job.size; ++r) expected.push_back(r);
  Door::Guests guests;
  {
    auto listeners = listen_as_root(job.meeting, std::min(deadline, Clock::now() + bind_patience));
    if (!listeners) return tl::make_unexpected(listeners.error());
    Door door(std::move(*listeners), identity(job));
    auto all_here = door.admit(expected, deadline, job.timeout, guests);
    if (!all_here) return abandon(guests, all_here.error());
    // The door closes before anybody goes on: whoever meets again finds the new door or none.
  }
  for (auto& [rank, guest] : guests) {
    const int parent = tree_parent(rank);
    const WireAddress at =
        parent == 0 ? WireAddress{} : address_for_child(guests.at(parent), job.meeting.loopback_only);
    if (auto r = guest.link.send(FrameType::go, encode(at), Clock::now() + last_word_slack); !r) {
      return abandon(
          guests,
          {Errc::bootstrap, fmt::format("rank {} left while the ranks met: {}", rank, r.error().text), rank});
    }
  }
  return std::make_unique<TreeBootstrap>(0, job.size, job.timeout, std::nullopt,
                                         links_of(guests, tree_children(0, job.size)));
}

// A rank other than 0, from its first connection on.
class Newcomer {
 public:
  Newcomer(const JobInfo& job, Deadline deadline)
      : job_(job), me_(identity(job)), deadline_(deadline), children_(tree_children(job.rank, job.size)) {}

  Result<std::unique_ptr<TreeBootstrap>> join() {
    if (auto r = find_root(); !r) return tl::make_unexpected(r.error());
    auto parent = find_parent();
    if (!parent) return tl::make_unexpected(parent.error());
    Door::Guests guests;
    if (!children_.empty()) {
      std::vector<Fd> listeners;
      listeners.push_back(std::move(listener_));
      Door door(std::move(listeners), me_);
      if (auto r = door.admit(children_, deadline_ + last_word_slack, job_.timeout, guests); !r) {
        parent->give_up(r.error());
        return abandon(guests, r.error());
      }
    }
    return std::make_unique<TreeBootstrap>(job_.rank, job_.size, job_.timeout, std::move(*parent),
                                           links_of(guests, children_));
  }

 private:
  Result<WireAddress> open_listener(const SocketAddress& local) {
    if (children_.empty()) return WireAddress{};
    auto fd = listen_for_children(local, job_.meeting.loopback_only);
    if (!fd) return tl::make_unexpected(fd.error());
    listener_ = std::move(*fd);
    auto at = local_address(listener_.get());
    if (!at) return tl::make_unexpected(at.error());
    return to_wire(*at);
  }

  // Goes round the candidates until one of them is rank 0 of our job.
  Result<void> find_root() {
    Failure last{Errc::bootstrap, "nobody listens there", -1};
    std::string where = "its address";
    auto attempt = first_attempt;
    for (auto pause = milliseconds(5); Clock::now() < deadline_;
         pause = std::min(pause * 2, milliseconds(200))) {
      auto candidates = root_candidates(job_.meeting);
      if (!candidates) last = candidates.error();
      for (std::size_t i = 0; candidates && i < candidates->size() && Clock::now() < deadline_; ++i) {
        const SocketAddress& at = (*candidates)[i];
        if (i == 0) where = at.text();
        auto link = Link::connect(at, 0, me_, std::min(deadline_, Clock::now() + attempt),
                                  [this](const SocketAddress& local) { return open_listener(local); });
        if (link) {
          root_ = std::move(*link);
          root_address_ = at;
          return {};
        }
        if (link.error().peer >= 0) return tl::make_unexpected(link.error());  // rank 0 itself said no
        // Silence at a candidate is more telling than the refusals at the others.
        if (link.error().code != Errc::system || last.code == Errc::system ||
            last.text == "nobody listens there")
          last = link.error();
        if (link.error().code == Errc::timeout) attempt = std::min(attempt * 2, longest_attempt);
      }
      ::poll(nullptr, 0, std::min(static_cast<int>(pause.count()), poll_ms(deadline_)));
    }
    return failure(
        Errc::timeout,
        fmt::format(
            "rank {} of {} could not join rank 0 at {} within {} (last: {}). Is rank 0 running, is the "
            "address right, is LIBCOLL_SECRET the same on all ranks?",
            job_.rank, job_.size, where, seconds_text(job_.timeout), last.text),
        0);
  }

  // Waits for rank 0's word and connects to the parent that it names.
  Result<Link> find_parent() {
    auto word = root_.receive_control(deadline_ + last_word_slack);
    if (!word) {
      const Failure& f = word.error();
      if (f.peer >= 0) return tl::make_unexpected(f);
      if (f.code == Errc::timeout) {
        return failure(Errc::timeout,
                       fmt::format("rank {}: rank 0 did not let the job start within {}", job_.rank,
                                   seconds_text(job_.timeout)),
                       0);
      }
      return failure(Errc::bootstrap,
                     fmt::format("rank {} lost rank 0 while the ranks met: {}", job_.rank, f.text), 0);
    }
    if (word->type != FrameType::go) return failure(Errc::bootstrap, "unexpected word from rank 0", 0);
    const int parent = tree_parent(job_.rank);
    if (parent == 0) return std::move(root_);
    auto wire = decode_wire_address(word->payload);
    if (!wire) return tl::make_unexpected(wire.error());
    SocketAddress at = root_address_;
    if (wire->kind == WireAddress::Kind::same_host) {
      at.set_port(wire->port);
    } else {
      auto given = from_wire(*wire);
      if (!given) return tl::make_unexpected(given.error());
      at = *given;
    }
    return connect_to_parent(parent, at);
  }

  Result<Link> connect_to_parent(int parent, const SocketAddress& at) {
    const Deadline until = deadline_ + last_word_slack;
    for (;;) {
      auto link = Link::connect(at, parent, me_, until, [](const SocketAddress&) { return WireAddress{}; });
      // The parent has been listening since before rank 0 knew of it: a refusal means that it is gone.
      // A mere cut may come from a crowd of strangers at its door.
      const bool final =
          link || link.error().peer >= 0 || link.error().code == Errc::system || Clock::now() >= until;
      if (link || (final && link.error().peer >= 0)) return link;
      if (final) {
        return failure(link.error().code == Errc::timeout ? Errc::timeout : Errc::bootstrap,
                       fmt::format("rank {} could not join rank {} at {}: {}", job_.rank, parent, at.text(),
                                   link.error().text),
                       parent);
      }
      ::poll(nullptr, 0, 20);
    }
  }

  const JobInfo& job_;
  Identity me_;
  Deadline deadline_;
  std::vector<int> children_;
  Fd listener_;
  Link root_;
  SocketAddress root_address_;
};

}  // namespace

Result<std::unique_ptr<Bootstrap>> meet(const JobInfo& job) {
  if (job.size == 1)
    return std::make_unique<TreeBootstrap>(0, 1, job.timeout, std::nullopt, std::vector<Link>{});
  if (job.meeting.kind == MeetingPoint::Kind::tcp && job.secret.empty()) {
    return failure(Errc::bootstrap, "a meeting over TCP needs LIBCOLL_SECRET");
  }
  const Deadline deadline = Clock::now() + job.timeout;
  auto tree = job.rank == 0 ? join_as_root(job, deadline) : Newcomer(job, deadline).join();
  if (!tree) return tl::make_unexpected(tree.error());
  // Nobody goes on until everybody has joined the tree.
  if (auto r = (*tree)->try_allgather(nullptr, nullptr, 0); !r) return tl::make_unexpected(r.error());
  log().debug("rank {} of {} met the others ({})", job.rank, job.size, job.launcher);
  return std::move(*tree);
}

}  // namespace libcoll::detail
