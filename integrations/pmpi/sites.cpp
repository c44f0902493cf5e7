#include "sites.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "flavour.hpp"
#include "rows.hpp"

namespace libcoll::pmpi {

namespace {

const char* base_name(const char* path) noexcept {
  const char* slash = std::strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

bool is_between(const void* address) noexcept {
  Dl_info here{}, there{};
  static const char anchor = 0;
  dladdr(&anchor, &here);
  if (dladdr(address, &there) == 0) return false;
  return there.dli_fbase == here.dli_fbase || std::strncmp(base_name(there.dli_fname), "libmpi", 6) == 0;
}

_Unwind_Reason_Code look_at_frame(_Unwind_Context* frame, void* found) {
  const auto address = static_cast<std::uintptr_t>(_Unwind_GetIP(frame));
  const void* call = reinterpret_cast<const void*>(address - 1);  // the call itself, not what follows it
  if (address == 0 || is_between(call)) return _URC_NO_REASON;
  *static_cast<const void**>(found) = call;
  return _URC_END_OF_STACK;
}

// Up to 0, 4, 16, 64, ... bytes.
int class_of_size(std::uint64_t bytes) noexcept {
  int c = 0;
  for (std::uint64_t up_to = 0; bytes > up_to; up_to = up_to == 0 ? 4 : up_to * 4) ++c;
  return c;
}
std::string text_of_class(int c) {
  if (c == 0) return "0";
  std::uint64_t up_to = std::uint64_t{1} << (2 * c);
  int unit = 0;
  for (; up_to >= 1024; up_to /= 1024) ++unit;
  return "<= " + std::to_string(up_to) + &"\0\0K\0M\0G\0T\0P\0E"[2 * unit];
}

struct Sums {
  std::uint64_t calls = 0, timed = 0, ours_ns = 0, mpis_ns = 0, differing = 0;
  void add(const Sums& s) {
    calls += s.calls;
    timed += s.timed;
    ours_ns += s.ours_ns;
    mpis_ns += s.mpis_ns;
    differing += s.differing;
  }
};

std::mutex mutex;
std::map<std::tuple<const void*, Coll, int>, Sums> sites;

// Addresses differ from process to process, texts do not.
struct Row {
  std::array<char, 104> site;
  Coll coll;
  std::uint8_t size_class;
  Sums sums;
};

std::vector<Row> own_rows() {
  const std::lock_guard lock(mutex);
  std::vector<Row> rows;
  for (const auto& [key, sums] : sites) {
    Row r{.site = {}, .coll = std::get<1>(key), .size_class = static_cast<std::uint8_t>(std::get<2>(key)), .sums = sums};
    std::snprintf(r.site.data(), r.site.size(), "%s", text_of_site(std::get<0>(key)).c_str());
    rows.push_back(r);
  }
  return rows;
}

}  // namespace

const void* call_site() noexcept {
  const void* found = nullptr;
  _Unwind_Backtrace(look_at_frame, static_cast<void*>(&found));
  return found;
}

std::string text_of_site(const void* address) {
  Dl_info info{};
  if (address == nullptr || dladdr(address, &info) == 0 || info.dli_fbase == nullptr) return "unknown";
  char offset[32];
  const auto from = [&](const void* base) {
    std::snprintf(offset, sizeof offset, "+0x%llx", static_cast<unsigned long long>(static_cast<const char*>(address) - static_cast<const char*>(base)));
    return offset;
  };
  if (info.dli_sname != nullptr) return std::string(info.dli_sname) + from(info.dli_saddr) + " (" + base_name(info.dli_fname) + ")";
  // Programs at a fixed place are looked up by address.
  const bool is_fixed = static_cast<const Elf64_Ehdr*>(info.dli_fbase)->e_type == ET_EXEC;
  return std::string(base_name(info.dli_fname)) + from(is_fixed ? nullptr : info.dli_fbase);
}

void add_to_site(const void* site, Coll coll, std::uint64_t bytes, std::uint64_t ours_ns, std::uint64_t mpis_ns, bool differs) {
  const std::lock_guard lock(mutex);
  Sums& s = sites[{site, coll, class_of_size(bytes)}];
  // The first call pays for plans, connections and pages: it counts only where it is the only one.
  if (s.calls == 1) s.timed = s.ours_ns = s.mpis_ns = 0;
  s.add({.calls = 1, .timed = 1, .ours_ns = ours_ns, .mpis_ns = mpis_ns, .differing = differs ? 1u : 0u});
}

void print_sites() noexcept {
  const std::vector<Row> all = gather_rows(own_rows());
  if (all.empty()) return;
  std::map<std::tuple<std::string, Coll, int>, Sums> merged;
  Sums total;
  for (const Row& r : all) {
    merged[{r.site.data(), r.coll, r.size_class}].add(r.sums);
    total.add(r.sums);
  }
  std::vector<std::pair<std::tuple<std::string, Coll, int>, Sums>> rows(merged.begin(), merged.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.mpis_ns > b.second.mpis_ns; });
  const auto us = [](std::uint64_t ns, std::uint64_t timed) { return static_cast<double>(ns) / 1e3 / static_cast<double>(timed); };
  std::fprintf(stderr, "libcoll compare (%s): %llu calls of all ranks were run by both, %llu with another result\n%-26s %-10s %10s %12s %12s %9s %9s  %s\n", flavour,
               static_cast<unsigned long long>(total.calls), static_cast<unsigned long long>(total.differing), "collective", "bytes", "calls", "us by MPI", "us by libcoll", "speed-up", "differing",
               "call site");
  for (const auto& [key, s] : rows)
    std::fprintf(stderr, "%-26s %-10s %10llu %12.2f %12.2f %9.2f %9llu  %s\n", name_of(std::get<1>(key)), text_of_class(std::get<2>(key)).c_str(), static_cast<unsigned long long>(s.calls),
                 us(s.mpis_ns, s.timed), us(s.ours_ns, s.timed), static_cast<double>(s.mpis_ns) / static_cast<double>(std::max<std::uint64_t>(s.ours_ns, 1)),
                 static_cast<unsigned long long>(s.differing), std::get<0>(key).c_str());
}

}  // namespace libcoll::pmpi
