// Recipe: which algorithm, over which levels, cut how. Text form, in options, environment and tuning
// files: "[level,.../]algorithm[:key=value,...]", for example "ring", "host/recursive_doubling",
// "numa,host/rabenseifner:slices=all,chunk=65536", "k_nomial:radix=4".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libcoll/core/result.hpp"
#include "libcoll/types.hpp"

namespace libcoll::algo {

inline constexpr int all_slices = 0;

struct Recipe {
  std::string algorithm;       // a name of the collective's catalogue: what runs between the widest groups
  std::vector<Level> over = {};  // levels composed over, narrowest first; empty: flat
  int slices = 1;              // ranks of a group that take part in the exchange between groups, each
                               // with its slice: 1: the leader alone; all_slices: every rank of it
  std::int64_t chunk = 0;      // elements per pipelined chunk; 0: the whole at once
  int radix = 2;               // of trees
  friend bool operator==(const Recipe&, const Recipe&) = default;
};

// Errors name the part that is wrong. Whether a problem can be solved so: see Collective::refuses.
detail::Result<Recipe> parse_recipe(std::string_view);
std::string to_text(const Recipe&);

}  // namespace libcoll::algo
