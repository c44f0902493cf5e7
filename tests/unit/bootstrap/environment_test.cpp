#include "libcoll/bootstrap/environment.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace libcoll::detail {
namespace {

using Vars = std::map<std::string, std::string>;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = MeetingPoint::Kind;

Result<JobInfo> detect(const Vars& vars) {
  return detect_job([&](const std::string& name) -> std::optional<std::string> {
    const auto it = vars.find(name);
    return it == vars.end() ? std::nullopt : std::optional(it->second);
  });
}

Vars operator+(Vars a, const Vars& b) {
  for (const auto& [name, value] : b) a[name] = value;
  return a;
}

// As Debian's Open MPI 4.1.4 sets them.
Vars open_mpi(int rank, int size, int local) {
  return {{"OMPI_COMM_WORLD_RANK", std::to_string(rank)},
          {"OMPI_COMM_WORLD_SIZE", std::to_string(size)},
          {"OMPI_COMM_WORLD_LOCAL_SIZE", std::to_string(local)},
          {"PMIX_NAMESPACE", "2016608257"},
          {"PMIX_RANK", std::to_string(rank)},
          {"OMPI_MCA_ess_base_jobid", "2016608257"},
          {"OMPI_MCA_orte_precondition_transports", "ae47c1f8210edde0-b2265f42aafe42ae"},
          {"OMPI_MCA_orte_hnp_uri",
           "2016608256.0;tcp://127.0.0.1,192.0.2.2,10.0.0.9:37193;tcp6://[fd00::2]:42157"}};
}
Vars slurm(int rank, int nodes) {
  return {{"SLURM_PROCID", std::to_string(rank)},
          {"SLURM_NTASKS", "8"},
          {"SLURM_JOB_ID", "4711"},
          {"SLURM_STEP_ID", "0"},
          {"SLURM_STEP_NUM_NODES", std::to_string(nodes)},
          {"SLURM_STEP_NODELIST", "node[03-05,9],gpu1"}};
}
Vars torchrun(int rank, int size, int local) {
  return {{"RANK", std::to_string(rank)},
          {"WORLD_SIZE", std::to_string(size)},
          {"LOCAL_WORLD_SIZE", std::to_string(local)},
          {"MASTER_ADDR", "head.cluster"},
          {"MASTER_PORT", "29500"},
          {"TORCHELASTIC_RUN_ID", "run1"},
          {"TORCHELASTIC_RESTART_COUNT", "0"}};
}

TEST(Environment, NothingIsAJobOfOne) {
  const auto job = detect({}).value();
  EXPECT_EQ(job.rank, 0);
  EXPECT_EQ(job.size, 1);
  EXPECT_EQ(job.launcher, "none");
  EXPECT_EQ(job.meeting.kind, Kind::nowhere);
  EXPECT_EQ(job.timeout, std::chrono::seconds(120));
}

TEST(Environment, ByHandOverTcp) {
  const auto job = detect({{"LIBCOLL_RANK", "1"},
                           {"LIBCOLL_SIZE", "3"},
                           {"LIBCOLL_ROOT", "[fd00::2]:5000"},
                           {"LIBCOLL_SECRET", "s"},
                           {"LIBCOLL_TIMEOUT", "2.5"}})
                       .value();
  EXPECT_EQ(job.rank, 1);
  EXPECT_EQ(job.size, 3);
  EXPECT_EQ(job.secret, "s");
  EXPECT_EQ(job.timeout, std::chrono::milliseconds(2500));
  EXPECT_EQ(job.meeting.kind, Kind::tcp);
  EXPECT_THAT(job.meeting.hosts, ElementsAre("fd00::2"));
  EXPECT_EQ(job.meeting.port, 5000);
  EXPECT_EQ(job.meeting.ports, 1);
  EXPECT_FALSE(job.meeting.loopback_only);
}

TEST(Environment, LoopbackWithoutASecretIsAUnixSocketForAllSpellings) {
  const Vars base{{"LIBCOLL_RANK", "0"}, {"LIBCOLL_SIZE", "2"}};
  const auto a = detect(base + Vars{{"LIBCOLL_ROOT", "127.0.0.1:5000"}}).value().meeting;
  const auto b = detect(base + Vars{{"LIBCOLL_ROOT", "localhost:5000"}}).value().meeting;
  const auto c = detect(base + Vars{{"LIBCOLL_ROOT", "[::1]:5001"}}).value().meeting;
  EXPECT_EQ(a.kind, Kind::unix_socket);
  EXPECT_EQ(a.unix_key, b.unix_key);
  EXPECT_EQ(c.kind, Kind::unix_socket);
  EXPECT_NE(a.unix_key, c.unix_key);
  const auto with_secret =
      detect(base + Vars{{"LIBCOLL_ROOT", "127.0.0.1:5000"}, {"LIBCOLL_SECRET", "s"}}).value().meeting;
  EXPECT_EQ(with_secret.kind, Kind::tcp);
  EXPECT_TRUE(with_secret.loopback_only);
  const auto named = detect(base + Vars{{"LIBCOLL_ROOT", "unix:mine"}}).value().meeting;
  EXPECT_EQ(named.kind, Kind::unix_socket);
  EXPECT_EQ(named.unix_key, "unix:mine");
}

TEST(Environment, OtherHostsNeedASecret) {
  const auto job = detect({{"LIBCOLL_RANK", "0"}, {"LIBCOLL_SIZE", "2"}, {"LIBCOLL_ROOT", "192.0.2.2:5000"}});
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, Errc::bootstrap);
  EXPECT_THAT(job.error().text, HasSubstr("LIBCOLL_SECRET"));
}

TEST(Environment, OpenMpiOnOneHost) {
  const auto job = detect(open_mpi(1, 2, 2)).value();
  EXPECT_EQ(job.launcher, "openmpi");
  EXPECT_EQ(job.rank, 1);
  EXPECT_EQ(job.local_size, 2);
  EXPECT_EQ(job.meeting.kind, Kind::unix_socket);
  EXPECT_FALSE(job.meeting.process_tree_key);
  EXPECT_EQ(job.meeting.unix_key, detect(open_mpi(0, 2, 2)).value().meeting.unix_key);
  EXPECT_NE(job.meeting.unix_key,
            detect(open_mpi(0, 2, 2) + Vars{{"PMIX_NAMESPACE", "7"}}).value().meeting.unix_key);
}

TEST(Environment, OpenMpiOnSeveralHosts) {
  const auto job = detect(open_mpi(3, 4, 2)).value();
  EXPECT_EQ(job.meeting.kind, Kind::tcp);
  EXPECT_THAT(job.meeting.hosts, ElementsAre("192.0.2.2", "10.0.0.9", "fd00::2"));
  EXPECT_TRUE(job.meeting.root_may_be_elsewhere);
  EXPECT_EQ(job.secret, "ae47c1f8210edde0-b2265f42aafe42ae");
  EXPECT_GE(job.meeting.port, 20'000);
  EXPECT_LT(job.meeting.port + job.meeting.ports, 32'768);
  EXPECT_EQ(job.meeting.port, detect(open_mpi(0, 4, 2)).value().meeting.port);

  Vars no_uri = open_mpi(3, 4, 2);
  no_uri.erase("OMPI_MCA_orte_hnp_uri");
  EXPECT_THAT(detect(no_uri).error().text, HasSubstr("LIBCOLL_ROOT"));
  Vars no_secret = open_mpi(3, 4, 2);
  no_secret.erase("OMPI_MCA_orte_precondition_transports");
  EXPECT_THAT(detect(no_secret).error().text, HasSubstr("LIBCOLL_SECRET"));
}

TEST(Environment, RootOverridesTheLaunchersPlaceButNotItsRank) {
  const auto job = detect(open_mpi(3, 4, 2) + Vars{{"LIBCOLL_ROOT", "node7:1234"}}).value();
  EXPECT_EQ(job.rank, 3);
  EXPECT_EQ(job.launcher, "openmpi");
  EXPECT_THAT(job.meeting.hosts, ElementsAre("node7"));
  EXPECT_EQ(job.meeting.port, 1234);
}

TEST(Environment, Hydra) {
  const Vars vars{{"PMI_RANK", "1"},
                  {"PMI_SIZE", "2"},
                  {"MPI_LOCALNRANKS", "2"},
                  {"PMI_FD", "8"},
                  {"HYDI_CONTROL_FD", "7"}};
  const auto job = detect(vars).value();
  EXPECT_EQ(job.launcher, "hydra");
  EXPECT_EQ(job.rank, 1);
  EXPECT_EQ(job.meeting.kind, Kind::unix_socket);
  EXPECT_TRUE(job.meeting.process_tree_key);
  EXPECT_THAT(detect(vars + Vars{{"PMI_SIZE", "4"}}).error().text, HasSubstr("LIBCOLL_ROOT"));
  // Hydra inside a Slurm step: its own variables are the closer ones.
  EXPECT_EQ(detect(slurm(5, 2) + vars).value().launcher, "hydra");
}

TEST(Environment, Slurm) {
  const auto one_node = detect(slurm(5, 1)).value();
  EXPECT_EQ(one_node.launcher, "slurm");
  EXPECT_EQ(one_node.rank, 5);
  EXPECT_EQ(one_node.size, 8);
  EXPECT_EQ(one_node.meeting.kind, Kind::unix_socket);
  EXPECT_THAT(detect(slurm(5, 3)).error().text, HasSubstr("LIBCOLL_SECRET"));
  const auto nodes = detect(slurm(5, 3) + Vars{{"LIBCOLL_SECRET", "s"}}).value();
  EXPECT_EQ(nodes.meeting.kind, Kind::tcp);
  EXPECT_THAT(nodes.meeting.hosts, ElementsAre("node03"));
  EXPECT_FALSE(nodes.meeting.loopback_only);
  const auto elsewhere = detect(slurm(0, 3) + Vars{{"LIBCOLL_SECRET", "s"}, {"SLURMD_NODENAME", "node04"}});
  EXPECT_THAT(elsewhere.error().text, HasSubstr("LIBCOLL_ROOT"));
  // srun --mpi=pmi2 adds these; it is Slurm nevertheless.
  EXPECT_EQ(detect(slurm(5, 1) + Vars{{"PMI_RANK", "5"}, {"PMI_SIZE", "8"}}).value().launcher, "slurm");
  EXPECT_EQ(detect(slurm(5, 1) + Vars{{"SLURM_STEP_NUM_TASKS", "6"}}).value().size, 6);
}

TEST(Environment, SlurmBatchScriptIsAJobOfOne) {
  Vars batch = slurm(0, 3);
  batch.erase("SLURM_STEP_ID");
  EXPECT_EQ(detect(batch).value().size, 1);
  EXPECT_EQ(detect(slurm(0, 3) + Vars{{"SLURM_STEP_ID", "4294967291"}}).value().size, 1);
}

TEST(Environment, Torchrun) {
  const auto one_host = detect(torchrun(1, 2, 2)).value();
  EXPECT_EQ(one_host.launcher, "torchrun");
  EXPECT_EQ(one_host.meeting.kind, Kind::unix_socket);
  EXPECT_NE(one_host.meeting.unix_key,
            detect(torchrun(1, 2, 2) + Vars{{"TORCHELASTIC_RESTART_COUNT", "1"}}).value().meeting.unix_key);
  EXPECT_THAT(detect(torchrun(1, 4, 2)).error().text, HasSubstr("LIBCOLL_SECRET"));
  const Vars secret{{"LIBCOLL_SECRET", "s"}};
  const auto hosts = detect(torchrun(1, 4, 2) + secret).value();
  EXPECT_EQ(hosts.meeting.kind, Kind::tcp);
  EXPECT_THAT(hosts.meeting.hosts, ElementsAre("head.cluster"));
  EXPECT_EQ(hosts.meeting.port, 29501);  // 29500 is the TCPStore's
  EXPECT_EQ(detect(torchrun(1, 4, 2) + secret + Vars{{"LIBCOLL_PORT_OFFSET", "100"}}).value().meeting.port,
            29600);
  const auto top = detect(torchrun(1, 4, 2) + secret + Vars{{"MASTER_PORT", "65535"}}).value();
  EXPECT_LE(top.meeting.port + top.meeting.ports - 1, 65535);
  EXPECT_THAT(detect(torchrun(1, 4, 2) + secret + Vars{{"MASTER_ADDR", "fd00::2"}}).value().meeting.hosts,
              ElementsAre("fd00::2"));
}

TEST(Environment, Precedence) {
  const Vars hand{{"LIBCOLL_RANK", "0"}, {"LIBCOLL_SIZE", "1"}};
  EXPECT_EQ(detect(slurm(5, 1) + open_mpi(1, 2, 2)).value().launcher, "openmpi");
  EXPECT_EQ(detect(slurm(5, 1) + open_mpi(1, 2, 2) + torchrun(0, 2, 2)).value().launcher, "torchrun");
  EXPECT_EQ(detect(slurm(5, 1) + open_mpi(1, 2, 2) + torchrun(0, 2, 2) + hand).value().launcher, "libcoll");
}

struct Malformed {
  Vars vars;
  std::vector<std::string> named;  // the text says all of these
};

TEST(Environment, MalformedVariablesAreNamedWithTheirValue) {
  const Vars hand{{"LIBCOLL_RANK", "0"}, {"LIBCOLL_SIZE", "2"}, {"LIBCOLL_ROOT", "127.0.0.1:5000"}};
  const Vars step_secret{{"LIBCOLL_SECRET", "s"}};
  const std::vector<Malformed> table{
      {{{"RANK", "1"}}, {"RANK", "WORLD_SIZE"}},
      {{{"WORLD_SIZE", "2"}}, {"RANK", "WORLD_SIZE"}},
      {{{"LIBCOLL_RANK", "1"}}, {"LIBCOLL_RANK", "LIBCOLL_SIZE"}},
      {{{"LIBCOLL_RANK", "1"}, {"LIBCOLL_SIZE", "2"}}, {"LIBCOLL_ROOT"}},
      {{{"LIBCOLL_ROOT", "127.0.0.1:5000"}}, {"LIBCOLL_ROOT", "LIBCOLL_RANK"}},
      {{{"OMPI_COMM_WORLD_SIZE", "2"}}, {"OMPI_COMM_WORLD_RANK"}},
      {{{"PMI_RANK", "2"}}, {"PMI_SIZE"}},
      {{{"PMIX_RANK", "2"}, {"PMIX_NAMESPACE", "x"}}, {"LIBCOLL_SIZE"}},
      {hand + Vars{{"LIBCOLL_RANK", "2"}}, {"LIBCOLL_RANK", "\"2\"", "LIBCOLL_SIZE"}},
      {hand + Vars{{"LIBCOLL_RANK", "-1"}}, {"LIBCOLL_RANK", "\"-1\""}},
      {hand + Vars{{"LIBCOLL_RANK", "one"}}, {"LIBCOLL_RANK", "\"one\""}},
      {hand + Vars{{"LIBCOLL_RANK", "1x"}}, {"LIBCOLL_RANK", "\"1x\""}},
      {hand + Vars{{"LIBCOLL_RANK", " 1"}}, {"LIBCOLL_RANK", "\" 1\""}},
      {hand + Vars{{"LIBCOLL_SIZE", "0"}}, {"LIBCOLL_SIZE", "\"0\""}},
      {hand + Vars{{"LIBCOLL_SIZE", "99999999999999999999"}}, {"LIBCOLL_SIZE", "999"}},
      {hand + Vars{{"LIBCOLL_ROOT", "host"}}, {"LIBCOLL_ROOT", "\"host\""}},
      {hand + Vars{{"LIBCOLL_ROOT", "host:0"}}, {"LIBCOLL_ROOT", "host:0"}},
      {hand + Vars{{"LIBCOLL_ROOT", "host:65536"}}, {"LIBCOLL_ROOT", "host:65536"}},
      {hand + Vars{{"LIBCOLL_ROOT", "host:80x"}}, {"LIBCOLL_ROOT", "host:80x"}},
      {hand + Vars{{"LIBCOLL_ROOT", ":80"}}, {"LIBCOLL_ROOT", ":80"}},
      {hand + Vars{{"LIBCOLL_ROOT", "fd00::1:80"}}, {"LIBCOLL_ROOT", "brackets"}},
      {hand + Vars{{"LIBCOLL_ROOT", "[node]:80"}}, {"LIBCOLL_ROOT", "[node]:80"}},
      {hand + Vars{{"LIBCOLL_ROOT", "a b:80"}}, {"LIBCOLL_ROOT", "a b:80"}},
      {hand + Vars{{"LIBCOLL_ROOT", "unix:"}}, {"LIBCOLL_ROOT", "unix:"}},
      {hand + Vars{{"LIBCOLL_TIMEOUT", "0"}}, {"LIBCOLL_TIMEOUT", "\"0\""}},
      {hand + Vars{{"LIBCOLL_TIMEOUT", "-3"}}, {"LIBCOLL_TIMEOUT", "\"-3\""}},
      {hand + Vars{{"LIBCOLL_TIMEOUT", "nan"}}, {"LIBCOLL_TIMEOUT", "\"nan\""}},
      {hand + Vars{{"LIBCOLL_TIMEOUT", "1e30"}}, {"LIBCOLL_TIMEOUT", "\"1e30\""}},
      {hand + Vars{{"LIBCOLL_TIMEOUT", "10s"}}, {"LIBCOLL_TIMEOUT", "\"10s\""}},
      {hand + Vars{{"LIBCOLL_SECRET", ""}}, {"LIBCOLL_SECRET", "empty"}},
      {open_mpi(4, 4, 4), {"OMPI_COMM_WORLD_RANK", "\"4\""}},
      {open_mpi(0, 4, 5), {"OMPI_COMM_WORLD_LOCAL_SIZE", "\"5\""}},
      {open_mpi(0, 4, 2) + Vars{{"OMPI_MCA_orte_hnp_uri", "1.0;usock"}},
       {"OMPI_MCA_orte_hnp_uri", "1.0;usock"}},
      {torchrun(0, 4, 2) + Vars{{"MASTER_PORT", "70000"}}, {"MASTER_PORT", "\"70000\""}},
      {torchrun(0, 4, 2) + Vars{{"MASTER_ADDR", ""}}, {"MASTER_ADDR"}},
      {torchrun(0, 4, 2) + Vars{{"MASTER_ADDR", "a/b"}}, {"MASTER_ADDR", "\"a/b\""}},
      {torchrun(0, 4, 2) + Vars{{"MASTER_PORT", ""}}, {"MASTER_PORT"}},
      {slurm(8, 1), {"SLURM_PROCID", "\"8\""}},
      {slurm(0, 3) + step_secret + Vars{{"SLURM_STEP_NODELIST", "node[3-"}},
       {"SLURM_STEP_NODELIST", "node[3-"}},
      {slurm(0, 3) + step_secret + Vars{{"SLURM_STEP_NODELIST", ",a"}}, {"SLURM_STEP_NODELIST", ",a"}},
      {slurm(0, 1) + Vars{{"SLURM_STEP_ID", "x"}}, {"SLURM_STEP_ID", "\"x\""}},
      {slurm(0, 1) + Vars{{"SLURM_JOB_ID", ""}}, {"SLURM_JOB_ID"}},
  };
  for (const Malformed& m : table) {
    const auto job = detect(m.vars);
    ASSERT_FALSE(job) << "expected a complaint about " << m.named.front();
    EXPECT_EQ(job.error().code, Errc::bootstrap);
    for (const std::string& n : m.named) EXPECT_THAT(job.error().text, HasSubstr(n));
  }
}

TEST(Environment, ValuesAreMadeSafeToPrint) {
  const auto job = detect({{"LIBCOLL_RANK", "\x1b[2J\n" + std::string(5000, 'x')}, {"LIBCOLL_SIZE", "2"}});
  ASSERT_FALSE(job);
  EXPECT_LT(job.error().text.size(), 300U);
  EXPECT_EQ(job.error().text.find('\x1b'), std::string::npos);
}

TEST(Hostlist, FirstHost) {
  const std::vector<std::pair<std::string, std::string>> table{{"tux", "tux"},
                                                               {"tux1,tux2", "tux1"},
                                                               {"node[01-03,07],gpu5", "node01"},
                                                               {"node[7,9]", "node7"},
                                                               {"n[12]", "n12"},
                                                               {"r[1-2]n[003-100]", "r1n003"},
                                                               {"a[1-3]-ib0,b", "a1-ib0"},
                                                               {"[08-09]x", "08x"},
                                                               {"a.b.c,d", "a.b.c"}};
  for (const auto& [list, host] : table) EXPECT_EQ(parse_first_host("V", list).value_or("?"), host) << list;
  for (const char* bad : {"", ",", "a[", "a]", "a[]", "a[-3]", "a[x-y]", "a[1-2", "a b", "a[[1]]"}) {
    EXPECT_FALSE(parse_first_host("V", bad)) << bad;
  }
}

}  // namespace
}  // namespace libcoll::detail
