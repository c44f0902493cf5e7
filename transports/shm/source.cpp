#include "transports/shm/source.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "libcoll/kernels/copy.hpp"

namespace libcoll::xport::shm {

std::uint64_t largest_piece(const Shape& shape, int readers) { return shape.slot_bytes / static_cast<std::uint64_t>(std::max(1, readers)) / 64 * 64; }

Pieces cut(const Shape& shape, bool one_for_all, int ranks, std::uint32_t element_bytes, std::uint64_t largest_block) {
  const std::uint64_t readers = one_for_all ? 1 : static_cast<std::uint64_t>(std::max(1, ranks - 1));
  const std::uint64_t most = largest_piece(shape, static_cast<int>(readers));
  // Small enough that the stages overlap, large enough that flags do not count.
  std::uint64_t piece = std::clamp<std::uint64_t>(largest_block / 4, std::min<std::uint64_t>(8192, most), most) / 64 * 64;
  if (piece < element_bytes) piece = most;
  Pieces p;
  p.piece = piece / element_bytes * element_bytes;
  p.stride = (p.piece + 63) / 64 * 64;
  p.slot = p.stride * readers;
  return p;
}

std::uint64_t claim_slots(Group& g, std::uint64_t q, std::uint64_t slot, std::uint64_t rounds, bool out, std::uint16_t& count) {
  constexpr std::uint64_t most = 0xffff;
  // A quarter of the staging memory at most: two operations' sources and results follow each other.
  const std::uint64_t room = g.staging_bytes() / 4 / slot;
  const std::uint64_t want = std::min({rounds, most, room});
  if (want >= std::min<std::uint64_t>(rounds, 3)) {
    if (const std::uint64_t at = g.claim_staging(q, slot * want); at != 0) {
      count = static_cast<std::uint16_t>(want);
      return at;
    }
  }
  const std::size_t own = out ? g.shape().out_bytes : g.shape().ring_bytes;
  count = static_cast<std::uint16_t>(std::min(rounds, own / slot));
  return out ? g.claim_out(q) : g.claim_ring(q);
}

namespace {

// Packed blocks lie behind each other from `start`; else where they are in the user's buffer.
void write_table(BlockRow* rows, const Offer& o, bool packed, std::uint64_t start) {
  for (std::size_t i = 0; i < o.blocks.size(); ++i) {
    const Block& b = o.blocks[i];
    rows[i] = {packed ? start : static_cast<std::uint64_t>(b.data - o.base), b.bytes};
    start += b.bytes;
  }
}

void copy_packed(std::byte* to, std::span<const Block> blocks, int skip, Group* stager) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Block& b = blocks[i];
    if (static_cast<int>(i) != skip && b.bytes != 0) {
      if (stager != nullptr) stager->stage(to, b.data, b.bytes);
      else kernels::copy(to, b.data, b.bytes);
    }
    to += b.bytes;
  }
}

}  // namespace

Where offer(Group& g, std::uint64_t q, const Offer& o, std::uint32_t element_bytes) {
  Slot& s = g.slot(q);
  std::uint64_t total = 0, largest = 0;
  for (const Block& b : o.blocks) {
    total += b.bytes;
    largest = std::max(largest, b.bytes);
  }
  const bool one_for_all = o.whole(static_cast<std::size_t>(g.size()));
  const int skip = one_for_all ? -1 : g.rank();
  s.result = Where::nowhere;
  if (o.blocks.empty()) return s.source = Where::nowhere;
  if (o.in_line && !o.tabled && total <= inline_bytes) {
    copy_packed(s.payload, o.blocks, skip, nullptr);
    s.inlined_bytes = static_cast<std::uint8_t>(total);
    return s.source = Where::inlined;
  }
  const Shape& shape = g.shape();
  Heap& heap = g.host().heap();
  const std::uint64_t table_bytes = o.tabled ? o.blocks.size() * sizeof(BlockRow) : 0;
  const std::uint64_t shared_at = !o.keep && total >= shape.share_from ? heap.shared_at(o.base, o.extent) : 0;
  const bool in_arena = shared_at != 0;
  s.bytes = total;
  s.largest_block = largest;
  s.table_at = 0;
  const auto put_table = [&](std::byte* at, bool packed, std::uint64_t start) {
    if (!o.tabled) return;
    write_table(reinterpret_cast<BlockRow*>(at), o, packed, start);
    s.table_at = heap.offset_of(at);
  };
  if (total + table_bytes <= shape.eager_bytes && !in_arena) {
    std::byte* eager = g.claim_eager(q);
    put_table(eager, true, table_bytes);
    copy_packed(eager + table_bytes, o.blocks, skip, nullptr);
    s.source_at = heap.offset_of(eager);
    return s.source = Where::eager;
  }
  std::byte* table = o.tabled ? g.claim_eager(q) : nullptr;
  const std::size_t remote_from = one_for_all || o.combined ? shape.remote_from.whole : o.alone ? shape.remote_from.scattered : shape.remote_from.exchanged;
  if (in_arena || (!o.keep && total >= remote_from)) {
    put_table(table, false, 0);
    if (in_arena) g.count_lent();
    s.source_at = in_arena ? shared_at : reinterpret_cast<std::uint64_t>(o.base);
    return s.source = in_arena ? Where::shared : Where::remote;
  }
  // A first or last block that nobody reads takes no room: `before` are bytes in front of what is staged.
  const std::uint64_t before = skip == 0 ? o.blocks.front().bytes : 0;
  const std::uint64_t staged = total - before - (skip + 1 == g.size() ? o.blocks.back().bytes : 0);
  if (const std::uint64_t at = staged <= (o.symmetric ? shape.symmetric_max : shape.eager_max) ? g.claim_staging(q, staged) : 0; at != 0) {
    put_table(table, true, 0);
    copy_packed(heap.at(at), skip == 0 ? o.blocks.subspan(1) : o.blocks, skip == 0 ? -1 : skip, &g);
    s.source_at = at - before;
    return s.source = Where::eager;
  }
  put_table(table, false, 0);
  const Pieces p = cut(shape, one_for_all, g.size(), element_bytes, o.cut_for(largest));
  s.source_at = claim_slots(g, q, p.slot, p.rounds(largest), false, s.ring_slots);
  return s.source = Where::ring;
}

Source follow(Group& g, std::uint64_t q, int r, bool one_for_all, bool tabled, std::uint64_t offset) {
  const Slot& s = g.wait_slot(q, r);
  Source f;
  f.where = s.source;
  f.bytes = unknown_bytes;
  if (f.where == Where::nowhere) return f;
  if (f.where == Where::inlined) {
    f.at = s.payload + offset;
    f.direct = true;
    if (one_for_all) f.bytes = s.inlined_bytes;
    return f;
  }
  f.largest_block = s.largest_block;
  if (one_for_all) f.bytes = s.bytes;
  if (tabled && s.table_at != 0) {
    const BlockRow row = reinterpret_cast<const BlockRow*>(g.host().heap().at(s.table_at))[g.rank()];
    offset = row.offset;
    f.bytes = row.bytes;
  }
  switch (f.where) {
    case Where::ring:
      f.at = g.host().heap().at(s.source_at);
      f.ring_slots = s.ring_slots;
      break;
    case Where::eager:
    case Where::shared:
      f.at = g.host().heap().at(s.source_at + offset);
      f.direct = true;
      break;
    case Where::remote:
      f.address = s.source_at + offset;
      f.direct = g.peer(r).same_process;
      f.at = reinterpret_cast<const std::byte*>(f.address);
      break;
    default: break;
  }
  return f;
}

void fetch(Group& g, int r, const Source& f, void* to, std::uint64_t from, std::uint64_t bytes, bool streaming) {
  if (bytes == 0) return;
  if (f.direct) {
    if (streaming) kernels::copy_streaming(to, f.at + from, bytes);
    else kernels::copy(to, f.at + from, bytes);
    return;
  }
  if (!read_remote(g.peer(r).pid, to, f.address + from, bytes)) g.peer_unreadable(r);
}

}  // namespace libcoll::xport::shm
