// Ranks as threads and as processes, and jobs for them that meet on loopback.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libcoll/bootstrap/meeting.hpp"

namespace libcoll::detail::test {

using namespace std::chrono_literals;

inline bool has_ipv6_loopback() {
  auto found = resolve("::1", 0);
  return found && listen_at(found->front()).has_value();
}

// A port that was free a moment ago.
inline std::uint16_t free_port(const std::string& host = "127.0.0.1") {
  auto fd = listen_at(resolve(host, 0)->front());
  return local_address(fd->get())->port();
}

inline JobInfo tcp_job(int rank, int size, std::uint16_t port, const std::string& host = "127.0.0.1") {
  JobInfo job;
  job.rank = rank;
  job.size = size;
  job.secret = "a secret of this test";
  job.timeout = 30s;
  job.meeting.kind = MeetingPoint::Kind::tcp;
  job.meeting.hosts = {host};
  job.meeting.port = port;
  job.meeting.loopback_only = true;
  return job;
}

inline std::string unique_key() {
  static std::atomic<int> next{0};
  return "bootstrap_test/" + std::to_string(::getpid()) + "/" + std::to_string(next++);
}

inline JobInfo unix_job(int rank, int size, const std::string& key) {
  JobInfo job;
  job.rank = rank;
  job.size = size;
  job.timeout = 30s;
  job.meeting.kind = MeetingPoint::Kind::unix_socket;
  job.meeting.unix_key = key;
  return job;
}

// Runs body(rank) for all ranks at once in threads of this process, and waits.
void as_threads(int ranks, const std::function<void(int)>& body);
// The same in forked processes; the test fails if one does not return true. Call without threads around.
void as_processes(int ranks, const std::function<bool(int)>& body);

// Element i of what `rank` contributes.
inline unsigned char pattern(int rank, std::size_t i) {
  return static_cast<unsigned char>(rank * 31 + static_cast<int>(i % 251) + 7);
}
// Whether an allgather of that many bytes per rank delivers everybody's pattern.
bool allgather_works(Bootstrap&, std::size_t bytes);

}  // namespace libcoll::detail::test
