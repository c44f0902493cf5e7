// Partitions of ranks as colours: p[rank] is the number of the rank's part. In canonical form parts
// are numbered by their lowest ranks, so that equal partitions are equal vectors.
#pragma once

#include <map>
#include <utility>
#include <vector>

namespace libcoll::topo {

using Partition = std::vector<int>;

// The canonical partition in which ranks are together if their keys are equal.
template <class Key>
Partition partition_by(const std::vector<Key>& keys) {
  std::map<Key, int> numbers;
  Partition p;
  p.reserve(keys.size());
  for (const Key& key : keys)
    p.push_back(numbers.try_emplace(key, static_cast<int>(numbers.size())).first->second);
  return p;
}

inline int part_count(const Partition& canonical) {
  int most = -1;
  for (const int part : canonical) most = part > most ? part : most;
  return most + 1;
}

// Together where they are together in both: the coarsest partition that lies inside both.
inline Partition meet(const Partition& a, const Partition& b) {
  std::vector<std::pair<int, int>> keys;
  keys.reserve(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) keys.emplace_back(a[i], b[i]);
  return partition_by(keys);
}

// Two members of one part of the first that are apart in the second, the pair with the lowest later one; {-1, -1}: none.
// O(n), whatever the parts.
inline std::pair<int, int> find_split(const Partition& parts, const Partition& others) {
  std::vector<int> first(static_cast<std::size_t>(part_count(parts)), -1);  // member of each part
  for (std::size_t i = 0; i < parts.size(); ++i) {
    int& lowest = first[static_cast<std::size_t>(parts[i])];
    if (lowest < 0) lowest = static_cast<int>(i);
    else if (others[static_cast<std::size_t>(lowest)] != others[i]) return {lowest, static_cast<int>(i)};
  }
  return {-1, -1};
}

// Whether each part of `fine` lies inside one part of `coarse`.
inline bool refines(const Partition& fine, const Partition& coarse) {
  return part_count(meet(fine, coarse)) == part_count(partition_by(fine));
}

}  // namespace libcoll::topo
