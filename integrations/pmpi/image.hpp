// Images: the user's data as contiguous bytes, in the order in which MPI packs it. Types may differ from rank to
// rank while their signatures agree, so data is always moved as bytes, and who needs packing packs for himself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "flavour.hpp"
#include "libcoll/comm.hpp"
#include "outcome.hpp"
#include "types.hpp"

namespace libcoll::pmpi {

// Between the user's layout, dense or not, and contiguous bytes.
void pack(const Piece&, std::byte* bytes);
void unpack(const Piece&, const std::byte* bytes);

// `count` elements at `base`: the user's memory itself if the type is dense, else a copy that load() fills and
// store() writes back. Absolute addresses (base MPI_BOTTOM) need no special care.
class Image {
 public:
  Image(const void* base, std::int64_t count, MPI_Datatype type, const TypeInfo& info);
  void* data() const noexcept { return data_; }
  std::int64_t bytes() const noexcept { return count_ * info_.bytes; }
  // Null where data must be.
  bool is_bad() const noexcept { return info_.dense && base_ == nullptr && bytes() != 0; }
  void describe(Outcome& o, MPI_Comm) const { o.pieces.push_back({base_, count_, type_, &info_}); }
  bool overlaps(const Image& other) const noexcept;
  // So that it may be read while other memory that overlaps it is written.
  void detach();
  void load() { load(0, count_); }
  void load(std::int64_t first, std::int64_t count);
  void store() { store(0, count_); }
  void store(std::int64_t first, std::int64_t count);

 private:
  std::byte* base_;
  std::int64_t count_;
  MPI_Datatype type_;
  const TypeInfo& info_;
  std::unique_ptr<std::byte[]> copy_;
  std::byte* data_;
};

// The same for blocks of their own counts and places, one per rank.
template <class N, class D>
struct Blocks {
  const void* base;
  const N* counts;
  const D* displs;  // in extents
  MPI_Datatype type;
};
// Of their own types, too: MPI_Alltoallw's.
template <class N, class D>
struct TypedBlocks {
  const void* base;
  const N* counts;
  const D* displs;  // in bytes
  const MPI_Datatype* types;
};
class BlockImage {
 public:
  template <class N, class D>
  BlockImage(const Blocks<N, D>& b, int ranks, const TypeInfo& info) : base_(reinterpret_cast<std::uintptr_t>(b.base)) {
    for (int r = 0; r < ranks; ++r) add(static_cast<std::int64_t>(b.counts[r]), static_cast<std::int64_t>(b.displs[r]) * info.extent, b.type, &info);
    bad_ = bad_ || (info.dense && b.base == nullptr && total_ != 0);
    finish();
  }
  template <class N, class D>
  BlockImage(const TypedBlocks<N, D>& b, int ranks) : base_(reinterpret_cast<std::uintptr_t>(b.base)) {
    for (int r = 0; r < ranks; ++r)
      add(static_cast<std::int64_t>(b.counts[r]), static_cast<std::int64_t>(b.displs[r]), b.types[r], b.counts[r] == 0 ? nothing() : type_info(b.types[r]));
    finish();
  }
  bool is_bad() const noexcept { return bad_; }
  void* data() const noexcept { return data_; }
  std::span<const Count> counts() const noexcept { return counts_; }  // in bytes, like the places
  std::span<const Count> displs() const noexcept { return displs_; }
  std::int64_t bytes() const noexcept { return total_; }
  void* block(int r) const noexcept { return static_cast<std::byte*>(data_) + displs_[static_cast<std::size_t>(r)]; }
  void describe(Outcome& o, MPI_Comm) const { o.pieces.insert(o.pieces.end(), blocks_.begin(), blocks_.end()); }
  void load();
  void load(int r);
  void store();
  void store(int r);

 private:
  // Of empty blocks, whose type may be anything.
  static const TypeInfo* nothing() noexcept;
  void add(std::int64_t count, std::int64_t place, MPI_Datatype type, const TypeInfo* info);
  void finish();

  std::byte* at(std::int64_t place) const noexcept { return reinterpret_cast<std::byte*>(base_ + static_cast<std::uintptr_t>(place)); }

  std::uintptr_t base_;  // MPI_BOTTOM is null, and places may be addresses
  bool bad_ = false;
  bool dense_ = true;  // all of them: the user's memory itself
  std::int64_t total_ = 0;
  std::vector<Piece> blocks_;
  std::vector<Count> counts_, displs_;
  std::unique_ptr<std::byte[]> copy_;
  void* data_ = nullptr;
};

}  // namespace libcoll::pmpi
