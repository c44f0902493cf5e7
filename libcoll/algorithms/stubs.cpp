// Stands in for collectives that are not merged yet. Goes away with the last of them.
#include "libcoll/algorithms/collectives.hpp"

namespace libcoll::algo {
namespace {
constexpr Entry none[] = {{"none", "not here yet", ""}};
std::string refuse(const Problem&, const Recipe&) { return "not here yet"; }
void nothing(Builder&, const Problem&, const Recipe&) {}
std::vector<Work> no_work(const Problem&, const Recipe&) { return {}; }
constexpr Collective stub{none, refuse, nothing, no_work};
}  // namespace
#define STUB(x) extern __attribute__((weak)) const Collective x##_collective = stub
STUB(barrier); STUB(bcast); STUB(reduce); STUB(allreduce); STUB(reduce_scatter_block); STUB(reduce_scatter);

STUB(scan); STUB(exscan);
}  // namespace libcoll::algo
