#include "coll_bench/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <map>
#include <optional>

#include "coll_bench/mpi_side.hpp"
#include "coll_bench/ways.hpp"
#include "libcoll/libcoll.h"

namespace bench {

namespace {

using libcoll::DType;
using libcoll::Op;

constexpr const char* description =
    "Latency of libcoll's collectives, in the manner of the OSU benchmarks, alone or against the MPI that\n"
    "this program was built with. Start it with a launcher: mpirun -n 2 coll-bench allreduce -c --vs mpi\n";
constexpr const char* size_meaning =
    "What a size in bytes means (as in OSU):\n"
    "  bcast, reduce, allreduce, scan, exscan      the whole vector of a rank\n"
    "  reduce_scatter (block form)                 the whole vector a rank sends; size/ranks come back\n"
    "  allgather(v), gather(v), scatter(v), alltoall(v)   the block of one rank; v-forms use equal counts\n"
    "Exit codes: 0 all well; 1 a result was wrong or a call failed; 2 bad arguments.\n"
    "docs/benchmarking.md says what is measured and how.";

const std::map<std::string, DType> dtype_names = {
    {"char", DType::i8},     {"int8", DType::i8},        {"short", DType::i16},
    {"int16", DType::i16},   {"int", DType::i32},        {"int32", DType::i32},
    {"long", DType::i64},    {"int64", DType::i64},      {"uint8", DType::u8},
    {"uint16", DType::u16},  {"uint32", DType::u32},     {"uint64", DType::u64},
    {"half", DType::f16},    {"f16", DType::f16},        {"bf16", DType::bf16},
    {"float", DType::f32},   {"f32", DType::f32},        {"double", DType::f64},
    {"f64", DType::f64},     {"fp8e4m3", DType::f8e4m3}, {"fp8e5m2", DType::f8e5m2},
    {"complex", DType::c64}, {"dcomplex", DType::c128},  {"bool", DType::boolean},
    {"byte", DType::byte}};
const std::map<std::string, Op> op_names = {{"sum", Op::sum}, {"prod", Op::prod}, {"min", Op::min},
                                            {"max", Op::max}, {"avg", Op::avg},   {"land", Op::land},
                                            {"lor", Op::lor}, {"lxor", Op::lxor}, {"band", Op::band},
                                            {"bor", Op::bor}, {"bxor", Op::bxor}};
const std::map<std::string, Barrier> barrier_names = {{"ours", Barrier::ours}, {"mpi", Barrier::mpi}, {"own", Barrier::own}};
const std::map<std::string, Buffers> buffers_names = {
    {"hot", Buffers::hot}, {"dirty", Buffers::dirty}, {"cold", Buffers::cold}};

// What the parser fills in as text and set_values() then understands.
struct Texts {
  std::vector<std::string> collectives;
  std::string sizes, memory = "private", versus = "none", barrier = "ours", dtype = "float", op = "sum",
                     buffers = "dirty";
};

template <class T>
std::string names_of(const std::map<std::string, T>& m) {
  std::string all;
  for (const auto& [name, value] : m) all += (all.empty() ? "" : " ") + name;
  return all;
}

template <class T>
T look_up(const char* option, const std::map<std::string, T>& m, const std::string& name) {
  const auto found = m.find(name);
  if (found == m.end())
    throw CLI::ValidationError(fmt::format("{} {}: one of: {}", option, name, names_of(m)));
  return found->second;
}

std::uint64_t parse_bytes(const std::string& text) {
  std::size_t end = 0;
  std::uint64_t value = 0;
  try {
    if (!text.empty() && text[0] >= '0' && text[0] <= '9') value = std::stoull(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  const std::string suffix = text.substr(end);
  const int shift = suffix == "K" || suffix == "k" ? 10
                    : suffix == "M"                ? 20
                    : suffix == "G"                ? 30
                    : suffix.empty()               ? 0
                                                   : -1;
  if (end == 0 || shift < 0 || value > (std::uint64_t{1} << 40) >> shift)
    throw CLI::ValidationError(
        fmt::format("-m: \"{}\" is no size in bytes (like 8, 64K, 4M, at most 1024G)", text));
  return value << shift;
}

void set_sizes(const std::string& text, Options& o) {
  if (text.empty()) return;
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) {
    o.max_bytes = parse_bytes(text);
  } else {
    o.min_bytes = parse_bytes(text.substr(0, colon));
    if (colon + 1 < text.size()) o.max_bytes = parse_bytes(text.substr(colon + 1));
  }
  if (o.min_bytes > o.max_bytes)
    throw CLI::ValidationError(fmt::format("-m {}: the smallest size ({}) is above the largest ({})", text,
                                           o.min_bytes, o.max_bytes));
}

void set_collectives(const std::vector<std::string>& names, Options& o) {
  for (const std::string& name : names) {
    if (name == "all") {
      for (const CollInfo& c : all_collectives()) o.collectives.push_back(c.coll);
      continue;
    }
    const CollInfo* found = find_collective(name);
    if (found == nullptr) {
      std::string known;
      for (const CollInfo& c : all_collectives()) known += fmt::format(" {}", c.name);
      throw CLI::ValidationError(fmt::format("no collective \"{}\"; one of:{} all", name, known));
    }
    o.collectives.push_back(found->coll);
  }
}

void set_values(const Texts& t, Options& o) {
  if (o.instructions_child > 0 || (o.instructions && t.collectives.empty())) return;
  if (t.collectives.empty())
    throw CLI::ValidationError("which collective? For example: coll-bench allreduce (--help has the list)");
  set_collectives(t.collectives, o);
  set_sizes(t.sizes, o);
  o.dtype_name = t.dtype;
  o.dtype = look_up("-T", dtype_names, t.dtype);
  o.op = look_up("-O", op_names, t.op);
  o.buffers = look_up("--buffers", buffers_names, t.buffers);
  o.versus_mpi = t.versus == "mpi";
  o.versus_pmpi = t.versus == "pmpi";
  o.barrier = look_up("--barrier", barrier_names, t.barrier);
  const std::pair<const char*, bool> exclusive[] = {
      {"--vs mpi", o.versus_mpi}, {"--mpi", o.through_mpi}, {"--all-algorithms", o.all_algorithms}, {"--started", o.started}, {"--persistent", o.persistent}, {"--nonblocking", o.nonblocking}};
  const char* seen = nullptr;
  for (const auto& [name, given] : exclusive) {
    if (!given) continue;
    if (seen != nullptr) throw CLI::ValidationError(fmt::format("{} and {} are measured one at a time: choose one", seen, name));
    seen = name;
  }
  if (o.versus_pmpi && !o.through_mpi) throw CLI::ValidationError("--vs pmpi compares what --mpi measures: give --mpi too");
  if (o.through_mpi && !o.algorithm.empty()) throw CLI::ValidationError("--mpi and --algorithm: choose one (LIBCOLL_ALLREDUCE=... names algorithms to a preloaded libcoll)");
  if (o.repetitions == 0) o.repetitions = o.all_algorithms ? 25 : 5;
  if (o.all_algorithms && !o.algorithm.empty()) throw CLI::ValidationError("--algorithm and --all-algorithms: choose one");
  if (!o.tune.empty())
    if (const std::string variable = tuning_obstacle(); !variable.empty())
      throw CLI::ValidationError(fmt::format("--tune compares with the library's own choice: unset {}", variable));
  if (t.memory == "both") o.memories = {Memory::private_, Memory::shared};
  if (t.memory == "shared") o.memories = {Memory::shared};
  for (const Coll c : o.collectives) {
    if (!info_of(c).reduces) continue;
    if (!libcoll::is_defined(o.op, o.dtype))
      throw CLI::ValidationError(fmt::format("{}: {} is not defined on {}", info_of(c).name, t.op, t.dtype));
    if (o.op == Op::avg && (c == Coll::scan || c == Coll::exscan))
      throw CLI::ValidationError(fmt::format("{}: avg is not defined for scans", info_of(c).name));
    if ((o.versus_mpi || o.through_mpi) && mpi::built_in && !mpi::can_reduce(o.dtype, o.op))
      throw CLI::ValidationError(fmt::format("{}: MPI cannot reduce {} with {}: leave --vs mpi and --mpi away",
                                             info_of(c).name, t.dtype, t.op));
  }
  if (o.needs_mpi() && !mpi::built_in)
    throw CLI::ValidationError(
        "--vs mpi, --barrier mpi, --mpi: this coll-bench was built without an MPI (install libopenmpi-dev or "
        "libmpich-dev and build again)");
}

void set_up(CLI::App& app, Texts& t, Options& o) {
  app.footer(size_meaning);
  app.set_version_flag("--version", std::string("coll-bench, libcoll ") + libcoll_version());
  app.add_option(
         "collective", t.collectives,
         "barrier bcast reduce allreduce reduce_scatter allgather gather scatter alltoall scan exscan "
         "allgatherv gatherv scatterv alltoallv; several, or all")
      ->type_name("NAME");
  app.add_option("-m", t.sizes, "Message sizes in bytes, doubling (1:1M); K, M, G are understood")
      ->type_name("[MIN:]MAX");
  app.add_option("-i,--iterations", o.iterations, "Timed calls per repetition (1000 up to 8 KiB, 100 above; with --all-algorithms a fifth)")
      ->check(CLI::Range(1, 100000000))
      ->type_name("N");
  app.add_option("-x,--warmup", o.warmup, "Calls before them (100 up to 8 KiB, 10 above; with --all-algorithms a fifth)")
      ->check(CLI::Range(0, 100000000))
      ->type_name("N");
  app.add_option("--repetitions", o.repetitions, "Blocks of timed calls; the median is reported (5; with --all-algorithms 25)")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
  app.add_option("-T,--type", t.dtype, "Element type: " + names_of(dtype_names))
      ->capture_default_str()
      ->type_name("TYPE");
  app.add_option("-O,--op", t.op, "Reduction: " + names_of(op_names))->capture_default_str()->type_name("OP");
  app.add_option("-r,--root", o.root, "Root of rooted collectives")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber)
      ->type_name("RANK");
  app.add_flag("-c,--check", o.check, "Validate every size before and after it is timed, both libraries");
  app.add_flag("-f,--full", o.full,
               "Also print minimum and maximum over ranks, and P50, P90, P99 of all calls");
  app.add_flag("--keep-clock", o.keep_clock, "Leave the cost of reading the clock in every time, as OSU does (default: taken off)");
  app.add_option("--buffers", t.buffers,
                 "hot: never touched between calls; dirty: rewritten by the sender before each; cold: not in "
                 "any cache")
      ->capture_default_str()
      ->type_name("hot|dirty|cold");
  app.add_option("--memory", t.memory,
                 "Of the buffers: private (malloc) or shared (Comm::allocate), for both libraries")
      ->capture_default_str()
      ->check(CLI::IsMember({"private", "shared", "both"}));
  app.add_option("--vs", t.versus, "mpi: interleave with the same calls of the MPI this was built with; pmpi: --mpi with the same calls by their PMPI_ names")
      ->capture_default_str()
      ->check(CLI::IsMember({"none", "mpi", "pmpi"}));
  app.add_flag("--mpi", o.through_mpi, "Measure MPI_Allreduce and so on, whoever answers: mpirun -n 2 coll-preload coll-bench allreduce --mpi --vs pmpi");
  app.add_option("--barrier", t.barrier, "Whose barrier separates calls: the same for both libraries, or each its own calls (own), as when OSU runs with one and then with the other")
      ->capture_default_str()
      ->check(CLI::IsMember({"ours", "mpi", "own"}));
  app.add_option("--algorithm", o.algorithm, "Passed to libcoll: direct, sliced, grouped, or a recipe (docs/algorithms.md)")->type_name("NAME");
  auto* ways = app.add_flag("--all-algorithms", o.all_algorithms, "Measure every algorithm beside the library's choice, and what was predicted");
  app.add_option("--tune", o.tune, "With --all-algorithms: write what was best by more than 5 % to FILE, for LIBCOLL_TUNING; merged with what it holds")
      ->type_name("FILE")
      ->needs(ways);
  app.add_flag("--started", o.started, "Start and wait, interleaved with the blocking calls");
  app.add_flag("--persistent", o.persistent, "Start and wait of persistent collectives, interleaved with the blocking ones");
  auto* nonblocking = app.add_flag("--nonblocking", o.nonblocking, "Started collectives: how much of them hides behind a computation of the same length");
  app.add_option("--tests", o.tests, "With --nonblocking: calls of test during a computation (one every 20 us)")
      ->check(CLI::Range(0, 1000000))
      ->type_name("N")
      ->needs(nonblocking);
  app.add_option("--json", o.json, "Write everything to FILE (benchmarks/compare.py reads it)")
      ->type_name("FILE");
  app.add_option("--csv", o.csv, "Write the cells to FILE")->type_name("FILE");
  app.add_option("--plot", o.plot, "Draw the cells into FILE (needs python3 with matplotlib)")
      ->type_name("FILE.png");
  app.add_flag(
      "--instructions", o.instructions,
      "Count the instructions of an 8-byte allreduce in its three forms with valgrind, on two ranks that it starts itself; "
      "alone, or after the named collectives");
  app.add_option("--instructions-child", o.instructions_child)->group("");
  app.add_option("--instructions-form", o.instructions_form)->group("");
}

std::optional<int> environment_number(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* text = std::getenv(name); text != nullptr && *text != 0) return std::atoi(text);
  return {};
}

}  // namespace

const char* name_of(Buffers b) { return b == Buffers::hot ? "hot" : b == Buffers::dirty ? "dirty" : "cold"; }
const char* name_of(Barrier b) { return b == Barrier::ours ? "ours" : b == Barrier::mpi ? "mpi" : "own"; }
const char* name_of(Memory m) { return m == Memory::private_ ? "private" : "shared"; }

int launcher_rank() {
  return environment_number({"LIBCOLL_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "RANK", "SLURM_PROCID"})
      .value_or(0);
}
int launcher_size() {
  return environment_number({"LIBCOLL_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "WORLD_SIZE"}).value_or(1);
}

int parse(int argc, char** argv, Options& o) {
  Texts texts;
  CLI::App app(description, "coll-bench");
  set_up(app, texts, o);
  try {
    app.parse(argc, argv);
    set_values(texts, o);
  } catch (const CLI::Success& e) {
    return launcher_rank() == 0 ? app.exit(e) : 0;
  } catch (const CLI::ParseError& e) {
    // Every rank sees the same mistake; one says so.
    if (launcher_rank() == 0) fmt::print(stderr, "coll-bench: {}\n", e.what());
    return 2;
  }
  return -1;
}

}  // namespace bench
