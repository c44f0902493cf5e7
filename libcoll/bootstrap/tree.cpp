#include "libcoll/bootstrap/tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "libcoll/bootstrap/door.hpp"

namespace libcoll::detail {
namespace {

// A rank waits this much longer per level between it and the leaves, then for the way back. So the
// rank next to a missing one times out first, and its text reaches the others before they give up.
constexpr auto level_slack = std::chrono::milliseconds(250);

// Before the blocks, each direction says how many bytes a rank has: ranks may disagree.
using SizeFrame = std::array<std::byte, 8>;

SizeFrame size_frame(std::uint64_t bytes) {
  SizeFrame out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(bytes >> (8 * i));
  return out;
}

std::uint64_t bytes_in(const SizeFrame& in) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < in.size(); ++i) bytes |= std::to_integer<std::uint64_t>(in[i]) << (8 * i);
  return bytes;
}

// Cuts a message into frames: each(piece) for every piece.
template <class Each>
Result<void> in_frames(std::span<std::byte> message, Each&& each) {
  while (!message.empty()) {
    const auto piece = message.first(std::min(message.size(), max_frame_payload));
    if (Result<void> r = each(piece); !r) return r;
    message = message.subspan(piece.size());
  }
  return {};
}

}  // namespace

std::vector<int> tree_children(int rank, int size) {
  std::vector<int> out;
  const long long first = static_cast<long long>(rank) * tree_fanout + 1;
  for (long long c = first; c < std::min<long long>(first + tree_fanout, size); ++c)
    out.push_back(static_cast<int>(c));
  return out;
}

int tree_depth(int rank) {
  int depth = 0;
  for (; rank > 0; rank = tree_parent(rank)) ++depth;
  return depth;
}

std::vector<RankRange> tree_subtree(int rank, int size) {
  std::vector<RankRange> out;
  long long begin = rank, end = static_cast<long long>(rank) + 1;
  while (begin < size) {
    out.push_back({static_cast<int>(begin), static_cast<int>(std::min<long long>(end, size))});
    end = (end - 1) * tree_fanout + tree_fanout + 1;
    begin = begin * tree_fanout + 1;
  }
  return out;
}

TreeBootstrap::TreeBootstrap(int rank, int size, std::chrono::milliseconds timeout,
                             std::optional<Link> parent, std::vector<Link> children)
    : rank_(rank),
      size_(size),
      timeout_(timeout),
      parent_(std::move(parent)),
      children_(std::move(children)),
      subtree_(tree_subtree(rank, size)) {}

void TreeBootstrap::allgather(const void* send, void* recv, std::size_t bytes) {
  value_or_throw(try_allgather(send, recv, bytes));
}

Result<void> TreeBootstrap::try_allgather(const void* send, void* recv, std::size_t bytes) {
  if (broken_)
    return failure(broken_->code,
                   fmt::format("rank {}: the bootstrap broke earlier: {}", rank_, broken_->text),
                   broken_->peer);
  if (bytes > 0 && (send == nullptr || recv == nullptr)) {
    return failure(Errc::invalid_argument, "bootstrap allgather: null buffer for a non-zero number of bytes");
  }
  if (bytes > std::numeric_limits<std::size_t>::max() / static_cast<std::size_t>(size_)) {
    return failure(Errc::invalid_argument,
                   fmt::format("bootstrap allgather: {} bytes per rank exceed the address space", bytes));
  }
  const std::span<std::byte> all(static_cast<std::byte*>(recv), bytes * static_cast<std::size_t>(size_));
  if (bytes > 0) std::memcpy(all.data() + static_cast<std::size_t>(rank_) * bytes, send, bytes);
  auto result = exchange(all, bytes);
  if (!result) {
    broken_ = result.error();
    if (parent_) parent_->give_up(*broken_);
    for (Link& c : children_) c.give_up(*broken_);
    parent_.reset();
    children_.clear();
  }
  return result;
}

Result<void> TreeBootstrap::exchange(std::span<std::byte> all, std::size_t bytes) {
  const auto start = Clock::now();
  if (auto r = gather(all, bytes, start); !r) return r;
  return broadcast(all, bytes, start);
}

Result<void> TreeBootstrap::gather(std::span<std::byte> all, std::size_t bytes, Clock::time_point start) {
  const auto height = static_cast<int>(subtree_.size()) - 1;
  const Deadline patience = start + timeout_ + height * level_slack;
  const auto blocks = [&](const RankRange& r) {
    return all.subspan(static_cast<std::size_t>(r.begin) * bytes,
                       static_cast<std::size_t>(r.end - r.begin) * bytes);
  };
  for (Link& child : children_) {
    SizeFrame frame;
    if (auto r = child.receive_data(frame, patience); !r)
      return tl::make_unexpected(explain(r.error(), child.peer()));
    if (bytes_in(frame) != bytes) {
      return failure(Errc::bootstrap,
                     fmt::format("bootstrap allgather: rank {} has {} bytes, rank {} has {}", child.peer(),
                                 bytes_in(frame), rank_, bytes),
                     child.peer());
    }
    for (const RankRange& range : tree_subtree(child.peer(), size_)) {
      auto r = in_frames(blocks(range), [&](auto piece) { return child.receive_data(piece, patience); });
      if (!r) return tl::make_unexpected(explain(r.error(), child.peer()));
    }
  }
  if (!parent_) return {};
  auto sent = parent_->send(FrameType::data, size_frame(bytes), patience + level_slack);
  for (std::size_t i = 0; sent && i < subtree_.size(); ++i) {
    sent = in_frames(blocks(subtree_[i]), [&](auto piece) {
      return parent_->send(FrameType::data, piece, patience + level_slack);
    });
  }
  if (!sent && sent.error().code != Errc::timeout) {
    // The parent closed, after telling us why if it could: that text is worth more than EPIPE.
    SizeFrame frame;
    auto last_words = parent_->receive_data(frame, Clock::now() + level_slack);
    if (!last_words && last_words.error().code != Errc::timeout) sent = last_words;
  }
  if (!sent) return tl::make_unexpected(explain(sent.error(), parent_->peer()));
  return {};
}

Result<void> TreeBootstrap::broadcast(std::span<std::byte> all, std::size_t bytes, Clock::time_point start) {
  const int levels = static_cast<int>(tree_subtree(0, size_).size()) - 1;
  const Deadline patience = start + timeout_ + (levels + tree_depth(rank_) + 1) * level_slack;
  const auto pass_on = [&](std::span<std::byte> piece) -> Result<void> {
    if (parent_) {
      if (auto r = parent_->receive_data(piece, patience); !r)
        return tl::make_unexpected(explain(r.error(), parent_->peer()));
    }
    for (Link& child : children_) {
      auto r = child.send(FrameType::data, piece, patience);
      if (!r) return tl::make_unexpected(explain(r.error(), child.peer()));
    }
    return {};
  };
  SizeFrame frame = size_frame(bytes);
  if (auto r = pass_on(frame); !r) return r;
  return in_frames(all, pass_on);
}

Failure TreeBootstrap::explain(const Failure& f, int peer) const {
  if (f.peer >= 0) return f;  // told by another rank, which knows better
  if (f.code == Errc::timeout) {
    return {
        f.code,
        fmt::format("bootstrap allgather: rank {} did not take part within {} (waited for by rank {} of {})",
                    peer, seconds_text(timeout_), rank_, size_),
        peer};
  }
  return {Errc::bootstrap, fmt::format("bootstrap allgather: rank {} lost rank {}: {}", rank_, peer, f.text),
          peer};
}

}  // namespace libcoll::detail
