#include "compare.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>

#include "image.hpp"
#include "sites.hpp"

namespace libcoll::pmpi {

namespace {

using Bytes = std::vector<std::byte>;

Bytes save(const std::vector<Piece>& pieces) {
  std::int64_t total = 0, at = 0;
  for (const Piece& p : pieces) total += p.bytes();
  Bytes bytes(static_cast<std::size_t>(total));
  for (const Piece& p : pieces) {
    pack(p, bytes.data() + at);
    at += p.bytes();
  }
  return bytes;
}

void restore(const std::vector<Piece>& pieces, const Bytes& bytes) {
  std::int64_t at = 0;
  for (const Piece& p : pieces) {
    unpack(p, bytes.data() + at);
    at += p.bytes();
  }
}

template <class T>
std::string number(const std::byte* at) {
  T v;
  std::memcpy(&v, at, sizeof v);
  char text[32];
  if constexpr (std::is_floating_point_v<T>) std::snprintf(text, sizeof text, "%.17g", static_cast<double>(v));
  else return std::to_string(v);
  return text;
}

// Of one element, whose type's name is known only if it can be reduced.
std::string value_text(const std::byte* at, std::size_t bytes, const TypeInfo& info) {
  if (info.operations != 0 && info.bytes == static_cast<std::int64_t>(size_of(info.dtype))) switch (info.dtype) {
      case DType::i8: return number<std::int8_t>(at);
      case DType::i16: return number<std::int16_t>(at);
      case DType::i32: return number<std::int32_t>(at);
      case DType::i64: return number<std::int64_t>(at);
      case DType::u8: return number<std::uint8_t>(at);
      case DType::u16: return number<std::uint16_t>(at);
      case DType::u32: return number<std::uint32_t>(at);
      case DType::u64: return number<std::uint64_t>(at);
      case DType::f32: return number<float>(at);
      case DType::f64: return number<double>(at);
      case DType::c64: return number<float>(at) + " + i " + number<float>(at + 4);
      case DType::c128: return number<double>(at) + " + i " + number<double>(at + 8);
      default: break;
    }
  constexpr std::size_t most = 16;
  std::string text = "0x";
  for (std::size_t i = 0; i < std::min(bytes, most); ++i) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(at[i]));
    text += two;
  }
  return bytes > most ? text + "..." : text;
}

void say(Coll coll, const State& s, const void* site, const std::string& what) {
  constexpr int most = 20;  // a program that goes wrong does so in every step
  static std::atomic<int> said = 0;
  const int n = said.fetch_add(1, std::memory_order_relaxed);
  if (n >= most) return;
  int world_rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  std::fprintf(stderr, "libcoll compare: rank %d (%d of %d in its communicator): %s at %s: %s%s\n", world_rank, s.rank, s.size, name_of(coll), text_of_site(site).c_str(), what.c_str(),
               n + 1 == most ? "; more of this process are only counted" : "");
}

// True if they differ. Pieces hold elements of their own types.
bool differ(Coll coll, const State& s, const void* site, const Outcome& o, const Bytes& ours, const Bytes& mpis) {
  std::int64_t at = 0, elements = 0, all = 0, differing = 0;
  const std::int64_t end = o.bytes < 0 ? static_cast<std::int64_t>(ours.size()) : o.bytes;
  std::string first;
  for (const Piece& p : o.pieces) {
    const std::int64_t n = std::min(p.bytes(), end - at);
    if (n <= 0) break;
    const auto from = static_cast<std::size_t>(at), bytes = static_cast<std::size_t>(p.info->bytes);
    const Verdict v = judge(std::span(ours).subspan(from, static_cast<std::size_t>(n)), std::span(mpis).subspan(from, static_cast<std::size_t>(n)), bytes, o.terms);
    if (v.differing != 0 && differing == 0) {
      const std::size_t there = from + static_cast<std::size_t>(v.first) * bytes;
      first = "element " + std::to_string(elements + v.first) + " is " + value_text(ours.data() + there, bytes, *p.info) + ", the MPI's " + value_text(mpis.data() + there, bytes, *p.info);
      char text[64] = "";
      if (v.allowed > 0) std::snprintf(text, sizeof text, " (they may be %.3g apart)", v.allowed);
      first += text;
    }
    differing += v.differing;
    elements += p.count;
    all += n / p.info->bytes;
    at += p.bytes();
  }
  if (differing == 0) return false;
  say(coll, s, site, first + "; " + std::to_string(differing) + " of " + std::to_string(all) + " elements differ. The program goes on with the MPI's");
  return true;
}

template <class T>
void magnitudes(const void* operands, std::int64_t parts, double* out) {
  for (std::int64_t i = 0; i < parts; ++i) {
    T v;
    std::memcpy(&v, static_cast<const std::byte*>(operands) + static_cast<std::size_t>(i) * sizeof v, sizeof v);
    out[i] = std::fabs(static_cast<double>(v));
  }
}

}  // namespace

std::vector<double> sum_magnitudes(const void* operands, std::int64_t count, DType type, MPI_Comm comm) {
  const std::int64_t parts = parts_of(type) * count;
  std::vector<double> sums(static_cast<std::size_t>(parts));
  if (type == DType::f32 || type == DType::c64) magnitudes<float>(operands, parts, sums.data());
  else magnitudes<double>(operands, parts, sums.data());
  constexpr std::int64_t most = std::numeric_limits<int>::max();
  for (std::int64_t at = 0; at < parts; at += most)
    PMPI_Allreduce(MPI_IN_PLACE, sums.data() + at, static_cast<int>(std::min(most, parts - at)), MPI_DOUBLE, MPI_SUM, comm);
  return sums;
}

// Before each run all ranks meet in the MPI's barrier, so that neither pays for the ranks' coming late.
int run_both(Coll coll, State& s, std::int64_t bytes, Outcome& o, const std::function<void(Comm&)>& ours, const std::function<int()>& mpis) noexcept {
  const void* site = call_site();
  // Equal on all ranks, and without a period, or a loop's calls would each have its place in it.
  const bool ours_first = std::popcount(s.compared++) % 2 == 0;
  const Bytes before = save(o.pieces);
  Bytes result_of_ours, result_of_mpi;
  std::uint64_t ns_of_ours = 0, ns_of_mpi = 0;
  std::string failed;
  int code = MPI_SUCCESS;
  for (const bool is_ours : {ours_first, !ours_first}) {
    if (is_ours != ours_first) restore(o.pieces, before);
    PMPI_Barrier(s.handle);
    const std::uint64_t begun = clock_ns();
    if (!is_ours) {
      code = mpis();
    } else {
      try {
        ours(s.comm);
      } catch (const std::exception& e) {
        failed = e.what();
      }
    }
    (is_ours ? ns_of_ours : ns_of_mpi) = clock_ns() - begun;
    (is_ours ? result_of_ours : result_of_mpi) = save(o.pieces);
  }
  if (!ours_first) restore(o.pieces, result_of_mpi);
  bool differs = !failed.empty() && code == MPI_SUCCESS;
  if (differs) say(coll, s, site, failed);
  else if (failed.empty() && code == MPI_SUCCESS) differs = differ(coll, s, site, o, result_of_ours, result_of_mpi);
  add_to_site(site, coll, static_cast<std::uint64_t>(bytes), ns_of_ours, ns_of_mpi, differs);
  return code;
}

}  // namespace libcoll::pmpi
