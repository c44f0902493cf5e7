// Messengers for tests: one per thread or process, and the calls that tests make on them.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/ranks.hpp"
#include "tests/support/values.hpp"
#include "transports/ucx/ucx_messenger.hpp"

namespace libcoll::test {

constexpr std::size_t huge = 4 << 20;  // bytes; sent by rendezvous

// Over TCP alone as between hosts, and over whatever UCX likes.
class Ucx : public testing::TestWithParam<bool> {
 protected:
  xport::UcxOptions options() const { return {.exclude_shared_memory = GetParam()}; }
};

std::unique_ptr<xport::Messenger> make_messenger(Board&, int rank, int size, const xport::UcxOptions& = {});

// Runs `body` on a messenger per thread; whatever it throws, and a hang, fail the test.
void on_threads(int ranks, const xport::UcxOptions&, const std::function<void(xport::Messenger&, int rank, Board&)>& body);

// Progresses until all are finished, or throws after so many seconds.
void finish_all(xport::Messenger&, const std::vector<xport::Transfer*>&, double seconds = 30);
void finish(xport::Messenger&, xport::Transfer&, double seconds = 30);
bool progress_until(xport::Messenger&, double seconds, const std::function<bool()>&);
// Every rank of the test reaches it while all make progress.
void meet(xport::Messenger&, Board&, int word, int ranks);

// Throws the transfer's error, if any.
void require_done(const xport::Transfer&);
void require(bool, const std::string& text);

Bytes block(std::size_t bytes, std::uint64_t tag, int from);

}  // namespace libcoll::test
