// Tuning file: what was measured to be best, keyed by the shape of the job. JSON:
//   {"libcoll_tuning": 1, "jobs": [{"fingerprint": "2x4", "rules": [
//     {"collective": "allreduce", "up_to_bytes": 65536, "recipe": "host/recursive_doubling"}, ...]}]}
// `fingerprint` describes the groups of the communicator (fingerprint_of). Rules of a collective are
// tried in the order of their sizes; recipe "default" leaves sizes to the library. What cannot be parsed is an Error that names the place; a rule that
// an algorithm refuses for the problem at hand is passed over.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "libcoll/algorithms/algorithm.hpp"

namespace libcoll::planning {

// "2x4": two hosts of four ranks; "3,1": unequal ones; levels from wide to narrow, joined by "/".
std::string fingerprint_of(const sched::Problem&);
// What rules are compared with.
std::uint64_t block_bytes(const sched::Problem&, std::uint32_t element_bytes);

class TuningTable {
 public:
  struct Rule {
    std::uint64_t up_to_bytes = 0;
    algo::Recipe recipe;  // without a name: the library's own choice
  };
  static detail::Result<TuningTable> parse(std::string_view json);
  // Null if nothing is known. Bytes: of one block; of unequal ones, which are known to all ranks, on average.
  const algo::Recipe* find(const sched::Problem&, std::uint32_t element_bytes) const;
  void add(const std::string& fingerprint, detail::Coll, const Rule&);
  void remove(const std::string& fingerprint, detail::Coll);  // all of its rules
  std::string to_json() const;

 private:
  std::map<std::string, std::map<detail::Coll, std::vector<Rule>>> jobs_;
};

}  // namespace libcoll::planning
