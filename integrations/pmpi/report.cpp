#include "report.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "rows.hpp"

namespace libcoll::pmpi {

namespace {

// How often a collective took a way. Few: a program uses a handful.
struct Way {
  std::array<char, 48> name{};
  Coll coll = Coll::barrier;
  std::uint64_t calls = 0;
};

std::mutex mutex;
Tallies tallies;
std::vector<Way> ways;

void add_way(std::vector<Way>& all, Coll coll, std::string_view name, std::uint64_t calls) {
  Way w{.coll = coll};
  name.copy(w.name.data(), w.name.size() - 1);
  const auto same = std::find_if(all.begin(), all.end(), [&](const Way& x) { return x.coll == coll && x.name == w.name; });
  (same != all.end() ? *same : all.emplace_back(w)).calls += calls;
}

// The two most used: "inline 75 %, sliced 20 %".
std::string most_used(std::vector<Way> all, Coll coll) {
  std::erase_if(all, [&](const Way& w) { return w.coll != coll; });
  std::stable_sort(all.begin(), all.end(), [](const Way& a, const Way& b) { return a.calls > b.calls; });
  std::uint64_t total = 0;
  for (const Way& w : all) total += w.calls;
  if (all.size() == 1) return all[0].name.data();
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(all.size(), 2); ++i)
    text += std::string(i == 0 ? "" : ", ") + all[i].name.data() + " " + std::to_string((100 * all[i].calls + total / 2) / total) + " %";
  return all.size() > 2 ? text + ", ..." : text;
}

constexpr std::array<const char*, coll_count> names{
    "MPI_Barrier", "MPI_Bcast", "MPI_Reduce", "MPI_Allreduce", "MPI_Reduce_scatter_block", "MPI_Reduce_scatter", "MPI_Scan", "MPI_Exscan",
    "MPI_Allgather", "MPI_Allgatherv", "MPI_Gather", "MPI_Gatherv", "MPI_Scatter", "MPI_Scatterv", "MPI_Alltoall", "MPI_Alltoallv", "MPI_Alltoallw", "MPI_Reduce_local"};

constexpr std::array<const char*, reason_count> reasons{
    "libcoll", "LIBCOLL_MPI=off", "outside Init .. Finalize", "one rank", "intercommunicator", "ranks of several MPI_COMM_WORLDs",
    "no collective on all ranks yet", "libcoll could not make it", "finalizing", "arguments for MPI to judge", "type and operation"};

}  // namespace

const char* name_of(Coll c) noexcept { return names[static_cast<std::size_t>(c)]; }
const char* text_of(Reason r) noexcept { return reasons[static_cast<std::size_t>(r)]; }

std::uint64_t clock_ns() noexcept {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

void count(Coll c, Reason r, std::uint64_t bytes, std::uint64_t nanoseconds, std::string_view way, std::uint64_t lent) noexcept {
  const std::lock_guard lock(mutex);
  Tally& t = tallies[static_cast<std::size_t>(c)][static_cast<std::size_t>(r)];
  ++t.calls;
  t.bytes += bytes;
  t.nanoseconds += nanoseconds;
  if (!way.empty()) add_way(ways, c, way, 1);
  t.lent += lent;
}

void print_report() noexcept {
  Tallies sums;
  constexpr int words = coll_count * reason_count * 4;
  static_assert(sizeof(Tallies) == words * sizeof(std::uint64_t));
  int rank = 0, size = 1;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  PMPI_Comm_size(MPI_COMM_WORLD, &size);
  std::vector<Way> all_ways;
  {
    const std::lock_guard lock(mutex);
    PMPI_Reduce(&tallies, &sums, words, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    for (const Way& w : gather_rows(ways)) add_way(all_ways, w.coll, w.name.data(), w.calls);
  }
  if (rank != 0) return;
  std::fprintf(stderr, "libcoll report (%s): sums over %d ranks; ran in libcoll, or passed down and why\n%-26s %-34s %12s %14s %12s %10s  %s\n", flavour, size, "collective", "where",
               "calls", "bytes", "us per call", "lent", "algorithms");
  for (int c = 0; c < coll_count; ++c)
    for (int r = 0; r < reason_count; ++r) {
      const Tally& t = sums[static_cast<std::size_t>(c)][static_cast<std::size_t>(r)];
      if (t.calls == 0) continue;
      const bool handled = static_cast<Reason>(r) == Reason::handled;
      std::fprintf(stderr, "%-26s %-34s %12llu %14llu %12.2f %10llu  %s\n", names[static_cast<std::size_t>(c)], reasons[static_cast<std::size_t>(r)],
                   static_cast<unsigned long long>(t.calls), static_cast<unsigned long long>(t.bytes),
                   static_cast<double>(t.nanoseconds) / 1e3 / static_cast<double>(t.calls), static_cast<unsigned long long>(t.lent),
                   handled ? most_used(all_ways, static_cast<Coll>(c)).c_str() : "-");
    }
}

}  // namespace libcoll::pmpi
