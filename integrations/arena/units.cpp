#include "integrations/arena/units.hpp"

#include <algorithm>
#include <bit>

namespace libcoll::arena {

// Lengths below `columns` have lists of their own in row 0.
Units::Bin Units::bin_of(Index length) {
  constexpr int column_bits = std::bit_width(static_cast<unsigned>(columns)) - 1;
  if (length < columns) return {0, static_cast<int>(length)};
  const int top = std::bit_width(length) - 1;
  return {top - column_bits + 1, static_cast<int>(length >> (top - column_bits)) - columns};
}

void Units::reset(Tag* tags, Index units, std::uint64_t origin) {
  *this = Units();
  tags_ = tags;
  units_ = units;
  origin_ = origin;
  if (units < 2) return;
  write(1, units - 1, Kind::clean);
  link(1);
}

void Units::write(Index first, Index length, Kind kind) {
  tags_[first].length = tags_[first + length - 1].length = length;
  tags_[first].kind = tags_[first + length - 1].kind = kind;
  tags_[first + length - 1].begins = false;
  tags_[first].begins = true;
}

void Units::link(Index first) {
  Bins& b = bins(tags_[first].kind);
  const Bin at = bin_of(tags_[first].length);
  Index& head = b.head[at.row][at.column];
  tags_[first].next = head;
  tags_[first].previous = none;
  if (head != none) tags_[head].previous = first;
  head = first;
  b.row_map |= std::uint32_t{1} << at.row;
  b.column_map[at.row] = static_cast<std::uint8_t>(b.column_map[at.row] | 1u << at.column);
  if (tags_[first].kind == Kind::dirty) dirty_ += tags_[first].length;
}

void Units::unlink(Index first) {
  Bins& b = bins(tags_[first].kind);
  const Bin at = bin_of(tags_[first].length);
  const Tag& t = tags_[first];
  if (t.next != none) tags_[t.next].previous = t.previous;
  if (t.previous != none) tags_[t.previous].next = t.next;
  else b.head[at.row][at.column] = t.next;
  if (b.head[at.row][at.column] == none) {
    b.column_map[at.row] = static_cast<std::uint8_t>(b.column_map[at.row] & ~(1u << at.column));
    if (b.column_map[at.row] == 0) b.row_map &= ~(std::uint32_t{1} << at.row);
  }
  if (t.kind == Kind::dirty) dirty_ -= t.length;
}

// Any block of a higher list fits; in the list of the length itself one has to look.
Units::Index Units::find(Bins& b, Index length) const {
  const Bin at = bin_of(length);
  for (Index i = b.head[at.row][at.column]; i != none; i = tags_[i].next)
    if (tags_[i].length >= length) return i;
  const unsigned columns_above = b.column_map[at.row] & (0xffu << at.column << 1);
  if (columns_above != 0) return b.head[at.row][std::countr_zero(columns_above)];
  const std::uint32_t rows_above = at.row == rows - 1 ? 0 : b.row_map & (~std::uint32_t{0} << (at.row + 1));
  if (rows_above == 0) return none;
  const int row = std::countr_zero(rows_above);
  return b.head[row][std::countr_zero(static_cast<unsigned>(b.column_map[row]))];
}

void Units::use(Index first, Index length) {
  write(first, length, Kind::used);
  used_ += length;
  high_ = std::max(high_, first + length);
}

Units::Block Units::take(Index length, std::uint64_t align) {
  if (length == 0 || length >= units_ || align > units_ - length) return {};
  const Index most = length + static_cast<Index>(align - 1);
  Index found = find(dirty_bins_, most);
  if (found == none) found = find(clean_bins_, most);
  if (found == none) return {};
  const Kind kind = tags_[found].kind;
  const Index have = tags_[found].length;
  unlink(found);
  const std::uint64_t absolute = (origin_ + found + align - 1) & ~(align - 1);
  const auto first = static_cast<Index>(absolute - origin_);
  tags_[found].begins = false;
  if (first != found) {
    write(found, first - found, kind);
    link(found);
  }
  use(first, length);
  const Index rest = found + have - (first + length);
  if (rest != 0) {
    write(first + length, rest, kind);
    link(first + length);
  }
  return {first, length, kind};
}

void Units::put(Index first, Kind kind) {
  Index length = tags_[first].length;
  used_ -= length;
  const Index next = first + length;
  if (next < units_ && tags_[next].kind == kind) {
    unlink(next);
    length += tags_[next].length;
    tags_[next].begins = false;
  }
  if (first > 1 && tags_[first - 1].kind == kind) {
    const Index previous = first - tags_[first - 1].length;
    unlink(previous);
    length += tags_[previous].length;
    tags_[first].begins = false;
    first = previous;
  }
  write(first, length, kind);
  link(first);
}

Units::Block Units::take_dirty() {
  if (dirty_bins_.row_map == 0) return {};
  const int row = std::bit_width(dirty_bins_.row_map) - 1;
  const Index first = dirty_bins_.head[row][std::bit_width(static_cast<unsigned>(dirty_bins_.column_map[row])) - 1];
  const Index length = tags_[first].length;
  unlink(first);
  use(first, length);
  return {first, length, Kind::dirty};
}

void Units::shrink(Index first, Index length) {
  const Index rest = tags_[first].length - length;
  if (rest == 0) return;
  write(first, length, Kind::used);
  write(first + length, rest, Kind::used);
  put(first + length, Kind::dirty);
}

bool Units::grow(Index first, Index length) {
  const Index have = tags_[first].length, end = first + length;
  Index last = first + have;  // of the free blocks in between, which are of both kinds
  for (;; last += tags_[last].length) {
    if (last >= units_ || tags_[last].kind == Kind::used) return false;
    if (last + tags_[last].length >= end) break;
  }
  const Kind kind = tags_[last].kind;
  const Index rest = last + tags_[last].length - end;
  for (Index i = first + have; i <= last; i += tags_[i].length) {
    unlink(i);
    tags_[i].begins = false;
  }
  used_ -= have;
  use(first, length);
  if (rest != 0) {
    write(end, rest, kind);
    link(end);
  }
  return true;
}

}  // namespace libcoll::arena
