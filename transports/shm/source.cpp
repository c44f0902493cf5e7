#include "transports/shm/source.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "libcoll/kernels/copy.hpp"

namespace libcoll::xport::shm {

Pieces cut(const Shape& shape, bool one_for_all, int ranks, std::uint32_t element_bytes, std::uint64_t largest_block) {
  const std::uint64_t slot = one_for_all ? shape.ring_slot_bytes : shape.ring_slot_bytes / static_cast<std::uint64_t>(ranks);
  // Small enough that the stages overlap, large enough that flags do not count.
  const std::uint64_t want = std::clamp<std::uint64_t>(largest_block / 4, std::min<std::uint64_t>(8192, slot), slot);
  std::uint64_t piece = std::min(want, slot) / 64 * 64;
  if (piece % element_bytes != 0) piece = piece / element_bytes * element_bytes;
  if (piece == 0) piece = slot / element_bytes * element_bytes;
  Pieces p;
  p.piece = piece;
  p.stride = one_for_all ? 0 : slot / 64 * 64;
  if (p.stride < p.piece) p.stride = p.piece;
  return p;
}

namespace {

void offer_table(Slot& s, std::byte* eager, const Offer& o, bool packed) {
  // The table lies at the start of the eager buffer, packed blocks behind it.
  auto* rows = reinterpret_cast<BlockRow*>(eager);
  std::uint64_t at = o.blocks.size() * sizeof(BlockRow);
  for (std::size_t i = 0; i < o.blocks.size(); ++i) {
    const Block& b = o.blocks[i];
    rows[i] = {packed ? at : static_cast<std::uint64_t>(b.data - o.base), b.bytes};
    at += b.bytes;
  }
  s.table_at = 1;
}

void copy_packed(std::byte* to, const Offer& o, int skip, bool tabled, bool streaming) {
  if (tabled) to += o.blocks.size() * sizeof(BlockRow);
  for (std::size_t i = 0; i < o.blocks.size(); ++i) {
    const Block& b = o.blocks[i];
    if (static_cast<int>(i) != skip && b.bytes != 0) (streaming ? kernels::copy_streaming : kernels::copy)(to, b.data, b.bytes);
    to += b.bytes;
  }
}

}  // namespace

Where offer(Group& g, std::uint64_t q, const Offer& o) {
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
  if (!o.tabled && total <= inline_bytes) {
    copy_packed(s.payload, o, skip, false, false);
    s.inlined_bytes = static_cast<std::uint8_t>(total);
    return s.source = Where::inlined;
  }
  const Shape& shape = g.shape();
  const std::uint64_t packed = total + (o.tabled ? o.blocks.size() * sizeof(BlockRow) : 0);
  const bool in_arena = !o.keep && total >= shape.share_from && g.host().heap().contains(o.base, o.extent);
  s.bytes = total;
  s.largest_block = largest;
  s.table_at = 0;
  if (packed <= shape.eager_bytes && !in_arena) {
    std::byte* eager = g.claim_eager(q);
    if (o.tabled) offer_table(s, eager, o, true);
    copy_packed(eager, o, skip, o.tabled, total >= shape.stage_streams_from);
    return s.source = Where::eager;
  }
  if (o.tabled) offer_table(s, g.claim_eager(q), o, false);
  if (in_arena) {
    s.source_at = g.host().heap().offset_of(o.base);
    return s.source = Where::shared;
  }
  if (!o.keep && total >= shape.remote_from) {
    s.source_at = reinterpret_cast<std::uint64_t>(o.base);
    return s.source = Where::remote;
  }
  g.claim_ring(q);
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
    const BlockRow row = reinterpret_cast<const BlockRow*>(g.eager(s, r))[g.rank()];
    offset = row.offset;
    f.bytes = row.bytes;
  }
  switch (f.where) {
    case Where::eager:
      f.at = g.eager(s, r) + offset;
      f.direct = true;
      break;
    case Where::shared:
      f.at = g.host().heap().at(s.source_at) + offset;
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
