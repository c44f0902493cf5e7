#include "transports/shm/lane.hpp"

#include <algorithm>
#include <cstring>

#include "libcoll/kernels/copy.hpp"

namespace libcoll::xport::shm {

namespace {
// One entry for each member: the arena offset of the lane to it.
std::atomic<std::uint64_t>* entries(Heap& heap, std::uint64_t table) { return reinterpret_cast<std::atomic<std::uint64_t>*>(heap.at(table)); }
}  // namespace

std::uint64_t Lanes::allocate(std::size_t bytes) {
  const std::uint64_t at = heap().allocate(bytes);
  if (at == 0) return 0;
  if (!heap().populate(at, bytes)) {
    heap().release(at);
    return 0;
  }
  blocks_.push_back(at);
  return at;
}

Lane* Lanes::open(int reader) {
  if (table_ == 0) {
    table_ = allocate(static_cast<std::size_t>(group_.size()) * sizeof(std::uint64_t));
    if (table_ == 0) return nullptr;
    group_.mine().control->lanes.store(table_, std::memory_order_release);
  }
  const std::uint64_t at = allocate(sizeof(Lane));
  if (at == 0) return nullptr;
  entries(heap(), table_)[reader].store(at, std::memory_order_release);
  return reinterpret_cast<Lane*>(heap().at(at));
}

Lane* Lanes::find(int writer) {
  const std::uint64_t table = group_.peer(writer).control->lanes.load(std::memory_order_acquire);
  if (table == 0) return nullptr;
  const std::uint64_t at = entries(heap(), table)[group_.rank()].load(std::memory_order_acquire);
  return at == 0 ? nullptr : reinterpret_cast<Lane*>(heap().at(at));
}

std::uint64_t Lanes::take_fate() {
  if (free_.empty()) {
    const std::uint64_t page = allocate(page_bytes);
    if (page == 0) return 0;
    for (std::size_t i = page_bytes; i != 0; i -= sizeof(Fate)) free_.push_back(page + i - sizeof(Fate));
  }
  const std::uint64_t at = free_.back();
  free_.pop_back();
  fate(at).store(Fate::open, std::memory_order_relaxed);
  return at;
}

void Lanes::release() {
  for (const std::uint64_t at : blocks_) heap().release(at);
  blocks_.clear();
  free_.clear();
  table_ = 0;
}

bool LaneOut::open(Lanes& lanes, int reader) {
  if (lane_ != nullptr) return true;
  heap_ = &lanes.heap();
  lane_ = lanes.open(reader);
  return lane_ != nullptr;
}

bool LaneOut::copy(int tag, const void* data, std::size_t bytes) {
  if (bytes > lane_copied_max || copied_ - lane_->reader.taken.load(std::memory_order_acquire) >= lane_credit) return false;
  Cell& c = next_cell();
  c.carried = Carried::in_line;
  if (bytes > lane_in_line) {
    // Blocks are whole: one that does not fit before the end begins at the start.
    const std::uint64_t need = (bytes + 63) / 64 * 64, place = written_ % lane_payload_bytes;
    const std::uint64_t start = place + need <= lane_payload_bytes ? written_ : written_ - place + lane_payload_bytes;
    seen_ = lane_->reader.seen.load(std::memory_order_acquire);
    const std::uint64_t freed = seen_ == 0 ? 0 : ends_[(seen_ - 1) % lane_cells];
    if (start + need - freed > lane_payload_bytes) return false;
    std::byte* to = lane_->payload + start % lane_payload_bytes;
    kernels::copy(to, data, bytes);
    c.carried = Carried::copied;
    c.at = heap_->offset_of(to);
    written_ = start + need;
  } else if (bytes != 0) {
    std::memcpy(c.payload, data, bytes);
  }
  c.bytes = bytes;
  c.fate_at = 0;
  c.tag = tag;
  ++copied_;
  publish(c);
  return true;
}

void LaneOut::announce(int tag, const void* data, std::size_t bytes, Carried carried, std::uint64_t at, std::uint64_t fate_at) {
  Cell& c = next_cell();
  c.carried = carried;
  c.bytes = bytes;
  c.fate_at = fate_at;
  c.tag = tag;
  if (carried != Carried::in_line) c.at = at;
  else if (bytes != 0) std::memcpy(c.payload, data, bytes);
  publish(c);
}

bool LaneOut::prepare_chunks(Lanes& lanes) {
  if (lane_->chunks_at == 0) lane_->chunks_at = lanes.allocate(chunk_count * chunk_bytes);
  return lane_->chunks_at != 0;
}

void LaneOut::put_chunk(Heap& heap, std::uint64_t fate_at, const void* data, std::size_t bytes, bool withdrawn) {
  Chunk& c = lane_->chunks[chunks_ % chunk_count];
  if (bytes != 0) kernels::copy(heap.at(lane_->chunks_at + (chunks_ % chunk_count) * chunk_bytes), data, bytes);
  c.fate_at = fate_at;
  c.bytes = static_cast<std::uint32_t>(bytes);
  c.withdrawn = withdrawn;
  c.header.store(++chunks_, std::memory_order_release);
}

}  // namespace libcoll::xport::shm
