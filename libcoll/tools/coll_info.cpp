// coll-info: what libcoll sees. Alone it shows this host (or a saved one); started by a launcher,
// where every rank runs and which groups follow from that.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libcoll/bootstrap.hpp"
#include "libcoll/comm.hpp"
#include "libcoll/tools/info_explain.hpp"
#include "libcoll/tools/info_gpus.hpp"
#include "topology/describe.hpp"
#include "topology/draw.hpp"
#include "topology/fabric.hpp"
#include "topology/files.hpp"
#include "topology/hash.hpp"
#include "topology/hierarchy.hpp"
#include "topology/import.hpp"
#include "topology/islands.hpp"
#include "topology/missing.hpp"
#include "topology/override.hpp"
#include "topology/probe_hwloc.hpp"
#include "topology/probe_nvml.hpp"
#include "topology/process.hpp"
#include "topology/rails.hpp"

namespace {

using namespace libcoll;
using info::Questions;
using detail::value_or_throw;

enum ExitCode { all_well = 0, failed = 1, bad_usage = 2, check_found = 3 };

struct Options {
  std::string xml, load, topology_file, hierarchy, save, dot, svg, type = "f32", op = "sum";
  std::vector<std::string> explain, gpus;
  bool json = false, check = false, explains = false, map = false;
  // Then standard output holds the picture and nothing else.
  bool draws_to_stdout() const { return dot == "-" || svg == "-"; }
};

constexpr const char* description =
    "Shows the machine as libcoll sees it: packages, NUMA nodes, caches, cores, NICs, GPUs and the islands\n"
    "that NVLink makes of them, and what could not be found out. Started by a launcher (mpirun -n 4\n"
    "coll-info, srun, torchrun), rank 0 also shows where all ranks run and the levels of groups that libcoll\n"
    "derives from that, and which GPUs of ranks are an island. With --explain it says instead how the library\n"
    "would run calls in such a job.";
constexpr const char* footer =
    "Exit codes: 0 all well; 1 failed (text says why); 2 bad arguments; 3 --check found something.\n"
    "Environment: LIBCOLL_HOST_ID=TEXT  ranks with equal TEXT count as being on one host.\n"
    "             LIBCOLL_TOPOLOGY=FILE  a machine instead of this host's, or what to override of it.\n"
    "             LIBCOLL_LOG=debug     say more on stderr.";

void set_up(CLI::App& app, Options& o) {
  app.footer(footer);
  app.add_flag("--json", o.json, "Print JSON instead of trees");
  auto* xml = app.add_option("--xml", o.xml,
                             "Show the machine of an hwloc XML file (lstopo --of xml) instead of this host");
  auto* load =
      app.add_option("--load", o.load, "Show the machine of a file written by --save instead of this host");
  xml->type_name("FILE")->excludes(load);
  load->type_name("FILE");
  auto* topology_file = app.add_option(
      "--topology-file", o.topology_file,
      "Show the GPUs of a file: islands, bridges, rails. NCCL topology XML, nvidia-smi topo -m, hwloc XML, or JSON of "
      "this tool; --json prints the machines in it");
  topology_file->type_name("FILE")->excludes(xml)->excludes(load);
  auto* hierarchy = app.add_option("--hierarchy", o.hierarchy,
                                   "Show the groups of a file such as LIBCOLL_HIERARCHY names, instead of this host");
  hierarchy->type_name("FILE")->excludes(xml)->excludes(load)->excludes(topology_file);
  app.add_option("--dot", o.dot, "Also draw it to FILE, for Graphviz; - is standard output, instead of the text")
      ->type_name("FILE");
  app.add_option("--svg", o.svg, "Also draw it to FILE, for browsers; - is standard output, instead of the text")
      ->type_name("FILE");
  auto* save = app.add_option("--save", o.save, "Also write the machine as JSON to FILE (rank 0's machine)");
  save->type_name("FILE")->excludes(hierarchy);
  app.add_option("--explain", o.explain,
                 "Say how the library would run a collective with blocks of these sizes: allreduce:8,1M bcast:64K barrier; without "
                 "any, every collective at 8 B, 64 KiB and 4 MiB, and what could not be probed")
      ->type_name("COLLECTIVE:BYTES,...")->expected(0, -1)->excludes(xml)->excludes(load)->excludes(topology_file)->excludes(hierarchy)
      ->excludes("--dot")->excludes("--svg");
  app.add_option("--type", o.type, "Of --explain: " + info::type_names())->capture_default_str()->type_name("TYPE");
  app.add_option("--op", o.op, "Of --explain, for reductions: " + info::op_names())->capture_default_str()->type_name("OP");
  app.add_option("--gpus", o.gpus, "PCI addresses: the i-th rank of a host uses the i-th of these, instead of the i-th GPU of its machine")
      ->type_name("ADDRESS,...")->delimiter(',')->excludes(xml)->excludes(load)->excludes(topology_file)->excludes(hierarchy);
  app.add_flag("--map", o.map, "Show, and draw, which ranks make islands and rails of GPUs, instead of machines; of a topology file, with a rank for each GPU")
      ->excludes(xml)->excludes(load)->excludes(hierarchy);
  app.add_flag("--check", o.check,
               "Exit with 3, and say why, if something could not be probed, a host has more ranks than CPUs, "
               "the ranks' machines differ, or GPUs lack links or NICs")->excludes(hierarchy);
}

// Throws CLI::ValidationError.
void check_output(const Options& o) {
  if (o.dot == "-" && o.svg == "-")
    throw CLI::ValidationError("--dot - and --svg -: standard output holds one picture");
  if (o.draws_to_stdout() && o.json)
    throw CLI::ValidationError("--json: standard output holds the picture already");
}

void write_picture(const std::string& path, const std::string& text) {
  if (path == "-") {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      throw Error(Errc::system, fmt::format("cannot write standard output: {}", std::strerror(errno)));
  } else if (const auto written = topo::write_file(path, text); !written) {
    throw Error(written.error().code, "cannot write " + written.error().text);
  }
}

template <class... What>
void draw(const Options& o, const What&... what) {
  if (!o.dot.empty()) write_picture(o.dot, topo::to_dot(what...));
  if (!o.svg.empty()) write_picture(o.svg, topo::to_svg(what...));
}

std::string base_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

// One machine for each host. Rank 0's stands for all that are like it; what the others are is not known here.
std::vector<topo::Machine> machines_of(const topo::Machine& m, const topo::Fabric& fabric) {
  std::vector<topo::Machine> all;
  for (const topo::Host& h : fabric.hosts) {
    const auto& first = fabric.records[static_cast<std::size_t>(h.ranks.front())];
    if (first.machine_fingerprint == fabric.records.front().machine_fingerprint) {
      all.push_back(m);
    } else {
      topo::Machine& other = all.emplace_back();
      other.nodes.emplace_back();
      other.notes.push_back(fmt::format("host {} is another machine than rank 0's: its parts are not drawn", h.name));
    }
    all.back().host = h.name;
  }
  return all;
}

// What LIBCOLL_TOPOLOGY says; nothing where a file is shown instead of this host.
struct Given {
  std::string path, text;
  bool is_there() const { return !path.empty(); }
  bool wants_devices() const { return is_there() && topo::wants_probed_devices(text); }
};

Given given_topology(const Options& o) {
  const char* path = std::getenv("LIBCOLL_TOPOLOGY");
  if (path == nullptr || *path == '\0' || !o.xml.empty() || !o.load.empty()) return {};
  return {path, value_or_throw(topo::read_file(path, 64u << 20))};
}

void apply(const Given& given, topo::Machine& m) {
  m.host = topo::host_name();
  auto chosen = topo::apply_topology(m, given.text);
  if (!chosen) throw Error(chosen.error().code, fmt::format("LIBCOLL_TOPOLOGY={}: {}", given.path, chosen.error().text));
  m = std::move(*chosen);
  m.host.clear();  // one host needs no name
}

topo::Machine read_machine(const Options& o) {
  if (!o.xml.empty()) return value_or_throw(topo::import_hwloc_xml_file(o.xml));
  if (o.load.empty()) return value_or_throw(topo::probe_host());
  return value_or_throw(topo::machine_from_json(value_or_throw(topo::read_file(o.load, 64u << 20))));
}

// Every rank's record, by rank.
std::vector<topo::RankRecord> gather_records(Bootstrap& job, const topo::Machine& m) {
  const topo::RankRecord mine = topo::local_record(m);
  std::vector<topo::RankRecord> all(static_cast<std::size_t>(job.size()));
  job.allgather(&mine, all.data(), sizeof mine);
  return all;
}

void compare_hashes(Bootstrap& job, std::uint64_t mine, const char* what) {
  std::vector<std::uint64_t> all(static_cast<std::size_t>(job.size()));
  job.allgather(&mine, all.data(), sizeof mine);
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw Error(Errc::internal, fmt::format("ranks 0 and {} {}", rank, what),
                  static_cast<int>(rank));
}

bool is_first_on_host(const topo::Fabric& fabric, int rank) {
  return fabric.hosts[static_cast<std::size_t>(fabric.host_of[static_cast<std::size_t>(rank)])].ranks.front() == rank;
}

std::vector<std::string> findings(const topo::Machine& m, const topo::Fabric* fabric) {
  std::vector<std::string> found = m.notes;
  std::erase_if(found, [](const std::string& note) { return note.starts_with("LIBCOLL_TOPOLOGY"); });  // as told to
  if (m.count(topo::NodeKind::gpu) > 0) {
    const std::vector<topo::Machine> machines{m};
    const topo::Islands islands = topo::find_islands(machines);
    const topo::Rails rails = topo::find_rails(machines, islands);
    for (const auto* reports : {&islands.reports, &rails.reports}) found.insert(found.end(), reports->begin(), reports->end());
  }
  if (fabric == nullptr) return found;
  for (const topo::Host& h : fabric->hosts)
    if (h.oversubscribed)
      found.push_back(
          fmt::format("host {}: {} ranks on {} usable CPUs", h.name, h.ranks.size(), h.usable_cpus));
  for (int rank = 1; rank < fabric->size(); ++rank)
    if (const auto& r = fabric->records[static_cast<std::size_t>(rank)];
        r.machine_fingerprint != fabric->records[0].machine_fingerprint)
      found.push_back(fmt::format("rank {} on host {} sees another machine than rank 0", rank, r.host()));
  return found;
}

// The machine's islands, or how to tell them.
std::string describe_gpus(const topo::Machine& m) {
  if (m.count(topo::NodeKind::gpu) == 0) return fmt::format("no GPUs seen; {}\n", topo::how_to_supply_gpus);
  topo::Machine gpus = m;
  gpus.notes.clear();  // the machine's own description has them
  const std::vector<topo::Machine> machines{std::move(gpus)};
  const topo::Islands islands = topo::find_islands(machines);
  return topo::describe(machines, islands, topo::find_rails(machines, islands));
}

// All that a job, or this host alone, lets us see.
struct Sight {
  topo::Machine machine;
  Given given;
  bool is_alone = true;
  topo::Fabric fabric;  // of a job
  info::JobGpus gpus;
  const topo::Fabric* job() const { return is_alone ? nullptr : &fabric; }
};

// Collective where there is a job.
Sight look(const Options& o, Bootstrap* job) {
  Sight s;
  s.given = given_topology(o);
  s.machine = read_machine(o);
  s.is_alone = job == nullptr || job->size() == 1;
  const bool wants_devices = s.given.wants_devices();
  if (s.given.is_there() && !wants_devices) apply(s.given, s.machine);
  if (!s.is_alone) {
    compare_hashes(*job, topo::Hash().add(s.given.text).value(), "read different texts in LIBCOLL_TOPOLOGY");
    s.fabric = topo::build_fabric(gather_records(*job, s.machine));
    compare_hashes(*job, s.fabric.hash(), "derived different topologies");
  }
  // One rank of each host asks for its devices, after the records, which are about CPUs.
  if (job != nullptr && (s.is_alone || is_first_on_host(s.fabric, job->rank()))) {
    if (!s.given.is_there() || wants_devices) topo::probe_devices(s.machine);
    if (wants_devices) apply(s.given, s.machine);
  }
  if (!s.is_alone) {
    s.gpus = info::gather_gpus(*job, s.machine, s.fabric, o.gpus);
    compare_hashes(*job, s.gpus.fabric.hash(), "derived different islands");
  }
  return s;
}

void print(const Options& o, const Sight& s) {
  if (o.draws_to_stdout()) return;
  if (s.given.is_there() && !o.json) fmt::print("LIBCOLL_TOPOLOGY={} is followed\n", s.given.path);
  if (s.is_alone) {
    if (o.json) fmt::print("{}", topo::to_json(s.machine));
    else fmt::print("{}{}", topo::describe(s.machine), describe_gpus(s.machine));
    return;
  }
  const topo::Hierarchy h = topo::build_hierarchy(s.fabric);
  if (!o.json) {
    fmt::print("{}{}\n{}", topo::describe(s.machine), describe_gpus(s.machine), topo::describe(s.fabric, h));
    if (s.gpus.any()) fmt::print("\n{}", o.map ? topo::to_text(s.gpus.fabric, s.gpus.records) : topo::describe(s.gpus.fabric, s.gpus.records));
    return;
  }
  using nlohmann::ordered_json;
  ordered_json j;
  j["machine"] = ordered_json::parse(topo::to_json(s.machine));
  j["fabric"] = ordered_json::parse(topo::to_json(s.fabric));
  j["hierarchy"] = ordered_json::parse(topo::to_json(h));
  j["gpus"] = ordered_json::parse(topo::to_json(s.gpus.fabric, s.gpus.records));
  fmt::print("{}\n", j.dump(1));
}

void draw_machines(const Options& o, const Sight& seen) {
  if (o.dot.empty() && o.svg.empty()) return;
  const topo::Machine& m = seen.machine;
  const topo::Fabric* fabric = seen.job();
  std::vector<topo::Machine> machines = fabric != nullptr ? machines_of(m, *fabric) : std::vector{m};
  std::vector<std::vector<int>> ranks_of_gpu;
  if (fabric != nullptr) ranks_of_gpu = info::ranks_of_gpus(machines, *fabric, seen.gpus);
  const topo::Islands islands = topo::find_islands(machines);
  const topo::Rails rails = topo::find_rails(machines, islands);
  topo::Hierarchy hierarchy;
  if (fabric != nullptr) hierarchy = topo::build_hierarchy(*fabric);
  const std::string file = o.xml.empty() ? o.load : o.xml;
  const std::string title = !file.empty()                                ? base_name(file)
                            : fabric == nullptr                          ? std::string(topo::local_record(m).host())
                            : fabric->hosts.size() == 1                  ? fabric->hosts[0].name
                                                                         : fmt::format("{} hosts", fabric->hosts.size());
  if (o.map && fabric != nullptr) return draw(o, title, seen.gpus.fabric, seen.gpus.records);
  draw(o, topo::Picture{.title = title,
                        .machines = machines,
                        .islands = islands,
                        .rails = rails,
                        .fabric = fabric,
                        .hierarchy = fabric != nullptr ? &hierarchy : nullptr,
                        .ranks_of_gpu = ranks_of_gpu});
}

int show_file(const Options& o) {
  const std::vector<topo::Machine> machines = value_or_throw(topo::import_topology_file(o.topology_file));
  const topo::Islands islands = topo::find_islands(machines);
  const topo::Rails rails = topo::find_rails(machines, islands);
  const info::JobGpus gpus = o.map ? info::gpus_with_ranks(machines) : info::JobGpus{};
  if (!o.draws_to_stdout())
    fmt::print("{}", o.json ? topo::to_json(machines) : o.map ? topo::to_text(gpus.fabric, gpus.records) : topo::describe(machines, islands, rails));
  if (o.map) draw(o, base_name(o.topology_file), gpus.fabric, gpus.records);
  else draw(o, topo::Picture{.title = base_name(o.topology_file), .machines = machines, .islands = islands, .rails = rails});
  if (!o.save.empty()) value_or_throw(topo::write_file(o.save, topo::to_json(machines)));
  if (!o.check) return all_well;
  for (const auto* reports : {&islands.reports, &rails.reports})
    for (const std::string& text : *reports) fmt::print(stderr, "check: {}\n", text);
  return islands.reports.empty() && rails.reports.empty() ? all_well : check_found;
}

int show_hierarchy(const Options& o) {
  const topo::Hierarchy h = value_or_throw(topo::hierarchy_from_json(value_or_throw(topo::read_file(o.hierarchy, 64u << 20))));
  if (!o.draws_to_stdout()) fmt::print("{}", o.json ? topo::to_json(h) : topo::describe(h));
  draw(o, base_name(o.hierarchy), h);
  return all_well;
}

// Collective. Rank 0 answers.
int explain(const Options& o, const Questions& questions) {
  const std::unique_ptr<Bootstrap> job = bootstrap_from_environment();
  Sight seen;
  if (questions.all.empty()) seen = look(o, job.get());
  Comm comm = Comm::from_bootstrap(*job);
  int code = all_well;
  try {
    if (comm.rank() == 0 && !questions.all.empty()) {
      fmt::print("{}", info::explain(comm, questions));
    } else if (comm.rank() == 0) {
      const bool has_virtual = std::filesystem::exists(topo::virtual_topology);
      fmt::print("{}\n{}", info::explain_all(comm, questions.type, questions.op), topo::describe(topo::missing_of(seen.machine, seen.job(), has_virtual)));
    }
  } catch (const Error& e) {
    fmt::print(stderr, "coll-info: {}\n", e.what());
    code = bad_usage;
  }
  comm.close();
  return code;
}

int run(const Options& o, const Questions& questions) {
  if (o.explains) return explain(o, questions);
  if (!o.topology_file.empty()) return show_file(o);
  if (!o.hierarchy.empty()) return show_hierarchy(o);
  std::unique_ptr<Bootstrap> job;
  if (o.xml.empty() && o.load.empty()) job = bootstrap_from_environment();
  const Sight seen = look(o, job.get());
  std::vector<std::string> found = findings(seen.machine, seen.job());
  if (!seen.is_alone && seen.gpus.any()) found.insert(found.end(), seen.gpus.fabric.reports.begin(), seen.gpus.fabric.reports.end());
  const int code = o.check && !found.empty() ? check_found : all_well;
  if (!seen.is_alone && job->rank() != 0) return code;
  print(o, seen);
  draw_machines(o, seen);
  if (!o.save.empty()) value_or_throw(topo::write_file(o.save, topo::to_json(seen.machine)));
  if (o.check)
    for (const std::string& f : found) fmt::print(stderr, "check: {}\n", f);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  Questions questions;
  CLI::App app(description, "coll-info");
  set_up(app, options);
  try {
    app.parse(argc, argv);
    options.explains = app.count("--explain") > 0;
    std::erase(options.explain, "");  // what stands for none
    questions = info::read_questions(options.explain, options.type, options.op);
    check_output(options);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? all_well : bad_usage;
  }
  try {
    return run(options, questions);
  } catch (const std::exception& e) {
    fmt::print(stderr, "coll-info: {}\n", e.what());
    return failed;
  }
}
