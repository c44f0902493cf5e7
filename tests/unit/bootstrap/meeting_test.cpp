// Honest ranks: every size, every kind of address, as threads and as processes.
#include "libcoll/bootstrap/meeting.hpp"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <thread>

#include "libcoll/bootstrap/door.hpp"
#include "support.hpp"

namespace libcoll::detail::test {
namespace {

using JobOfRank = std::function<JobInfo(int rank, int size)>;
constexpr std::array<std::size_t, 6> record_sizes{0, 1, 8, 300, 70'000, 5};

struct Place {
  std::string name;
  std::function<JobOfRank()> make;
};

JobOfRank tcp_at(const std::string& host) {
  const auto port = free_port(host);
  return [=](int r, int n) { return tcp_job(r, n, port, host); };
}

// As on several hosts: rank 0 listens everywhere and sees the others at loopback addresses.
JobOfRank at_a_host_name() {
  return [port = free_port()](int r, int n) {
    JobInfo job = tcp_job(r, n, port, "localhost");
    job.meeting.loopback_only = false;
    return job;
  };
}

class Meeting : public testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (GetParam().name == "ipv6" && !has_ipv6_loopback()) GTEST_SKIP() << "no IPv6 loopback on this machine";
  }
};

TEST_P(Meeting, OfThreads) {
  for (const int n : {1, 2, 3, 4, 5, 7, 8, 16, 33, 80}) {
    const auto job = GetParam().make();
    std::atomic<int> good{0};
    as_threads(n, [&](int r) {
      auto b = meet(job(r, n));
      if (!b) {
        ADD_FAILURE() << "rank " << r << " of " << n << ": " << b.error().text;
        return;
      }
      EXPECT_EQ((*b)->rank(), r);
      EXPECT_EQ((*b)->size(), n);
      bool all = true;
      for (const std::size_t bytes : record_sizes)
        all = all && allgather_works(**b, n > 16 ? std::min<std::size_t>(bytes, 3000) : bytes);
      good += all ? 1 : 0;
    });
    EXPECT_EQ(good.load(), n);
  }
}

TEST_P(Meeting, OfProcesses) {
  for (const int n : {1, 2, 3, 4, 5, 7, 8, 16, 33}) {
    const auto job = GetParam().make();
    as_processes(n, [&](int r) {
      auto b = value_or_throw(meet(job(r, n)));
      return allgather_works(*b, 48) && allgather_works(*b, 0) && allgather_works(*b, 1000);
    });
  }
}

TEST_P(Meeting, AgainAtTheSamePlace) {
  const auto job = GetParam().make();
  std::atomic<int> good{0};
  as_threads(10, [&](int r) {
    for (int i = 0; i < 5; ++i) {
      auto b = meet(job(r, 10));
      ASSERT_TRUE(b) << b.error().text;
      good += allgather_works(**b, 16) ? 1 : 0;
    }
  });
  EXPECT_EQ(good.load(), 50);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, Meeting,
                         testing::Values(Place{"ipv4", [] { return tcp_at("127.0.0.1"); }},
                                         Place{"ipv6", [] { return tcp_at("::1"); }},
                                         Place{"localhost", [] { return tcp_at("localhost"); }},
                                         Place{"hostname", at_a_host_name},
                                         Place{"unix",
                                               []() -> JobOfRank {
                                                 return [key = unique_key()](int r, int n) {
                                                   return unix_job(r, n, key);
                                                 };
                                               }}),
                         [](const auto& place) { return place.param.name; });

TEST(MeetingTime, LateRootAndLateRanks) {
  const auto port = free_port();
  std::atomic<int> good{0};
  as_threads(4, [&](int r) {
    std::this_thread::sleep_for(r == 0 ? 300ms : r == 3 ? 600ms : 0ms);
    auto b = meet(tcp_job(r, 4, port));
    good += b && allgather_works(**b, 8) ? 1 : 0;
  });
  EXPECT_EQ(good.load(), 4);
}

TEST(MeetingTime, CandidatePortsSkipWhatOthersHold) {
  // Another program holds the first port and never says a word, as torch's TCPStore would.
  auto stranger = listen_at(resolve("127.0.0.1", 0)->front());
  const auto port = local_address(stranger->get())->port();
  ASSERT_LT(port, 65'530);
  std::atomic<int> good{0};
  as_threads(3, [&](int r) {
    JobInfo job = tcp_job(r, 3, port);
    job.meeting.ports = 5;
    auto b = meet(job);
    EXPECT_TRUE(b) << b.error().text;
    good += b && allgather_works(**b, 8) ? 1 : 0;
  });
  EXPECT_EQ(good.load(), 3);
}

TEST(MeetingFailure, MissingRanksAreNamedEverywhere) {
  const auto port = free_port();
  const int n = 16;
  as_threads(n, [&](int r) {
    if (r == 2 || (r >= 5 && r <= 7)) return;
    JobInfo job = tcp_job(r, n, port);
    job.timeout = 3s;
    const auto b = meet(job);
    ASSERT_FALSE(b);
    EXPECT_EQ(b.error().code, Errc::timeout);
    EXPECT_THAT(b.error().text, testing::HasSubstr("ranks 2, 5-7 of 16 did not arrive"));
    EXPECT_THAT(b.error().text, testing::HasSubstr("within 3 s"));
    EXPECT_EQ(b.error().peer, 2);
  });
}

TEST(MeetingFailure, WithoutARoot) {
  JobInfo job = unix_job(1, 2, unique_key());
  job.timeout = 500ms;
  const auto b = meet(job);
  ASSERT_FALSE(b);
  EXPECT_EQ(b.error().code, Errc::timeout);
  EXPECT_EQ(b.error().peer, 0);
  EXPECT_THAT(b.error().text, testing::HasSubstr("rank 1 of 2 could not join rank 0"));
}

TEST(MeetingFailure, ASizeThatDiffersIsExplained) {
  const auto port = free_port();
  as_threads(2, [&](int r) {
    if (r == 1) {
      const auto b = meet(tcp_job(1, 3, port));
      ASSERT_FALSE(b);
      EXPECT_THAT(b.error().text, testing::HasSubstr("job of 3 ranks, rank 0 in one of 2"));
    }
    EXPECT_TRUE(meet(tcp_job(r, 2, port)));  // the odd one did not disturb
  });
}

// 203.0.113.0/24 is reserved for documentation: no host has such an address.
TEST(MeetingFailure, RankZeroNotOnTheHostOfMpirun) {
  JobInfo job = tcp_job(0, 2, free_port());
  job.meeting.hosts = {"203.0.113.1", "203.0.113.2"};
  job.meeting.loopback_only = false;
  job.meeting.root_may_be_elsewhere = true;
  EXPECT_THAT(meet(job).error().text, testing::HasSubstr("LIBCOLL_ROOT"));
}

TEST(MeetingFailure, APortThatIsTakenIsNamed) {
  auto stranger = listen_at(resolve("127.0.0.1", 0)->front());
  JobInfo job = tcp_job(0, 2, local_address(stranger->get())->port());
  job.timeout = 200ms;
  const auto b = meet(job);
  ASSERT_FALSE(b);
  EXPECT_EQ(b.error().code, Errc::system);
  EXPECT_THAT(b.error().text, testing::HasSubstr(local_address(stranger->get())->text()));
}

TEST(MeetingFailure, TcpWithoutASecretIsRefused) {
  JobInfo job = tcp_job(0, 2, free_port());
  job.secret.clear();
  EXPECT_THAT(meet(job).error().text, testing::HasSubstr("LIBCOLL_SECRET"));
}

TEST(AllgatherFailure, ARankThatDoesNotTakePartIsNamed) {
  const auto key = unique_key();
  const int n = 12, absent = 9;  // 9 is a child of 1
  std::atomic<bool> over{false};
  std::atomic<int> failed{0};
  as_threads(n, [&](int r) {
    JobInfo job = unix_job(r, n, key);
    job.timeout = 3s;
    auto b = meet(job);
    ASSERT_TRUE(b) << b.error().text;
    auto& tree = dynamic_cast<TreeBootstrap&>(**b);
    if (r == absent) {
      while (!over) std::this_thread::sleep_for(5ms);
      return;
    }
    int mine = r;
    std::vector<int> all(static_cast<std::size_t>(n));
    const auto result = tree.try_allgather(&mine, all.data(), sizeof mine);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::timeout);
    EXPECT_EQ(result.error().peer, absent) << "rank " << r << ": " << result.error().text;
    EXPECT_THROW(tree.allgather(&mine, all.data(), sizeof mine), Error);  // and stays broken
    if (++failed == n - 1) over = true;
  });
  EXPECT_EQ(failed.load(), n - 1);
}

TEST(AllgatherFailure, AKilledRankIsNoticedByAll) {
  const auto key = unique_key();
  const int n = 20, victim = 1;
  as_processes(n, [&](int r) {
    auto b = value_or_throw(meet(unix_job(r, n, key)));
    if (!allgather_works(*b, 8)) return false;
    if (r == victim) ::_exit(0);
    try {
      (void)allgather_works(*b, 100'000);
    } catch (const Error& e) {
      return e.code() == Errc::bootstrap && e.peer() == victim;
    }
    return false;
  });
}

TEST(AllgatherFailure, DifferentLengthsAreNoticedByAll) {
  const auto key = unique_key();
  std::atomic<int> failed{0};
  as_threads(10, [&](int r) {
    auto b = meet(unix_job(r, 10, key));
    ASSERT_TRUE(b) << b.error().text;
    std::vector<char> mine(16), all(160);
    try {
      (*b)->allgather(mine.data(), all.data(), r == 9 ? 16 : 8);
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr("rank 9 has 16 bytes, rank 1 has 8"));
      ++failed;
    }
  });
  EXPECT_EQ(failed.load(), 10);
}

TEST(AllgatherFailure, ArgumentsAreChecked) {
  auto b = value_or_throw(meet(JobInfo{}));
  char c = 'x', out = 0;
  EXPECT_THROW(b->allgather(nullptr, &out, 1), Error);
  EXPECT_THROW(b->allgather(&c, nullptr, 1), Error);
  b->allgather(&c, &out, 1);  // nothing was communicated: still usable
  EXPECT_EQ(out, 'x');
}

// Rank 0 needs more descriptors than the soft limit allows, and gives them back.
TEST(MeetingScale, BeyondTheSoftDescriptorLimit) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  if (before.rlim_max < 2048) GTEST_SKIP() << "hard descriptor limit too low: " << before.rlim_max;
  const auto key = unique_key();
  as_processes(70, [&](int r) {
    const rlimit low{r == 0 ? 40 : before.rlim_cur, before.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &low) != 0) return false;
    auto b = value_or_throw(meet(unix_job(r, 70, key)));
    rlimit after{};
    ::getrlimit(RLIMIT_NOFILE, &after);
    return after.rlim_cur == low.rlim_cur && allgather_works(*b, 64);
  });
}

}  // namespace
}  // namespace libcoll::detail::test
