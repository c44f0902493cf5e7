// Units: which runs of units of an arena are used and which are free, and whether the free ones still hold old pages.
// Every block has its length in a table beside the arena, at its first and its last unit (Knuth's boundary tags), so
// that neighbours are found and joined in constant time; free blocks hang in lists by size, eight per power of two
// (Masmano's two-level segregated fit). Not thread-safe. Allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace libcoll::arena {

class Units {
 public:
  using Index = std::uint32_t;
  static constexpr Index none = 0;  // unit 0 is never handed out
  enum class Kind : std::uint8_t { used, clean, dirty };  // clean: free, reads as zeros; dirty: free, pages still there
  struct Tag {
    Index length;
    Kind kind;
    bool begins;           // the first unit of a block
    Index next, previous;  // of a free block: in its list
  };
  struct Block {
    Index first = none, length = 0;
    Kind was = Kind::clean;
  };

  constexpr Units() = default;
  // `tags`: one per unit, zeroed, the caller's. All are clean. `origin`: number of unit 0 where alignments count from.
  void reset(Tag* tags, Index units, std::uint64_t origin);

  // Dirty blocks first: their pages are there. `align`: a power of two.
  Block take(Index length, std::uint64_t align = 1);
  // Back from use. Joins free neighbours of its kind.
  void put(Index first, Kind kind);
  // The largest dirty block, as if taken.
  Block take_dirty();
  // Gives back the end of a used block, dirty.
  void shrink(Index first, Index length);
  // Lengthens a used block into what is free behind it. False if that is too small.
  bool grow(Index first, Index length);

  bool is_block(Index first) const { return first != none && first < units_ && tags_[first].kind == Kind::used && tags_[first].begins; }
  Index length(Index first) const { return tags_[first].length; }
  Kind kind(Index first) const { return tags_[first].kind; }
  Index after(Index first) const { return first + tags_[first].length; }
  Index used() const { return used_; }    // units
  Index dirty() const { return dirty_; }
  Index high() const { return high_; }    // the end of the highest block that was ever used

 private:
  static constexpr int rows = 32, columns = 8;
  struct Bins {
    std::uint32_t row_map = 0;
    std::uint8_t column_map[rows] = {};
    Index head[rows][columns] = {};
  };
  struct Bin { int row, column; };
  static Bin bin_of(Index length);
  Bins& bins(Kind k) { return k == Kind::dirty ? dirty_bins_ : clean_bins_; }
  void write(Index first, Index length, Kind kind);
  void link(Index first);
  void unlink(Index first);
  Index find(Bins&, Index length) const;
  void use(Index first, Index length);

  Tag* tags_ = nullptr;
  Index units_ = 0, used_ = 0, dirty_ = 0, high_ = 1;
  std::uint64_t origin_ = 0;
  Bins clean_bins_, dirty_bins_;
};

}  // namespace libcoll::arena
