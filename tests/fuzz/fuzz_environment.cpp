// The environment of a hostile or broken launcher: one variable a line, its index in the table first.
#include <cstdlib>
#include <map>
#include <string_view>

#include "libcoll/bootstrap/environment.hpp"

using namespace libcoll::detail;

namespace {

constexpr const char* names[] = {"LIBCOLL_RANK",
                                 "LIBCOLL_SIZE",
                                 "LIBCOLL_ROOT",
                                 "LIBCOLL_SECRET",
                                 "LIBCOLL_TIMEOUT",
                                 "LIBCOLL_PORT_OFFSET",
                                 "RANK",
                                 "WORLD_SIZE",
                                 "LOCAL_WORLD_SIZE",
                                 "MASTER_ADDR",
                                 "MASTER_PORT",
                                 "OMPI_COMM_WORLD_RANK",
                                 "OMPI_COMM_WORLD_SIZE",
                                 "OMPI_COMM_WORLD_LOCAL_SIZE",
                                 "OMPI_MCA_orte_hnp_uri",
                                 "OMPI_MCA_orte_precondition_transports",
                                 "PMIX_NAMESPACE",
                                 "PMI_RANK",
                                 "PMI_SIZE",
                                 "MPI_LOCALNRANKS",
                                 "SLURM_PROCID",
                                 "SLURM_NTASKS",
                                 "SLURM_STEP_ID",
                                 "SLURM_JOB_ID",
                                 "SLURM_STEP_NUM_NODES",
                                 "SLURM_STEP_NODELIST"};

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const JobInfo& job) {
  require(job.rank >= 0 && job.rank < job.size);
  require(job.timeout.count() > 0);
  const MeetingPoint& m = job.meeting;
  require((m.kind == MeetingPoint::Kind::nowhere) == (job.size == 1));
  if (m.kind == MeetingPoint::Kind::unix_socket) require(m.process_tree_key || !m.unix_key.empty());
  if (m.kind != MeetingPoint::Kind::tcp) return;
  require(!job.secret.empty());  // TCP without a secret must not happen, whatever the variables say
  require(!m.hosts.empty() && m.port >= 1 && m.ports >= 1 && m.port + m.ports - 1 <= 65535);
  for (const std::string& host : m.hosts) require(!host.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::map<std::string, std::string> vars;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.empty()) continue;
    vars[names[static_cast<unsigned char>(line.front() - 'a') % std::size(names)]] = line.substr(1);
  }
  const auto job = detect_job([&](const std::string& name) -> std::optional<std::string> {
    const auto it = vars.find(name);
    return it == vars.end() ? std::nullopt : std::optional(it->second);
  });
  if (job)
    check(*job);
  else
    require(job.error().text.size() < 2000);
  return 0;
}
