// From a call to a plan.
#include <fmt/format.h>

#include <algorithm>

#include "libcoll/core/arguments.hpp"
#include "libcoll/core/recipes.hpp"
#include "libcoll/schedule/verify.hpp"
#include "transports/shm/natives.hpp"
#include "transports/shm/source.hpp"

namespace libcoll::detail {

namespace shm = xport::shm;

namespace {

// What ranks compare of each other's calls: everything but their own buffer layout. Never all ones,
// which announces a refused call.
std::uint32_t signature_of(Call call) {
  call.in_place = 0;
  std::uint64_t h = 0;
  if (call.recipe != 0) h = std::hash<std::string>()(recipe_text(call.recipe)), call.recipe = 0;
  const CallWords k = words_of(call);
  for (const std::uint64_t w : k.w) h = (h ^ w) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
  const auto s = static_cast<std::uint32_t>(h >> 32);
  return s == shm::refused_signature ? 0 : s;
}

void run_program(shm::Group&, const Args& args, const Plan& plan) { plan.program->queue->run(plan, args); }

}  // namespace

bool CommImpl::is_for_devices(std::string_view recipe) { return recipe == staged_recipe || algo::parse_device_recipe(recipe).has_value(); }

void CommImpl::validate(const Call& call) {
  const std::string what = objection(call);
  if (what.empty()) return;
  // Through host memory peers hear of it as they do of any refusal.
  if (devices_ && devices_->goes_alone() && devices_->passes_through_host_memory(call)) devices_->set_goes_alone(false);
  refuse_alike(call.coll, what);
}

std::string CommImpl::objection(const Call& call) const {
  const auto dtype = static_cast<int>(call.dtype);
  if (!counts_are_hashed(call.coll))
    if (std::string what = count_objection(call.count, call.element_bytes, static_cast<std::uint64_t>(size())); !what.empty()) return what;
  if (dtype >= dtype_count) return fmt::format("type {} is unknown", dtype);
  if (call.root >= static_cast<std::uint32_t>(size()))
    return fmt::format("root is {}; it must be from 0 to {}", static_cast<std::int32_t>(call.root), size() - 1);
  const bool can_slice = call.coll == Coll::allreduce || call.coll == Coll::reduce;
  const bool can_group = call.coll == Coll::barrier || (call.coll == Coll::allreduce && local() && call.op != Op::custom &&
                                                        static_cast<std::uint64_t>(call.count) * call.element_bytes <= shm::inline_bytes);
  if (call.algorithm != Algorithm::automatic && !(call.algorithm == Algorithm::grouped ? can_group : can_slice))
    return fmt::format("algorithm {} is not available for this call", name_of(call.algorithm));
  if (!is_reduction(call.coll)) return {};
  if (static_cast<int>(call.op) > op_count) return fmt::format("operation {} is unknown", static_cast<int>(call.op));
  if (call.op != Op::custom && !is_defined(call.op, call.dtype))
    return fmt::format("operation {} is not defined on type {}", name_of(call.op), name_of(call.dtype));
  if (call.op == Op::avg && (call.coll == Coll::scan || call.coll == Coll::exscan))
    return "operation avg makes no sense in a scan: ranks would divide partial sums by the number of all ranks";
  const std::uint64_t most = shm::largest_piece(group_->shape(), size() - 1);
  if (call.element_bytes > most) return fmt::format("elements of {} bytes are too large; at most {} on {} ranks", call.element_bytes, most, size());
  return {};
}

// Once nothing is under way.
const Plan& CommImpl::settled_plan(const Call& call, std::span<const Count> counts) {
  queue_->drain();
  const Plan& p = find_plan(call, counts, true);
  if (gate_.idle == gate_.busy) last_way_ = p.shape;  // note_ways
  return p;
}

// An exchange before it would wait for peers, which what only starts must not.
const Plan& CommImpl::plan_to_start(const Call& call, std::span<const Count> counts) {
  if (devices_) devices_->set_goes_alone(false);
  return find_plan(call, counts, false);
}

const Plan& CommImpl::find_plan(const Call& call, std::span<const Count> counts, bool checked) {
  const Plan* p = plans_.find(call);
  // Schedules of unequal blocks hold for the counts they were made for; their hash alone is not enough.
  if (p != nullptr && (p->program == nullptr || std::equal(counts.begin(), counts.end(), p->program->counts.begin(), p->program->counts.end()))) return *p;
  return make_plan(call, counts, checked);
}

Plan CommImpl::native_plan(const Call& call) {
  Plan p{.call = call, .group = group_, .signature = signature_of(call)};
  if (!counts_are_hashed(call.coll)) p.bytes = static_cast<std::uint64_t>(call.count) * call.element_bytes;
  if (call.op != Op::custom) {
    p.reduce = kernels::find_reduce(call.dtype, call.op);
    p.reduce_small = kernels::find_reduce_small(call.dtype, call.op);
  }
  const shm::Native native = shm::find_native(call, *group_);
  p.run = native.run;
  p.shape = native.shape;
  p.post = native.post;
  p.complete = native.complete;
  return p;
}

Plan CommImpl::program_plan(const Call& call, exec::Program& program) {
  Plan p{.call = call, .run = run_program, .group = group_, .signature = signature_of(call), .program = &program, .shape = program.text.c_str()};
  if (!counts_are_hashed(call.coll)) p.bytes = static_cast<std::uint64_t>(call.count) * call.element_bytes;
  return p;
}

const Plan& CommImpl::make_plan(const Call& call, std::span<const Count> counts, bool checked) {
  queue_->require_usable();
  validate(call);
  Plan p;
  std::shared_ptr<exec::Program> program;
  if (runs_natively(call, wish_for(call), counts)) {
    p = native_plan(call);
  } else {
    program = make_program(call, counts);
    p = program_plan(call, *program);
  }
  if (world_->config.check && size() > 1) {  // not cached, so that each call is checked
    if (checked) check_across_ranks(call);
    uncached_program_ = program;
    p.number = plans_.new_number();
    return uncached_ = p;
  }
  return plans_.insert(p, std::move(program));
}

sched::Problem CommImpl::problem_of(const Call& call, std::span<const Count> counts) const {
  sched::Problem p;
  p.coll = call.coll;
  p.size = size_;
  p.root = call.root < static_cast<std::uint32_t>(size_) ? static_cast<int>(call.root) : 0;
  if (!counts_are_hashed(call.coll)) p.count = call.count;
  p.counts.assign(counts.begin(), counts.end());
  p.commutative = call.op != Op::custom || call.commutative != 0;
  p.averages = call.op == Op::avg;
  p.determinism = static_cast<Determinism>(call.determinism);
  p.in_place = call.in_place != 0 && !exec::runs_apart(call);
  for (const exec::NativeGroup& g : groups_) p.groups.push_back(g.ranks);
  p.levels = levels_;
  return p;
}

planning::Wish CommImpl::wish_for(const Call& call) const {
  if (call.recipe != 0 && !is_for_devices(recipe_text(call.recipe))) return {recipe_text(call.recipe), "caller"};
  const auto set = world_->config.algorithms.find(name_of(call.coll));
  if (set != world_->config.algorithms.end() && is_for_devices(set->second)) return {};
  // The library's own exchanges are nobody's allgather.
  if (set != world_->config.algorithms.end() && call.root != ~std::uint32_t{0}) return {set->second, "environment"};
  return {};
}

std::string CommImpl::device_wish_for(const Call& call) const {
  if (call.recipe != 0) {
    // A recipe of host memory is a wish to pass through it.
    const std::string& text = recipe_text(call.recipe);
    return is_for_devices(text) ? text : staged_recipe;
  }
  const auto set = world_->config.algorithms.find(name_of(call.coll));
  return set != world_->config.algorithms.end() && is_for_devices(set->second) ? set->second : std::string();
}

bool CommImpl::can_follow(const sched::Problem& problem, const algo::Recipe& recipe) const {
  return algo::refuses(problem, recipe).empty() && (world_->engine->messenger() != nullptr || !algo::sends_messages(problem, recipe));
}

// On one host, unless somebody wants it otherwise: caller, environment, or what was measured before.
bool CommImpl::runs_natively(const Call& call, const planning::Wish& wish, std::span<const Count> counts) const {
  if (!local() || !wish.recipe.empty()) return false;
  if (!world_->tuning || call.algorithm != Algorithm::automatic) return true;
  const sched::Problem problem = problem_of(call, counts);
  const algo::Recipe* measured = world_->tuning->find(problem, planned_bytes(call));
  return measured == nullptr || !can_follow(problem, *measured);
}

std::uint32_t CommImpl::planned_bytes(const Call& call) { return exec::runs_wide(call) ? static_cast<std::uint32_t>(sizeof(float)) : call.element_bytes; }

detail::Result<planning::Choice> CommImpl::choose(const sched::Problem& problem, const Call& call, const planning::Wish& wish) const {
  return planning::choose(problem, wish, world_->tuning ? &*world_->tuning : nullptr, world_->costs, planned_bytes(call));
}

double CommImpl::predicted_us(const Call& call, std::span<const Count> counts) const {
  const planning::Wish wish = wish_for(call);
  const sched::Problem problem = problem_of(call, counts);
  if (runs_natively(call, wish, counts)) return planning::predict_native_us(problem, world_->costs, planned_bytes(call));
  const auto choice = choose(problem, call, wish);
  return choice ? choice->predicted_us : -1;
}

std::shared_ptr<exec::Program> CommImpl::make_program(const Call& call, std::span<const Count> counts) {
  const sched::Problem problem = problem_of(call, counts);
  const auto choice = choose(problem, call, wish_for(call));
  if (!choice) {
    if (choice.error().code == Errc::invalid_argument) refuse(call.coll, choice.error().text);
    throw Error(choice.error().code, fmt::format("libcoll: rank {} of {}: {}", rank_, size_, choice.error().text));
  }
#ifndef NDEBUG
  std::vector<sched::Schedule> all;
  for (int r = 0; r < size_; ++r) all.push_back(algo::build(problem, choice->recipe, r));
  if (const auto proof = sched::verify(problem, all); !proof)
    throw Error(Errc::internal, fmt::format("libcoll: {} by {} is wrong: {}", name_of(call.coll), algo::to_text(choice->recipe), proof.error().text));
#endif
  auto schedule = algo::build(problem, choice->recipe, rank_);
  const auto is_message = [](const sched::Step& s) { return s.kind == sched::Kind::send || s.kind == sched::Kind::recv; };
  if (world_->engine->messenger() == nullptr && std::any_of(schedule.steps.begin(), schedule.steps.end(), is_message))
    refuse(call.coll, fmt::format("algorithm \"{}\" sends messages, and all ranks are on one host: set LIBCOLL_NETWORK=on", algo::to_text(choice->recipe)));
  auto program = exec::compile(call, signature_of(call), std::move(schedule), groups_, world_ranks_, counts);
  program->queue = queue_.get();
  program->text = algo::to_text(choice->recipe);
  return program;
}

void CommImpl::allgather_bytes(const void* send, void* recv, std::size_t bytes) {
  // No caller's allgather has this root: the two are never taken for each other.
  const Call call{.coll = Coll::allgather, .dtype = DType::byte, .root = ~std::uint32_t{0}, .count = static_cast<std::int64_t>(bytes)};
  queue_->drain();
  const Plan& p = own_plan(call);
  p.run(*group_, {.send = send, .recv = recv}, p);
}

void CommImpl::allreduce_bits(std::uint8_t bits, std::uint8_t& all) {
  const Call call{.coll = Coll::allreduce, .dtype = DType::u8, .op = Op::bor, .root = ~std::uint32_t{0}, .count = 1, .element_bytes = 1};
  queue_->drain();
  const Plan& p = own_plan(call);
  p.run(*group_, {.send = &bits, .recv = &all}, p);
}

// Of the library's own exchanges.
const Plan& CommImpl::own_plan(const Call& call) {
  if (const Plan* known = own_plans_.find(call)) return *known;
  if (local()) return own_plans_.insert(native_plan(call));
  auto program = make_program(call, {});
  return own_plans_.insert(program_plan(call, *program), program);
}

// LIBCOLL_CHECK: the odd ones are those that differ from the most frequent call.
void CommImpl::check_across_ranks(const Call& call) {
  Call mine = call;
  mine.in_place = 0;
  std::vector<Call> all(static_cast<std::size_t>(size()));
  allgather_bytes(&mine, all.data(), sizeof mine);
  const auto votes = [&](const Call& c) { return std::count(all.begin(), all.end(), c); };
  const auto usual = std::max_element(all.begin(), all.end(), [&](const Call& a, const Call& b) { return votes(a) < votes(b); });
  std::string odd;
  int first = -1;
  for (int r = 0; r < size(); ++r) {
    const Call& c = all[static_cast<std::size_t>(r)];
    if (c == *usual) continue;
    if (first < 0) first = r;
    odd += fmt::format("; rank {}: {}", r, to_text(c));
  }
  if (first >= 0)
    throw Error(Errc::mismatch, fmt::format("libcoll: rank {} of {}: ranks disagree (LIBCOLL_CHECK): most call {}{}", rank(), size(), to_text(*usual), odd), first);
}

}  // namespace libcoll::detail
