// coll-info: what libcoll sees. Alone it shows this host (or a saved one); started by a launcher,
// where every rank runs and which groups follow from that.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libcoll/bootstrap.hpp"
#include "topology/describe.hpp"
#include "topology/fabric.hpp"
#include "topology/files.hpp"
#include "topology/hierarchy.hpp"
#include "topology/probe_hwloc.hpp"

namespace {

using namespace libcoll;
using detail::value_or_throw;

enum ExitCode { all_well = 0, failed = 1, bad_usage = 2, check_found = 3 };

struct Options {
  std::string xml, load, save;
  bool json = false, check = false;
};

constexpr const char* description =
    "Shows the machine as libcoll sees it: packages, NUMA nodes, caches, cores, and what could not be\n"
    "found out. Started by a launcher (mpirun -n 4 coll-info, srun, torchrun), rank 0 also shows where\n"
    "all ranks run and the levels of groups that libcoll derives from that.";
constexpr const char* footer =
    "Exit codes: 0 all well; 1 failed (text says why); 2 bad arguments; 3 --check found something.\n"
    "Environment: LIBCOLL_HOST_ID=TEXT  ranks with equal TEXT count as being on one host.\n"
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
  app.add_option("--save", o.save, "Also write the machine as JSON to FILE (rank 0's machine)")
      ->type_name("FILE");
  app.add_flag("--check", o.check,
               "Exit with 3, and say why, if something could not be probed, a host has more ranks than CPUs, "
               "or the ranks' machines differ");
}

std::unique_ptr<Bootstrap> meet() {
  return bootstrap_from_environment();
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

void compare_hashes(Bootstrap& job, std::uint64_t mine) {
  std::vector<std::uint64_t> all(static_cast<std::size_t>(job.size()));
  job.allgather(&mine, all.data(), sizeof mine);
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw Error(Errc::internal, fmt::format("ranks 0 and {} derived different topologies", rank),
                  static_cast<int>(rank));
}

std::vector<std::string> findings(const topo::Machine& m, const topo::Fabric* fabric) {
  std::vector<std::string> found = m.notes;
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

void print(const Options& o, const topo::Machine& m, const topo::Fabric* fabric) {
  if (fabric == nullptr) {
    fmt::print("{}", o.json ? topo::to_json(m) : topo::describe(m));
    return;
  }
  const topo::Hierarchy h = topo::build_hierarchy(*fabric);
  if (!o.json) {
    fmt::print("{}\n{}", topo::describe(m), topo::describe(*fabric, h));
    return;
  }
  using nlohmann::ordered_json;
  ordered_json j;
  j["machine"] = ordered_json::parse(topo::to_json(m));
  j["fabric"] = ordered_json::parse(topo::to_json(*fabric));
  j["hierarchy"] = ordered_json::parse(topo::to_json(h));
  fmt::print("{}\n", j.dump(1));
}

int run(const Options& o) {
  const topo::Machine m = read_machine(o);
  std::unique_ptr<Bootstrap> job;
  if (o.xml.empty() && o.load.empty()) job = meet();
  const bool is_alone = !job || job->size() == 1;
  topo::Fabric fabric;
  if (!is_alone) {
    fabric = topo::build_fabric(gather_records(*job, m));
    compare_hashes(*job, fabric.hash());
  }
  const std::vector<std::string> found = findings(m, is_alone ? nullptr : &fabric);
  const int code = o.check && !found.empty() ? check_found : all_well;
  if (!is_alone && job->rank() != 0) return code;
  print(o, m, is_alone ? nullptr : &fabric);
  if (!o.save.empty()) value_or_throw(topo::write_file(o.save, topo::to_json(m)));
  if (o.check)
    for (const std::string& f : found) fmt::print(stderr, "check: {}\n", f);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(description, "coll-info");
  set_up(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? all_well : bad_usage;
  }
  try {
    return run(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "coll-info: {}\n", e.what());
    return failed;
  }
}
