#include "image.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "state.hpp"

namespace libcoll::pmpi {

namespace {

constexpr std::int64_t most_at_once = std::int64_t{1} << 30;  // bytes: MPI_Pack counts them in ints

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  PMPI_Error_string(code, text, &length);
  throw Error(Errc::internal, std::string(what) + ": " + text);
}

// A type of so many bytes, which need not fit an int.
MPI_Datatype bytes_type(std::int64_t bytes) {
  constexpr std::int64_t chunk = std::int64_t{1} << 20;
  MPI_Datatype chunks, whole;
  int lengths[2] = {static_cast<int>(bytes / chunk), static_cast<int>(bytes % chunk)};
  const MPI_Aint places[2] = {0, static_cast<MPI_Aint>(bytes / chunk * chunk)};
  check(PMPI_Type_contiguous(static_cast<int>(chunk), MPI_BYTE, &chunks), "libcoll: MPI_Type_contiguous failed");
  const MPI_Datatype types[2] = {chunks, MPI_BYTE};
  check(PMPI_Type_create_struct(2, lengths, places, types, &whole), "libcoll: MPI_Type_create_struct failed");
  PMPI_Type_commit(&whole);
  PMPI_Type_free(&chunks);
  return whole;
}

// Moves n elements between the user's layout and contiguous bytes.
void convert(bool packing, std::byte* user, std::int64_t n, MPI_Datatype type, const TypeInfo& info, std::byte* bytes) {
  if (n == 0 || info.bytes == 0) return;
  const std::int64_t each = std::clamp<std::int64_t>(most_at_once / info.bytes, 1, most_at_once);
  for (std::int64_t at = 0; at < n; at += each) {
    const int part = static_cast<int>(std::min(each, n - at));
    std::byte *there = user + at * info.extent, *here = bytes + at * info.bytes;
    // Elements too large for MPI_Pack, and MPI_BOTTOM, which MPICH takes for a forgotten buffer there.
    if (info.bytes > most_at_once || there == nullptr) {
      MPI_Datatype raw = bytes_type(part * info.bytes);
      check(packing ? PMPI_Sendrecv(there, part, type, 0, 0, here, 1, raw, 0, 0, self(), MPI_STATUS_IGNORE)
                    : PMPI_Sendrecv(here, 1, raw, 0, 0, there, part, type, 0, 0, self(), MPI_STATUS_IGNORE), "libcoll: a derived type could not be packed");
      PMPI_Type_free(&raw);
      continue;
    }
    const int size = static_cast<int>(part * info.bytes);
    int position = 0;
    check(packing ? PMPI_Pack(there, part, type, here, size, &position, self()) : PMPI_Unpack(here, size, &position, there, part, type, self()),
          "libcoll: a derived type could not be packed");
  }
}

}  // namespace

void pack(const Piece& p, std::byte* bytes) {
  if (!p.info->dense) convert(true, p.at, p.count, p.type, *p.info, bytes);
  else if (p.bytes() != 0) std::memcpy(bytes, p.at, static_cast<std::size_t>(p.bytes()));
}
void unpack(const Piece& p, const std::byte* bytes) {
  if (!p.info->dense) convert(false, p.at, p.count, p.type, *p.info, const_cast<std::byte*>(bytes));
  else if (p.bytes() != 0) std::memcpy(p.at, bytes, static_cast<std::size_t>(p.bytes()));
}

Image::Image(const void* base, std::int64_t count, MPI_Datatype type, const TypeInfo& info)
    : base_(static_cast<std::byte*>(const_cast<void*>(base))), count_(count), type_(type), info_(info), data_(base_) {
  if (info.dense || bytes() == 0) return;
  copy_.reset(new std::byte[static_cast<std::size_t>(bytes())]);
  data_ = copy_.get();
}

bool Image::overlaps(const Image& other) const noexcept {
  return data_ != nullptr && data_ < other.data_ + other.bytes() && other.data_ < data_ + bytes();
}

void Image::detach() {
  if (copy_ || bytes() == 0) return;
  copy_.reset(new std::byte[static_cast<std::size_t>(bytes())]);
  std::memcpy(copy_.get(), base_, static_cast<std::size_t>(bytes()));
  data_ = copy_.get();
}

void Image::load(std::int64_t first, std::int64_t count) {
  if (!info_.dense) convert(true, base_ + first * info_.extent, count, type_, info_, data_ + first * info_.bytes);
}

void Image::store(std::int64_t first, std::int64_t count) {
  if (!info_.dense) convert(false, base_ + first * info_.extent, count, type_, info_, data_ + first * info_.bytes);
}

const TypeInfo* BlockImage::nothing() noexcept {
  static const TypeInfo empty{.dense = true};
  return &empty;
}

void BlockImage::add(std::int64_t count, std::int64_t place, MPI_Datatype type, const TypeInfo* info) {
  bad_ = bad_ || count < 0 || info == nullptr || (info->dense && count * info->bytes != 0 && at(place) == nullptr);
  if (bad_) return;
  dense_ = dense_ && info->dense;
  blocks_.push_back({at(place), count, type, info});
  counts_.push_back(count * info->bytes);
  displs_.push_back(place);
  total_ += count * info->bytes;
}

// libcoll's places are not negative: the base moves to the lowest block instead. Empty blocks may lie anywhere.
void BlockImage::finish() {
  if (bad_) return;
  if (!dense_) {
    copy_.reset(new std::byte[static_cast<std::size_t>(std::max<std::int64_t>(total_, 1))]);
    data_ = copy_.get();
    std::exclusive_scan(counts_.begin(), counts_.end(), displs_.begin(), Count{0});
    return;
  }
  Count lowest = 0;
  bool any = false;
  for (std::size_t r = 0; r < counts_.size(); ++r) {
    if (counts_[r] == 0) continue;
    lowest = any ? std::min(lowest, displs_[r]) : displs_[r];
    any = true;
  }
  for (std::size_t r = 0; r < counts_.size(); ++r) displs_[r] = counts_[r] == 0 ? 0 : displs_[r] - lowest;
  data_ = at(lowest);
}

void BlockImage::load() {
  for (std::size_t r = 0; r < counts_.size(); ++r) load(static_cast<int>(r));
}
void BlockImage::load(int rank) {
  const auto r = static_cast<std::size_t>(rank);
  if (!dense_) pack(blocks_[r], copy_.get() + displs_[r]);
}
void BlockImage::store() {
  for (std::size_t r = 0; r < counts_.size(); ++r) store(static_cast<int>(r));
}
void BlockImage::store(int rank) {
  const auto r = static_cast<std::size_t>(rank);
  if (!dense_) unpack(blocks_[r], copy_.get() + displs_[r]);
}

}  // namespace libcoll::pmpi
