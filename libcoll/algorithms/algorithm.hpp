// The catalogue: for each collective the algorithms that can build it, flat or composed over levels.
// All pure functions of Problem and Recipe: every rank decides alike.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "libcoll/algorithms/recipe.hpp"
#include "libcoll/schedule/builder.hpp"

namespace libcoll::algo {

using detail::Coll;
using sched::Builder;
using sched::Part;
using sched::Problem;
using sched::Range;
using sched::Schedule;
using sched::Space;
using sched::Team;

// One algorithm of a collective, for people and for the chooser.
struct Entry {
  const char* name;
  const char* idea;    // one line
  const char* source;  // paper or textbook
};

// What the critical path of one phase costs, for the model alpha * rounds + beta * sent + gamma * reduced.
struct Work {
  enum class Where : std::uint8_t { native, messages } where = Where::messages;
  Level level = Level::world;  // the groups that share memory, or between whose members messages travel
  Coll native = Coll::barrier; // native: which operation
  int ranks = 1;               // that take part in one group or team
  double rounds = 0;           // messages one after the other; native operations: how many
  double sent = 0;             // elements that pass through the busiest rank; native: elements of the operation
  double reduced = 0;          // elements that the busiest rank combines (two operands: one per element) or copies
  double both = 1;             // part of `sent` that travels while as much comes the other way; 0: of a tree
  int flows = 1;               // how many ranks of one host send at once (slices)
};

struct Collective {
  std::span<const Entry> algorithms;
  // Why the recipe cannot solve the problem, or nothing. Never depends on the rank.
  std::string (*refuses)(const Problem&, const Recipe&);
  // The whole collective for the builder's rank. The recipe was not refused.
  void (*build)(Builder&, const Problem&, const Recipe&);
  // Phase by phase. Chunks overlap phases: the model takes the slowest and adds the filling.
  std::vector<Work> (*work)(const Problem&, const Recipe&);
};
const Collective& collective(Coll);

// Why not, or nothing: unknown algorithm, unusable level, bad slices, chunk or radix; then `refuses`.
std::string refuses(const Problem&, const Recipe&);
// Whether any rank sends messages; of a recipe that is not refused.
bool sends_messages(const Problem&, const Recipe&);
Schedule build(const Problem&, const Recipe&, int rank);
// Every recipe worth considering that is not refused, in one order on all ranks.
std::vector<Recipe> candidates(const Problem&);

// -- For the builders.

// Rank `r`'s operand in its send buffer, or where it lies in its recv buffer if the call is in place.
// Elements [from, from + count) of it.
Range operand(const Problem&, int r, std::int64_t from, std::int64_t count);
// Block r of the receive buffer, of a regular collective or a v-form (whole_block if only known later).
Range recv_block(const Problem&, int r);
Range send_block(const Problem&, int r);

}  // namespace libcoll::algo
