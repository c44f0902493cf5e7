// Device schedules: groups, recipes, what is refused and why, what is worth considering.
#include "libcoll/algorithms/device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "libcoll/algorithms/device_build.hpp"

namespace libcoll::algo {

namespace {

using detail::failure;
using detail::Result;
using Islands = std::vector<std::vector<int>>;

constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

bool equal_islands(const Islands& islands) {
  return std::all_of(islands.begin(), islands.end(), [&](const auto& i) { return i.size() == islands.front().size(); });
}

auto wrong(std::string_view recipe, std::string text) {
  return failure(Errc::invalid_argument, fmt::format("device recipe \"{}\": {}", recipe, text));
}

// One "key=value"; an error text, or nothing.
std::string take_option(DeviceRecipe& r, std::string_view option) {
  const auto equals = option.find('=');
  if (equals == std::string_view::npos) return fmt::format("\"{}\" is not of the form key=value", option);
  const std::string_view key = option.substr(0, equals), value = option.substr(equals + 1);
  if (key == "slices") {
    if (value != "all" && value != "1") return fmt::format("slices is \"{}\"; it must be all or 1", value);
    r.sliced = value == "all";
    return {};
  }
  if (key != "chunk") return fmt::format("unknown key \"{}\": there are slices and chunk", key);
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), r.chunk);
  if (value.empty() || error != std::errc{} || end != value.data() + value.size()) return fmt::format("chunk is \"{}\", which is not a number", value);
  if (r.chunk < 1) return fmt::format("chunk is {}; it must be at least 1 element", r.chunk);
  return {};
}

// Why these are no islands of the ranks, or nothing.
std::string refuses_islands(const Problem& p, const Islands& islands) {
  if (islands.size() < 2) return "there is one island: plain NCCL has nothing to cross";
  if (!equal_islands(islands)) {
    const auto [small, large] = std::minmax_element(islands.begin(), islands.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
    return fmt::format("islands are unequal, of {} to {} ranks: they have no common rails", small->size(), large->size());
  }
  if (islands.front().size() < 2) return "islands are of one rank each: there is nothing to share inside them";
  std::vector<bool> seen(at(p.size));
  std::size_t many = 0;
  for (const auto& island : islands)
    for (const int r : island) {
      if (r < 0 || r >= p.size || seen[at(r)]) return fmt::format("rank {} is not in exactly one island", r);
      seen[at(r)] = true;
      ++many;
    }
  if (many != seen.size()) return fmt::format("islands hold {} of {} ranks", many, p.size);
  return {};
}

// Whether the collective can go over islands, and be cut so.
std::string refuses_over_islands(const Problem& p, const DeviceRecipe& r) {
  switch (p.coll) {
    case Coll::bcast:
    case Coll::reduce:
    case Coll::allreduce: return {};
    case Coll::allgather:
    case Coll::reduce_scatter_block: return r.sliced || r.chunk == 0 ? "" : "blocks that are not sliced are not cut into chunks either";
    case Coll::alltoall: return r.chunk == 0 && r.sliced ? "" : "an alltoall is not cut into chunks, nor otherwise than by rails";
    case Coll::barrier: return "a barrier is one small operation over everyone: parts of it would cost more";
    case Coll::reduce_scatter:
    case Coll::allgatherv: return "blocks of unequal length would be an NCCL call each in every part: they go over everyone at once";
    default: return "blocks travel directly between their owners, not over islands";
  }
}

bool has_blocks(Coll c) { return c == Coll::allgather || c == Coll::reduce_scatter_block; }

constexpr std::int64_t chunk_sizes[] = {1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24};
constexpr std::int64_t chunks_worth = 2;  // fewer overlap nothing
constexpr std::int64_t most_copies = 1 << 14;  // chunks of blocks are copied, every block of every chunk by a step of its own

bool worth_cutting(const Problem& p, std::int64_t chunk) {
  if (p.coll == Coll::alltoall || chunk * chunks_worth > p.count) return false;
  return !has_blocks(p.coll) || (p.count + chunk - 1) / chunk * p.size <= most_copies;
}

}  // namespace

DeviceGroups device_groups(Islands islands) {
  DeviceGroups out{std::move(islands), {}};
  if (out.islands.empty() || !equal_islands(out.islands)) return out;
  for (std::size_t r = 0; r < out.islands.front().size(); ++r) {
    auto& rail = out.rails.emplace_back();
    for (const auto& island : out.islands) rail.push_back(island[r]);
  }
  return out;
}

Islands device_group_list(int size, const DeviceGroups& groups) {
  Islands out{sched::everyone(size, 0).ranks};
  // Islands hold every rank once, and rails meet an island in one rank: only lists that begin alike can be equal, and few do.
  std::vector<std::vector<std::size_t>> begins(at(size));
  begins[0].push_back(0);
  const auto add = [&](const std::vector<int>& ranks) {
    if (ranks.size() < 2) return;
    auto& same = begins[at(ranks.front())];
    if (std::any_of(same.begin(), same.end(), [&](std::size_t g) { return out[g] == ranks; })) return;
    same.push_back(out.size());
    out.push_back(ranks);
  };
  for (const auto& island : groups.islands) add(island);
  if (!groups.islands.empty() && equal_islands(groups.islands))
    for (const auto& rail : groups.rails) add(rail);
  return out;
}

Result<DeviceRecipe> parse_device_recipe(std::string_view text) {
  DeviceRecipe r;
  const auto colon = text.find(':');
  std::string_view head = text.substr(0, colon);
  if (const auto slash = head.find('/'); slash != std::string_view::npos) {
    const std::string_view level = head.substr(0, slash);
    if (level.empty()) return wrong(text, "no level before the slash");
    if (level != "island") return wrong(text, fmt::format("unknown level \"{}\": devices have islands", level));
    r.over_islands = true;
    head.remove_prefix(slash + 1);
  }
  if (head.empty()) return wrong(text, "no algorithm");
  if (head != "nccl") return wrong(text, fmt::format("unknown algorithm \"{}\": devices have nccl", head));
  if (colon == std::string_view::npos) return r;
  std::string_view rest = text.substr(colon + 1);
  if (rest.empty()) return wrong(text, "nothing after the colon");
  if (!r.over_islands) return wrong(text, "slices and chunk are of recipes over islands: island/nccl");
  std::vector<std::string_view> seen;
  for (bool more = true; more;) {
    const auto comma = rest.find(',');
    more = comma != std::string_view::npos;
    const std::string_view option = rest.substr(0, comma);
    if (const std::string error = take_option(r, option); !error.empty()) return wrong(text, error);
    const std::string_view key = option.substr(0, option.find('='));
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) return wrong(text, fmt::format("{} is given twice", key));
    seen.push_back(key);
    if (more) rest.remove_prefix(comma + 1);
  }
  return r;
}

std::string to_text(const DeviceRecipe& r) {
  std::string out = r.over_islands ? "island/nccl" : "nccl";
  if (!r.sliced) out += ":slices=1";
  if (r.chunk != 0) out += fmt::format("{}chunk={}", r.sliced ? ':' : ',', r.chunk);
  return out;
}

std::string refuses_device(const Problem& p, const DeviceGroups& groups, const DeviceRecipe& r) {
  if (p.coll == Coll::scan || p.coll == Coll::exscan) return fmt::format("NCCL has no {}: it is staged through host memory", detail::name_of(p.coll));
  if (detail::is_reduction(p.coll) && !p.commutative) return "NCCL combines operands in any order, but the operation does not commute";
  if (detail::is_reduction(p.coll) && p.determinism == Determinism::placement) return "determinism placement needs rank order, and NCCL combines operands in its own";
  if (p.coll == Coll::alltoallv && p.in_place) return "in place, give the schedule a copy of the blocks to send";
  if (r.chunk < 0) return fmt::format("chunk is {}", r.chunk);
  if (!r.over_islands && (r.chunk != 0 || !r.sliced)) return "slices and chunk are of recipes over islands";
  if (p.groups.empty() || static_cast<int>(p.groups.front().size()) != p.size) return "the problem's first group is not everyone";
  if (!r.over_islands) return {};
  if (std::string why = refuses_over_islands(p, r); !why.empty()) return why;
  if (std::string why = refuses_islands(p, groups.islands); !why.empty()) return why;
  if (has_blocks(p.coll) && !r.sliced && block_order(groups.islands) != BlockOrder::by_island) return "slices=1 needs islands whose ranks follow each other";
  if (groups.rails != device_groups(groups.islands).rails) return "rails do not join the r-th members of all islands";
  if (p.groups != device_group_list(p.size, groups)) return "the problem's groups are not those of the islands and rails";
  return {};
}

Schedule build_device(const Problem& p, const DeviceGroups& groups, const DeviceRecipe& r, int rank) {
  Builder b(rank, p.size);
  if (!r.over_islands) {
    build_device_flat(b, p);
    return b.take();
  }
  Room room(b);
  Recipe recipe{.algorithm = "nccl"};
  recipe.chunk = r.chunk;
  const Site site{b, room, p, recipe};
  const DevicePlace place(p, groups, rank);
  if (p.coll == Coll::alltoall) build_device_alltoall(site, place);
  else if (has_blocks(p.coll)) build_device_blocks(site, place, r.sliced);
  else build_device_vector(site, place, r.sliced);
  return b.take();
}

std::vector<DeviceRecipe> device_candidates(const Problem& p, const DeviceGroups& groups) {
  std::vector<DeviceRecipe> out;
  const auto add = [&](const DeviceRecipe& r) {
    const bool fine = refuses_device(p, groups, r).empty();
    if (fine) out.push_back(r);
    return fine;
  };
  add({});
  for (const bool sliced : {true, false}) {
    // NCCL's trees and switches are hierarchical themselves: two calls for a small allreduce gain nothing, and for a large one lose.
    if (p.coll == Coll::allreduce && !sliced) continue;
    if (add({.over_islands = true, .sliced = sliced}))
      for (const std::int64_t chunk : chunk_sizes)
        if (worth_cutting(p, chunk) && (sliced || !has_blocks(p.coll))) out.push_back({true, chunk, sliced});
  }
  return out;
}

}  // namespace libcoll::algo
