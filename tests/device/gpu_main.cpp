// The conformance suite of GPU memory on real CUDA and NCCL, as a program of several processes: started by a launcher, or
// by itself (--ranks). Correctness only: it measures nothing. Exit codes: 0 passed, 1 failed, 2 bad arguments, 77 skipped.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "libcoll/libcoll.hpp"
#include "tests/device/device_body.hpp"
#include "tests/device/device_numbers.hpp"
#include "tests/device/gpu_processes.hpp"
#include "tests/device/gpu_records.hpp"
#include "tests/multiproc/calls.hpp"
#include "tests/support/values.hpp"
#include "topology/files.hpp"

namespace libcoll::test {

namespace {

using detail::value_or_throw;
using Clock = std::chrono::steady_clock;

struct Options {
  int ranks = 0;  // 0: a launcher has started them
  int cases = 60, rounds = 20;
  double limit_s = 600;
  std::string record;
};

// A line of fixed size that ranks gather.
struct Line {
  char text[256] = {};
};

class Suite {
 public:
  Suite(Comm& world, const Options& o) : world_(world), options_(o), seed_(test_seed()) {}

  int run() {
    world_.bcast(&seed_, 1, DType::u64, 0, {.memory = Memory::host});
    Comm host = world_.split(Level::host);
    if (!options_.record.empty()) record(host);
    std::string missing = find_gpus();
    if (missing.empty()) missing = seat(host);
    const std::string why = of_first_without(missing);
    host.close();
    if (!why.empty()) {
      const auto nccl = nccl::load_nccl();
      say("{}", nccl ? nccl->origin + " is there" : "no NCCL: " + nccl.error().text);
      skip("everything", why);
      return exit_skipped;
    }
    if (runtime_->cuda.is_fake() || (runtime_->nccl && runtime_->nccl->is_fake())) throw std::runtime_error("this is the double of CUDA or NCCL, which this program is not for");
    introduce();
    say("LIBCOLL_TEST_SEED={} repeats this run", seed_);
    const DeviceBodyOptions o{.seed = seed_, .random_cases = options_.cases, .islands = follows("island/nccl")};
    part(o.islands ? "every collective, also over islands" : "every collective", [&] { run_device_body(world_, *runtime_, o); });
    part("graphs", [&] { run_device_graphs(world_, *runtime_, seed_); });
    part("several streams and communicators", [&] { run_device_streams(world_, *runtime_, seed_, options_.rounds); });
    if (!o.islands) made_up_islands(o);
    return 0;
  }

 private:
  template <class... Args>
  void say(fmt::format_string<Args...> text, Args&&... args) const {
    if (world_.rank() != 0) return;
    fmt::print("device_gpu: {}\n", fmt::format(text, std::forward<Args>(args)...));
    std::fflush(stdout);
  }

  void skip(const std::string& what, const std::string& why) const {
    if (world_.rank() != 0) return;
    fmt::print("SKIPPED: device_gpu with {} ranks: {}: {}\n", world_.size(), what, why);
    std::fflush(stdout);
  }

  void part(const std::string& name, const std::function<void()>& f) const {
    const auto start = Clock::now();
    f();
    say("{}: ok ({:.1f} s)", name, std::chrono::duration<double>(Clock::now() - start).count());
  }

  // Of this host, and of NCCL's look at it, which it writes when its first communicator is made.
  void record(Comm& host) const {
    if (host.rank() != 0) return;
    for (const std::string& file : record_machine(options_.record)) fmt::print("device_gpu: wrote {}\n", file);
    if (world_.rank() == 0) setenv("NCCL_TOPO_DUMP_FILE", nccl_dump_name(options_.record).c_str(), 1);
  }

  // Why this rank has none, or nothing.
  std::string find_gpus() {
    const auto opened = device::runtime();
    if (!opened) return fmt::format("no CUDA: {}", opened.error().text);
    runtime_ = *opened;
    const cuda::Error e = runtime_->cuda.get_device_count(&devices_);
    if (e != cuda::Error::success) return fmt::format("{}: {}", runtime_->cuda.origin, runtime_->cuda.get_error_string(e));
    return devices_ > 0 ? std::string() : "CUDA shows no GPU";
  }

  // A GPU for this rank: one of its own, where the host has enough of them.
  std::string seat(Comm& host) {
    device_ = host.rank() % devices_;
    shares_ = host.size() > devices_;
    // NCCL and libcoll read these when GPUs are used for the first time, which is later than this. Never the library's doing:
    // they are an experiment of NCCL's (2.30), multiprocessors that ranks of one GPU leave each other, and the order that
    // calls on several communicators need.
    if (shares_) setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1", 0), setenv("NCCL_MAX_CTAS", "4", 0);
    setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);
    const cuda::Error e = runtime_->cuda.set_device(device_);
    return e == cuda::Error::success ? std::string() : fmt::format("device {}: {}", device_, runtime_->cuda.get_error_string(e));
  }

  std::vector<Line> lines_of_all(const std::string& mine) const {
    Line line;
    mine.copy(line.text, sizeof line.text - 1);
    std::vector<Line> all(static_cast<std::size_t>(world_.size()));
    world_.allgather(&line, all.data(), sizeof line, DType::byte, {.memory = Memory::host});
    return all;
  }
  std::string of_first_without(const std::string& mine) const {
    const std::vector<Line> all = lines_of_all(mine);
    for (std::size_t r = 0; r < all.size(); ++r)
      if (all[r].text[0] != 0) return fmt::format("rank {}: {}", r, all[r].text);
    return {};
  }

  std::string bus_id() const {
    char bus[32] = {};
    device::require(runtime_->cuda, runtime_->cuda.device_get_pci_bus_id(bus, sizeof bus, device_), "cudaDeviceGetPCIBusId");
    return bus;
  }

  // What was found, and the first call with GPU memory.
  void introduce() {
    const cuda::Table& cuda = runtime_->cuda;
    say("{}, driver for CUDA {}.{}; {}", cuda.origin, cuda.driver_version / 1000, cuda.driver_version % 1000 / 10, runtime_->nccl ? runtime_->nccl->origin : "no NCCL: " + runtime_->without_nccl);
    const std::vector<Line> seats = lines_of_all(fmt::format("device {} of {} ({}){}", device_, devices_, bus_id(), shares_ ? ", shared" : ""));
    for (std::size_t r = 0; r < seats.size(); ++r) say("rank {}: {}", r, seats[r].text);
    DeviceNumbers x(*runtime_, 1);
    x.set({world_.rank() + 1});
    world_.allreduce(in_place, x.at(), 1, DType::i64, Op::sum);
    if (x.get()[0] != world_.size() * (world_.size() + 1) / 2) throw std::runtime_error("the first allreduce gave a wrong sum");
    say("{}", world_.describe());
    if (!follows("nccl")) skip("NCCL", "every call of this run passes through host memory; the line before says why");
  }

  // Whether calls can go that way here. Refused on all ranks alike.
  bool follows(const char* recipe) const {
    DeviceNumbers x(*runtime_, 1000);
    x.set(Numbers(1000, 1));
    const Outcome o = outcome_of([&] { world_.allreduce(in_place, x.at(), 1000, DType::i64, Op::sum, {.algorithm = recipe}); });
    if (o.code != Errc::ok && o.code != Errc::invalid_argument) throw std::runtime_error(o.text);
    return o.code == Errc::ok;
  }

  // The GPUs of one host as islands of two, although NVLink says otherwise: the code is that of real islands.
  void made_up_islands(DeviceBodyOptions o) {
    Comm host = world_.split(Level::host);
    const bool possible = host.size() == world_.size() && !shares_ && world_.size() >= 4 && world_.size() % 2 == 0 && follows("nccl");
    host.close();
    if (!possible) return skip("islands", "they take two hosts of 2 GPUs, or an even number of 4 ranks or more on one host with a GPU each, and NCCL");
    const std::vector<Line> buses = lines_of_all(bus_id());
    std::string islands;
    for (std::size_t r = 0; r < buses.size(); r += 2) islands += fmt::format("{}[\"{}\",\"{}\"]", r == 0 ? "" : ",", buses[r].text, buses[r + 1].text);
    const std::string file = (std::filesystem::temp_directory_path() / fmt::format("device_gpu-{}.json", getpid())).string();
    value_or_throw(topo::write_file(file, fmt::format("{{\"libcoll_topology\":1,\"override\":{{\"islands\":[{}]}}}}", islands)));
    Config config = Config::from_environment();
    config.gpu = "auto";
    config.topology_file = file;
    Comm made = Comm::from_callback(world_.rank(), world_.size(), [this](const void* send, void* recv, std::size_t bytes) {
      world_.allgather(send, recv, static_cast<Count>(bytes), DType::byte, {.memory = Memory::host});
    }, config);
    std::filesystem::remove(file);
    o.islands = true;
    part("every collective over made-up islands", [&] { run_device_body(made, *runtime_, o); });
    say("{}", made.describe());
    part("graphs on them", [&] { run_device_graphs(made, *runtime_, seed_); });
    made.close();
  }

  Comm& world_;
  const Options& options_;
  std::uint64_t seed_;
  const device::Runtime* runtime_ = nullptr;
  int devices_ = 0, device_ = 0;
  bool shares_ = false;
};

int run_rank(const Options& o) {
  int rank = -1;
  try {
    Config config = Config::from_environment();
    // Loading CUDA is this program's business: where a rank has none it says so instead of failing.
    config.gpu = "auto";
    (void)device::runtime();
    Comm world = Comm::from_environment(config);
    rank = world.rank();
    const int code = Suite(world, o).run();
    world.close();
    if (rank == 0 && code == 0) fmt::print("device_gpu: passed\n");
    std::fflush(nullptr);
    return code;
  } catch (const std::exception& e) {
    fmt::print(stderr, "device_gpu: rank {}: {}\n", rank, e.what());
    std::fflush(nullptr);
    return 1;
  }
}

}  // namespace

}  // namespace libcoll::test

int main(int argc, char** argv) {
  using namespace libcoll::test;
  Options o;
  CLI::App app{"Every collective on GPU memory, with real CUDA and NCCL. Started by a launcher, or with --ranks by itself.\nExit codes: 0 passed; 1 failed; 2 bad arguments; 77 skipped: no CUDA or no GPU."};
  app.add_option("--ranks", o.ranks, "Start so many processes on this host")->check(CLI::Range(1, 64));
  app.add_option("--cases", o.cases, "Random cases beyond every type, operation and form")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--rounds", o.rounds, "Rounds of calls on several streams")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--limit", o.limit_s, "Seconds after which the processes of --ranks are killed")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--record", o.record, "Also write what was found to files in this directory: hwloc XML, the machine with NVML's answers, NCCL's topology")->type_name("DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return o.ranks == 0 ? run_rank(o) : run_processes(o.ranks, o.limit_s, [&] { return run_rank(o); });
}
