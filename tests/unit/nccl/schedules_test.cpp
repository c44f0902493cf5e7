// Random programs: several communicators, streams and events per rank, groups, messages, graphs. No rank may hang, nothing
// may be reported, and every value must be that of a serial model.
#include <algorithm>
#include <numeric>

#include "tests/unit/nccl/support.hpp"

namespace libcoll::test {
namespace {

using nccl::RedOp;
using nccl::Type;

constexpr int streams_per_rank = 3;

enum class Kind { sum_world, sum_row, max_column, broadcast, ring, two_at_once, kinds };

struct Step {
  Kind kind;
  int root;
};

// The same on all ranks: a grid of rows and columns, and what is done on it.
struct Plan {
  Plan(std::uint64_t seed_) : seed(seed_), rows(1 + static_cast<int>(draw(0) % 2)), columns(1 + static_cast<int>(draw(1) % 3)), graph(draw(2) % 4 == 0) {
    for (std::uint64_t i = 0; i < 8 + draw(3) % 8; ++i)
      steps.push_back({static_cast<Kind>(draw(100 + i) % static_cast<std::uint64_t>(Kind::kinds)), static_cast<int>(draw(200 + i) % static_cast<std::uint64_t>(size()))});
  }
  std::uint64_t draw(std::uint64_t i) const { return mixed(seed, i); }
  int size() const { return rows * columns; }
  std::vector<int> row(int r) const {
    std::vector<int> members(static_cast<std::size_t>(columns));
    std::iota(members.begin(), members.end(), r / columns * columns);
    return members;
  }
  std::vector<int> column(int r) const {
    std::vector<int> members;
    for (int i = r % columns; i < size(); i += columns) members.push_back(i);
    return members;
  }
  std::uint64_t seed;
  int rows, columns;
  bool graph;  // all of it is captured and launched twice
  std::vector<Step> steps;
};

// Each rank's two values after each step, by definition.
using Values2 = std::vector<std::array<std::uint64_t, 2>>;
void model(const Plan& plan, const Step& step, Values2& v) {
  const Values2 old = v;
  const auto at = [](int r) { return static_cast<std::size_t>(r); };
  for (int r = 0; r < plan.size(); ++r) {
    std::uint64_t sum_all = 0, sum_row = 0, max_column = 0, sum_column_2 = 0;
    for (const auto& o : old) sum_all += o[0];
    for (int m : plan.row(r)) sum_row += old[at(m)][0];
    for (int m : plan.column(r)) max_column = std::max(max_column, old[at(m)][0]), sum_column_2 += old[at(m)][1];
    auto& mine = v[at(r)];
    switch (step.kind) {
      case Kind::sum_world: mine[0] = sum_all; break;
      case Kind::sum_row: mine[0] = sum_row; break;
      case Kind::max_column: mine[0] = max_column; break;
      case Kind::broadcast: mine[0] = old[at(step.root)][0]; break;
      case Kind::ring: mine[1] = old[at((r + plan.size() - 1) % plan.size())][0]; break;
      default: mine = {sum_row, sum_column_2};
    }
  }
}

struct Program {
  const Plan& plan;
  GpuRank& g;
  nccl::Comm row = nullptr, column = nullptr;
  cuda::Stream streams[streams_per_rank] = {};
  cuda::Event done = nullptr;
  std::uint64_t* values = nullptr;
  int last = 0;  // the stream of the step before

  Program(const Plan& p, GpuRank& rank) : plan(p), g(rank) {
    EXPECT_NCCL(g.nccl.comm_split(g.comm, g.rank / plan.columns, g.rank, &row, nullptr));
    EXPECT_NCCL(g.nccl.comm_split(g.comm, g.rank % plan.columns, g.rank, &column, nullptr));
    for (auto& s : streams) EXPECT_CUDA(g.cuda.stream_create_with_flags(&s, cuda::stream_non_blocking));
    EXPECT_CUDA(g.cuda.event_create_with_flags(&done, cuda::event_disable_timing));
  }
  ~Program() {
    for (auto& s : streams) EXPECT_CUDA(g.cuda.stream_destroy(s));
    EXPECT_CUDA(g.cuda.event_destroy(done));
    EXPECT_NCCL(g.nccl.comm_destroy(row));
    EXPECT_NCCL(g.nccl.comm_finalize(column));
    EXPECT_NCCL(g.nccl.comm_destroy(column));
  }
  void change_stream(int to) {
    if (to == last) return;
    EXPECT_CUDA(g.cuda.event_record(done, streams[last]));
    EXPECT_CUDA(g.cuda.stream_wait_event(streams[to], done, 0));
    last = to;
  }
  void call(const Step& step, cuda::Stream on) {
    std::uint64_t *a = values, *b = values + 1;
    const int right = (g.rank + 1) % g.size, left = (g.rank + g.size - 1) % g.size;
    switch (step.kind) {
      case Kind::sum_world: EXPECT_NCCL(g.nccl.all_reduce(a, a, 1, Type::u64, RedOp::sum, g.comm, on)); break;
      case Kind::sum_row: EXPECT_NCCL(g.nccl.all_reduce(a, a, 1, Type::u64, RedOp::sum, row, on)); break;
      case Kind::max_column: EXPECT_NCCL(g.nccl.all_reduce(a, a, 1, Type::u64, RedOp::max, column, on)); break;
      case Kind::broadcast: EXPECT_NCCL(g.nccl.broadcast(a, a, 1, Type::u64, step.root, g.comm, on)); break;
      case Kind::ring:
        EXPECT_NCCL(g.nccl.group_start());
        EXPECT_NCCL(g.nccl.send(a, 1, Type::u64, right, g.comm, on));
        EXPECT_NCCL(g.nccl.recv(b, 1, Type::u64, left, g.comm, on));
        EXPECT_NCCL(g.nccl.group_end());
        break;
      default:  // in any order, as it is one group
        EXPECT_NCCL(g.nccl.group_start());
        for (int i = 0; i < 2; ++i)
          if ((i == 0) == (g.rank % 2 == 0)) EXPECT_NCCL(g.nccl.all_reduce(a, a, 1, Type::u64, RedOp::sum, row, on));
          else EXPECT_NCCL(g.nccl.all_reduce(b, b, 1, Type::u64, RedOp::sum, column, on));
        EXPECT_NCCL(g.nccl.group_end());
    }
  }
  void run_steps() {
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      const std::uint64_t r = mixed(plan.seed, 1000 + i, static_cast<std::uint64_t>(g.rank));  // each rank's own
      change_stream(static_cast<int>(r % streams_per_rank));
      if ((r >> 8) % 8 == 0) EXPECT_CUDA(g.cuda.launch_host_function(streams[last], [](void*) {}, nullptr));
      call(plan.steps[i], streams[last]);
      if (!plan.graph && (r >> 16) % 8 == 0) EXPECT_CUDA(g.cuda.stream_synchronize(streams[last]));
    }
    change_stream(0);
  }
  void run() {
    if (!plan.graph) return run_steps();
    cuda::Graph graph = nullptr;
    cuda::GraphExec exec = nullptr;
    EXPECT_CUDA(g.cuda.stream_begin_capture(streams[0], cuda::CaptureMode::thread_local_only));
    run_steps();
    EXPECT_CUDA(g.cuda.stream_end_capture(streams[0], &graph));
    EXPECT_CUDA(g.cuda.graph_instantiate(&exec, graph, 0));
    for (int i = 0; i < 2; ++i) EXPECT_CUDA(g.cuda.graph_launch(exec, streams[0]));
    EXPECT_CUDA(g.cuda.graph_destroy(graph));
    EXPECT_CUDA(g.cuda.graph_exec_destroy(exec));
  }
};

TEST(Schedules, RandomProgramsRunAsTheModelSays) {
  const int programs = std::max(10, static_cast<int>(200 * test_scale()));
  for (int p = 0; p < programs && !::testing::Test::HasFailure(); ++p) {
    const Plan plan(mixed(test_seed(), static_cast<std::uint64_t>(p)));
    SCOPED_TRACE("program " + std::to_string(p) + ", " + seed_text());
    Values2 expected(static_cast<std::size_t>(plan.size()));
    for (std::size_t r = 0; r < expected.size(); ++r) expected[r] = {plan.draw(300 + r), plan.draw(400 + r)};
    const Values2 start = expected;
    for (int repeat = 0; repeat < (plan.graph ? 2 : 1); ++repeat)
      for (const Step& step : plan.steps) model(plan, step, expected);
    Session session(devices(plan.size(), plan.seed));
    run_ranks(session, plan.size(), [&](GpuRank& g) {
      const auto me = static_cast<std::size_t>(g.rank);
      Program program(plan, g);
      program.values = g.put<std::uint64_t>({start[me][0], start[me][1]});
      program.run();
      EXPECT_CUDA(g.cuda.stream_synchronize(program.streams[0]));
      EXPECT_EQ(g.get(program.values, 2), (std::vector<std::uint64_t>{expected[me][0], expected[me][1]}));
    });
    expect_clean(session);
  }
}

}  // namespace
}  // namespace libcoll::test
