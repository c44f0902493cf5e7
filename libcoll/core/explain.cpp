// What the library would do with a call, without doing it.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "libcoll/core/prepare_vector.hpp"
#include "libcoll/core/recipes.hpp"

namespace libcoll {

using algo::Work;
using detail::Call;
using detail::Coll;
using detail::CommImpl;

namespace {

// A call as explain's arguments tell it.
struct Question {
  Call call;
  std::vector<Count> counts = {};  // of the forms whose counts all ranks know
  planning::Wish wish = {};
  sched::Problem problem = {};
  bool wants_gpu = false;         // by its recipe
};

[[noreturn]] void object(const CommImpl& c, std::string_view where, const std::string& what) {
  throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: {}: {}", c.rank(), c.size(), where, what));
}

Coll coll_named(const CommImpl& c, std::string_view where, std::string_view name) {
  std::string known;
  for (int i = 0; i < detail::coll_count; ++i) {
    if (name == name_of(static_cast<Coll>(i))) return static_cast<Coll>(i);
    known += fmt::format(" {}", name_of(static_cast<Coll>(i)));
  }
  object(c, where, fmt::format("there is no collective \"{}\"; one of:{}", name, known));
}

bool has_root(Coll coll) {
  return coll == Coll::bcast || coll == Coll::reduce || coll == Coll::gather || coll == Coll::gatherv || coll == Coll::scatter || coll == Coll::scatterv;
}
// Plans of these hold for all counts.
bool counts_are_unknown(Coll coll) { return coll == Coll::gatherv || coll == Coll::scatterv || coll == Coll::alltoallv; }

Question ask(const CommImpl& c, std::string_view name, Count count, DType type, const ReduceOp& op, int root, const CallOptions& o) {
  Question q{.call = {.coll = coll_named(c, "explain", name)}};
  Call& call = q.call;
  const auto require = [&](const std::string& what) {
    if (!what.empty()) object(c, name, what);
  };
  if (call.coll != Coll::barrier) {
    if (detail::is_reduction(call.coll)) {
      require(detail::custom_objection(type, op));
      call.op = op.op();
      call.commutative = op.custom() != nullptr && op.custom()->commutative;
    }
    call.dtype = type;
    call.element_bytes = detail::is_reduction(call.coll) ? detail::element_bytes_of(type, op) : static_cast<std::uint32_t>(detail::bytes_of(type));
    require(detail::count_objection(count, call.element_bytes, static_cast<std::uint64_t>(c.size())));
    if (has_root(call.coll)) call.root = detail::as_root(root);
    if (counts_are_hashed(call.coll)) q.counts.assign(static_cast<std::size_t>(c.size()), count);
    call.count = counts_are_hashed(call.coll) ? detail::hash_of(q.counts) : counts_are_unknown(call.coll) ? 0 : count;
  }
  call.determinism = static_cast<std::uint8_t>(o.determinism);
  const auto named = detail::read_options(o);
  if (!named) object(c, name, named.error().text);
  call.algorithm = named->native;
  require(c.objection(call));
  q.wants_gpu = CommImpl::is_for_devices(named->recipe);
  if (q.wants_gpu && c.devices() == nullptr) object(c, name, fmt::format("algorithm \"{}\" is for GPU memory, and this world uses no GPUs: {}", named->recipe, c.world().without_gpus));
  if (q.wants_gpu) call.recipe = detail::recipe_number(named->recipe);
  q.wish = named->recipe.empty() || q.wants_gpu ? c.wish_for(call) : planning::Wish{named->recipe, "caller"};
  q.problem = c.problem_of(call, q.counts);
  return q;
}

planning::Choice choice_of(const CommImpl& c, std::string_view name, const Question& q) {
  auto choice = c.choose(q.problem, q.call, q.wish);
  if (!choice) object(c, name, choice.error().text);
  if (!c.can_follow(q.problem, choice->recipe))
    object(c, name, fmt::format("algorithm \"{}\" sends messages, and all ranks are on one host: set LIBCOLL_NETWORK=on", algo::to_text(choice->recipe)));
  return std::move(*choice);
}

double native_us(const CommImpl& c, const Question& q) { return planning::predict_native_us(q.problem, c.world().costs, CommImpl::planned_bytes(q.call)); }

// Cheapest first, with the choice (null: a native step, which is not among them).
std::vector<Candidate> recipes_of(const CommImpl& c, const Question& q, const planning::Choice* choice) {
  std::vector<Candidate> all;
  bool has_choice = choice == nullptr;
  for (const planning::Choice& x : planning::rank_candidates(q.problem, c.world().costs, CommImpl::planned_bytes(q.call))) {
    if (!c.can_follow(q.problem, x.recipe)) continue;
    const bool chosen = choice != nullptr && x.recipe == choice->recipe;
    all.push_back({algo::to_text(x.recipe), x.predicted_us, chosen});
    has_choice = has_choice || chosen;
  }
  if (has_choice) return all;
  const auto dearer = std::find_if(all.begin(), all.end(), [&](const Candidate& x) { return x.predicted_us > choice->predicted_us; });
  all.insert(dearer, {algo::to_text(choice->recipe), choice->predicted_us, true});
  return all;
}

std::string text_of(const Work& w) {
  const std::string where = w.level == Level::world ? "the world" : fmt::format("each {}", name_of(w.level));
  if (w.where == Work::Where::native) {
    const std::string times = w.rounds > 1 ? fmt::format(", {:g} times", w.rounds) : "";
    return fmt::format("shared memory of {}: {} of {} ranks, {:.0f} elements{}", where, name_of(w.native), w.ranks, w.sent, times);
  }
  const std::string reduced = w.reduced > 0 ? fmt::format(", {:.0f} combined", w.reduced) : "";
  const std::string flows = w.flows > 1 ? fmt::format("; {} ranks of a host at once", w.flows) : "";
  return fmt::format("messages in {}: {} ranks, {:g} one after the other, {:.0f} elements sent{}{}", where, w.ranks, w.rounds, w.sent, reduced, flows);
}

std::string head_of(const CommImpl& c, const Question& q, Count count, int hosts) {
  std::string text = name_of(q.call.coll);
  if (q.call.coll != Coll::barrier) {
    const auto bytes = static_cast<std::uint64_t>(count) * q.call.element_bytes;
    text += counts_are_unknown(q.call.coll) ? fmt::format(" of {}, whatever the counts", name_of(q.call.dtype)) : fmt::format(" of {} {} ({} bytes a block)", count, name_of(q.call.dtype), bytes);
  }
  if (detail::is_reduction(q.call.coll)) text += fmt::format(", {}", name_of(q.call.op));
  if (has_root(q.call.coll)) text += fmt::format(", root {}", q.call.root);
  return text + fmt::format("; {} rank{} on {} host{}\n", c.size(), c.size() == 1 ? "" : "s", hosts, hosts == 1 ? "" : "s");
}

}  // namespace

std::string Comm::explain(std::string_view collective, Count count, DType type, ReduceOp op, int root, const CallOptions& o) const {
  constexpr std::size_t most_shown = 8;
  CommImpl& c = impl();
  const Question q = ask(c, collective, count, type, op, root, o);
  std::string text = head_of(c, q, count, c.topology().host_count());
  const bool on_gpu = c.devices() != nullptr && (o.stream.given || o.memory == Memory::device || o.memory == Memory::mixed || q.wants_gpu);
  if (on_gpu) text += c.devices()->explain(q.call, q.counts, o);
  if (q.wants_gpu) return text;
  std::vector<Candidate> others;
  if (c.runs_natively(q.call, q.wish, q.counts)) {
    const char* whose = q.call.algorithm == detail::Algorithm::automatic ? "all ranks share memory" : "caller";
    text += fmt::format("  one native step: {} ({}), predicted {:.2f} us\n", c.native_shape(q.call), whose, native_us(c, q));
    others = recipes_of(c, q, nullptr);
  } else {
    const planning::Choice choice = choice_of(c, collective, q);
    text += fmt::format("  {} ({}), predicted {:.2f} us\n", algo::to_text(choice.recipe), choice.why, choice.predicted_us);
    const auto phases = algo::collective(q.call.coll).work(q.problem, choice.recipe);
    for (std::size_t i = 0; i < phases.size(); ++i) text += fmt::format("    {}. {}\n", i + 1, text_of(phases[i]));
    others = recipes_of(c, q, &choice);
  }
  std::erase_if(others, [](const Candidate& x) { return x.chosen; });
  if (!others.empty()) text += "  others:\n";
  for (std::size_t i = 0; i < others.size() && i < most_shown; ++i) text += fmt::format("    {:<44} {:>12.2f} us\n", others[i].recipe, others[i].predicted_us);
  if (others.size() > most_shown) text += fmt::format("    and {} more\n", others.size() - most_shown);
  return text;
}

std::vector<Candidate> Comm::candidates(std::string_view collective, Count count, DType type, ReduceOp op, int root, const CallOptions& o) const {
  CommImpl& c = impl();
  const Question q = ask(c, collective, count, type, op, root, o);
  if (!c.runs_natively(q.call, q.wish, q.counts)) {
    const planning::Choice choice = choice_of(c, collective, q);
    return recipes_of(c, q, &choice);
  }
  std::vector<Candidate> all = recipes_of(c, q, nullptr);
  all.insert(all.begin(), {"", native_us(c, q), true});
  return all;
}

void Comm::note_ways() { impl().note_ways(); }
std::string_view Comm::last_way() const { return impl().last_way(); }

std::string Comm::tuning_file(std::span<const TuningRule> rules, std::string_view existing) const {
  CommImpl& c = impl();
  planning::TuningTable table;
  if (!existing.empty()) {
    auto parsed = planning::TuningTable::parse(existing);
    if (!parsed) object(c, "tuning_file", fmt::format("the existing text: {}", parsed.error().text));
    table = std::move(*parsed);
  }
  for (const TuningRule& r : rules) {
    const Question q = ask(c, r.collective, r.up_to, r.type, r.op, 0, {});
    table.remove(planning::fingerprint_of(q.problem), q.call.coll);
  }
  for (const TuningRule& r : rules) {
    const Question q = ask(c, r.collective, r.up_to, r.type, r.op, 0, {.algorithm = r.recipe});
    algo::Recipe recipe;
    if (!r.recipe.empty()) {
      auto parsed = algo::parse_recipe(r.recipe);
      const std::string why = parsed ? algo::refuses(q.problem, *parsed) : parsed.error().text;
      if (!why.empty()) object(c, r.collective, fmt::format("algorithm \"{}\": {}", r.recipe, why));
      recipe = std::move(*parsed);
    }
    table.add(planning::fingerprint_of(q.problem), q.call.coll, {planning::block_bytes(q.problem, CommImpl::planned_bytes(q.call)), std::move(recipe)});
  }
  return table.to_json() + "\n";
}

}  // namespace libcoll
