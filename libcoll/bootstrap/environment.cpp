#include "libcoll/bootstrap/environment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "libcoll/bootstrap/keys.hpp"

namespace libcoll::detail {
namespace {

constexpr long max_ranks = 1 << 24;
constexpr int port_candidates = 8;
// Below the range that kernels hand out to clients (from 32768).
constexpr int derived_port_base = 20'000, derived_port_count = 10'000;
// Slurm numbers special steps (batch script, interactive shell, external) from the top.
constexpr long first_special_step = 4'294'967'200;

constexpr const char* set_root = "set LIBCOLL_ROOT=host:port to an address of rank 0's host on all ranks";
constexpr const char* set_secret =
    "set LIBCOLL_SECRET to the same random text on all ranks (openssl rand -hex 32)";

std::uint16_t derived_port(const std::string& job_id) {
  return static_cast<std::uint16_t>(derived_port_base + public_hash(job_id) % derived_port_count);
}

tl::unexpected<Failure> missing(const std::string& have, const std::string& lacks) {
  return failure(Errc::bootstrap, fmt::format("{} is set but {} is not", have, lacks));
}

// Rank and size by these two names; false if neither is set.
Result<bool> read_place(const EnvLookup& env, const std::string& rank_name, const std::string& size_name,
                        JobInfo& job) {
  auto size = env_integer(env, size_name, 1, max_ranks);
  if (!size) return tl::make_unexpected(size.error());
  auto rank = env_integer(env, rank_name, 0, max_ranks - 1);
  if (!rank) return tl::make_unexpected(rank.error());
  if (!*rank && !*size) return false;
  if (!*rank) return missing(size_name, rank_name);
  if (!*size) return missing(rank_name, size_name);
  if (**rank >= **size) {
    return bad_variable(rank_name, *env_text(env, rank_name),
                        fmt::format("must be less than {}={}", size_name, **size));
  }
  job.rank = static_cast<int>(**rank);
  job.size = static_cast<int>(**size);
  return true;
}

Result<void> read_local_size(const EnvLookup& env, const std::string& name, JobInfo& job) {
  auto local = env_integer(env, name, 1, job.size);
  if (!local) return tl::make_unexpected(local.error());
  if (*local) job.local_size = static_cast<int>(**local);
  return {};
}

bool on_one_host(const JobInfo& job) { return job.local_size == job.size; }

Result<bool> from_torchrun(const EnvLookup& env, JobInfo& job) {
  auto found = read_place(env, "RANK", "WORLD_SIZE", job);
  if (!found || !*found) return found;
  job.launcher = "torchrun";
  if (auto r = read_local_size(env, "LOCAL_WORLD_SIZE", job); !r) return tl::make_unexpected(r.error());
  auto port = env_integer(env, "MASTER_PORT", 1, 65535);
  if (!port) return tl::make_unexpected(port.error());
  auto offset = env_integer(env, "LIBCOLL_PORT_OFFSET", 0, 65535);
  if (!offset) return tl::make_unexpected(offset.error());
  const auto host = env_text(env, "MASTER_ADDR");
  // A restart of the workers must not meet stragglers of the run before.
  job.job_id = fmt::format("torchrun/{}/{}/{}", env_text(env, "TORCHELASTIC_RUN_ID").value_or(""),
                           port->value_or(0), env_text(env, "TORCHELASTIC_RESTART_COUNT").value_or("0"));
  if (job.size == 1 || env_text(env, "LIBCOLL_ROOT")) return true;
  if (!host) return missing("RANK", "MASTER_ADDR");
  if (!*port) return missing("MASTER_ADDR", "MASTER_PORT");
  // Validates a name or address, brackets or not.
  const bool bare_ipv6 = host->find(':') != std::string::npos && host->front() != '[';
  auto parsed =
      parse_host_port("MASTER_ADDR", fmt::format(fmt::runtime(bare_ipv6 ? "[{}]:1" : "{}:1"), *host));
  if (!parsed) return bad_variable("MASTER_ADDR", *host, "not a host name or address");
  long first = **port + offset->value_or(1);
  if (first + port_candidates - 1 > 65535)
    first -= 10'000;  // near the top: stay in range, on all ranks alike
  if (first < 1)
    return bad_variable("LIBCOLL_PORT_OFFSET", std::to_string(offset->value_or(1)), "leads to no valid port");
  if (first + port_candidates - 1 > 65535) {
    return bad_variable("LIBCOLL_PORT_OFFSET", std::to_string(offset->value_or(1)), "leads to no valid port");
  }
  job.meeting.hosts = {parsed->host};
  job.meeting.port = static_cast<std::uint16_t>(first);
  job.meeting.ports = port_candidates;
  return true;
}

Result<bool> from_open_mpi(const EnvLookup& env, JobInfo& job) {
  auto found = read_place(env, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", job);
  if (!found || !*found) return found;
  job.launcher = "openmpi";
  if (auto r = read_local_size(env, "OMPI_COMM_WORLD_LOCAL_SIZE", job); !r)
    return tl::make_unexpected(r.error());
  auto name_space = env_text(env, "PMIX_NAMESPACE");
  if (!name_space) name_space = env_text(env, "OMPI_MCA_ess_base_jobid");
  // 128 random bits per mpirun, handed to its ranks only: a secret that needs no user.
  const auto random = env_text(env, "OMPI_MCA_orte_precondition_transports");
  if (random && random->size() >= 33 && job.secret.empty()) job.secret = *random;
  if (name_space || random)
    job.job_id = fmt::format("openmpi/{}/{}", name_space.value_or(""), random.value_or(""));
  if (on_one_host(job) || job.size == 1 || env_text(env, "LIBCOLL_ROOT")) return true;
  const auto uri = env_text(env, "OMPI_MCA_orte_hnp_uri");
  if (!uri || job.job_id.empty()) {
    return failure(
        Errc::bootstrap,
        fmt::format("Open MPI runs {} ranks on several hosts and does not tell where rank 0 is: {} "
                    "(mpirun -x LIBCOLL_ROOT=...)",
                    job.size, set_root));
  }
  auto hosts = parse_hnp_hosts("OMPI_MCA_orte_hnp_uri", *uri);
  if (!hosts) return tl::make_unexpected(hosts.error());
  job.meeting.hosts = *hosts;
  job.meeting.port = derived_port(job.job_id);
  job.meeting.ports = port_candidates;
  job.meeting.root_may_be_elsewhere = true;
  return true;
}

Result<bool> from_hydra(const EnvLookup& env, JobInfo& job) {
  // srun --mpi=pmi2 sets PMI_RANK too; Hydra under Slurm sets MPI_LOCALNRANKS in addition.
  if (!env_text(env, "MPI_LOCALNRANKS") && env_text(env, "SLURM_STEP_ID")) return false;
  auto found = read_place(env, "PMI_RANK", "PMI_SIZE", job);
  if (!found || !*found) return found;
  job.launcher = "hydra";
  if (auto r = read_local_size(env, "MPI_LOCALNRANKS", job); !r) return tl::make_unexpected(r.error());
  if (on_one_host(job) || job.size == 1 || env_text(env, "LIBCOLL_ROOT")) return true;
  return failure(
      Errc::bootstrap,
      fmt::format(
          "mpiexec (Hydra) runs {} ranks, not all on this host, and does not tell where rank 0 is: {} "
          "(mpiexec -genv LIBCOLL_ROOT ...)",
          job.size, set_root));
}

// The first of these that is set.
std::string first_set(const EnvLookup& env, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (env_text(env, name)) return name;
  }
  return *names.begin();
}

Result<bool> from_slurm(const EnvLookup& env, JobInfo& job) {
  auto step = env_integer(env, "SLURM_STEP_ID", 0, std::numeric_limits<std::uint32_t>::max());
  if (!step) return tl::make_unexpected(step.error());
  // A batch script carries SLURM_PROCID=0 and the job's SLURM_NTASKS, but is one process.
  if (!*step || **step >= first_special_step) return false;
  const std::string size_name = first_set(env, {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"});
  auto found = read_place(env, "SLURM_PROCID", size_name, job);
  if (!found || !*found) return found;
  job.launcher = "slurm";
  const auto job_number = env_text(env, "SLURM_JOB_ID");
  if (!job_number) return missing("SLURM_STEP_ID", "SLURM_JOB_ID");
  job.job_id = fmt::format("slurm/{}/{}", *job_number, **step);
  const std::string nodes_name =
      first_set(env, {"SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"});
  auto nodes = env_integer(env, nodes_name, 1, max_ranks);
  if (!nodes) return tl::make_unexpected(nodes.error());
  if (*nodes == 1L) job.local_size = job.size;
  if (on_one_host(job) || job.size == 1 || env_text(env, "LIBCOLL_ROOT")) return true;
  const std::string list_name =
      first_set(env, {"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"});
  const auto list = env_text(env, list_name);
  if (!list) return missing("SLURM_PROCID", "SLURM_STEP_NODELIST");
  auto host = parse_first_host(list_name, *list);
  if (!host) return tl::make_unexpected(host.error());
  if (const auto here = env_text(env, "SLURMD_NODENAME"); job.rank == 0 && here && *here != *host) {
    return failure(Errc::bootstrap, fmt::format("rank 0 runs on {}, not on {}, the first of {}: {}", *here,
                                                *host, list_name, set_root));
  }
  job.meeting.hosts = {*host};
  job.meeting.port = derived_port(job.job_id);
  job.meeting.ports = port_candidates;
  return true;
}

Result<void> find_place(const EnvLookup& env, JobInfo& job) {
  auto found = read_place(env, "LIBCOLL_RANK", "LIBCOLL_SIZE", job);
  if (!found) return tl::make_unexpected(found.error());
  if (*found) {
    job.launcher = "libcoll";
    if (job.size > 1 && !env_text(env, "LIBCOLL_ROOT")) return missing("LIBCOLL_RANK", "LIBCOLL_ROOT");
    return {};
  }
  for (const auto detect : {from_torchrun, from_open_mpi, from_hydra, from_slurm}) {
    found = detect(env, job);
    if (!found) return tl::make_unexpected(found.error());
    if (*found) return {};
  }
  if (env_text(env, "LIBCOLL_ROOT"))
    return missing("LIBCOLL_ROOT", "LIBCOLL_RANK or a launcher's equivalent");
  if (env_text(env, "PMIX_RANK") && env_text(env, "PMIX_NAMESPACE") && !env_text(env, "SLURM_STEP_ID")) {
    return failure(Errc::bootstrap,
                   "a PMIx launcher tells the rank but not the number of ranks: set LIBCOLL_RANK, "
                   "LIBCOLL_SIZE and LIBCOLL_ROOT");
  }
  return {};
}

Result<void> apply_root(const EnvLookup& env, JobInfo& job) {
  const auto root = env_text(env, "LIBCOLL_ROOT");
  if (!root) return {};
  MeetingPoint& m = job.meeting;
  if (root->starts_with("unix:")) {
    if (root->size() == 5) return bad_variable("LIBCOLL_ROOT", *root, "no name after unix:");
    m = {.kind = MeetingPoint::Kind::unix_socket, .unix_key = *root, .process_tree_key = false, .hosts = {}};
    return {};
  }
  auto parsed = parse_host_port("LIBCOLL_ROOT", *root);
  if (!parsed) return tl::make_unexpected(parsed.error());
  m = {};
  m.hosts = {parsed->host};
  m.port = parsed->port;
  return {};
}

// Where to meet, once rank, size, addresses and secret are known.
Result<void> choose_meeting(const EnvLookup& env, JobInfo& job) {
  MeetingPoint& m = job.meeting;
  if (job.size == 1) {
    m = {};
    return {};
  }
  if (m.kind == MeetingPoint::Kind::unix_socket) return {};
  const bool by_hand = env_text(env, "LIBCOLL_ROOT").has_value();
  if (on_one_host(job) && !by_hand) {
    m = {};
    m.kind = MeetingPoint::Kind::unix_socket;
    m.unix_key = job.job_id;
    m.process_tree_key = job.job_id.empty();
    return {};
  }
  m.kind = MeetingPoint::Kind::tcp;
  m.loopback_only = std::all_of(m.hosts.begin(), m.hosts.end(), is_loopback_name);
  if (!job.secret.empty()) return {};
  // Without a secret only the kernel can vouch for a peer, and it does for UNIX sockets. Loopback means
  // one host, whichever way its address is spelt.
  if (m.loopback_only || on_one_host(job)) {
    const std::string key = fmt::format("port/{}/{}", m.port, job.job_id);
    m = {};
    m.kind = MeetingPoint::Kind::unix_socket;
    m.unix_key = key;
    return {};
  }
  return failure(Errc::bootstrap, fmt::format("{} ranks on several hosts need a secret to meet at {}: {}",
                                              job.size, m.hosts.front(), set_secret));
}

}  // namespace

Result<JobInfo> detect_job(const EnvLookup& env) {
  JobInfo job;
  auto timeout = env_seconds(env, "LIBCOLL_TIMEOUT");
  if (!timeout) return tl::make_unexpected(timeout.error());
  if (*timeout) job.timeout = **timeout;
  if (const auto secret = env("LIBCOLL_SECRET")) {
    // Taking this for "no secret" would quietly do without the one that the user meant to set.
    if (secret->empty())
      return failure(Errc::bootstrap, fmt::format("LIBCOLL_SECRET is set but empty: {}", set_secret));
    job.secret = *secret;
  }
  if (auto r = find_place(env, job); !r) return tl::make_unexpected(r.error());
  if (auto r = apply_root(env, job); !r) return tl::make_unexpected(r.error());
  if (auto r = choose_meeting(env, job); !r) return tl::make_unexpected(r.error());
  return job;
}

}  // namespace libcoll::detail
