#include "meeting.hpp"

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <c10/util/Exception.h>
#include <c10/util/StringUtil.h>

namespace libcoll::torch_door {

using Bytes = std::vector<std::uint8_t>;

Meeting::Meeting(c10::intrusive_ptr<c10d::Store> store, int rank, int size, std::chrono::milliseconds timeout)
    : store_(std::move(store)), rank_(rank), size_(size), timeout_(timeout) {}

std::string Meeting::key(int round, int rank) const { return c10::str("libcoll/", round, "/", rank); }
std::string Meeting::key_of_all(int round) const { return c10::str("libcoll/", round, "/all"); }

void Meeting::allgather(const void* send, void* recv, std::size_t bytes) {
  const auto* mine = static_cast<const std::uint8_t*>(send);
  if (size_ == 1) {
    std::memcpy(recv, send, bytes);
    return;
  }
  if (rank_ == 0) {
    collect(send, recv, bytes);
  } else {
    store_->set(key(round_, rank_), Bytes(mine, mine + bytes));
    const std::string all = key_of_all(round_);
    try {
      store_->wait({all}, timeout_);
    } catch (const std::exception& e) {
      C10_THROW_ERROR(DistBackendError, c10::str("libcoll: rank ", rank_, " of ", size_, ": creating the group: rank 0 did not answer in ",
                                                 timeout_.count(), " ms (round ", round_, "): ", e.what()));
    }
    const Bytes got = store_->get(all);
    TORCH_CHECK(got.size() == bytes * static_cast<std::size_t>(size_), "libcoll: rank ", rank_, " of ", size_,
                ": creating the group: the store holds ", got.size(), " bytes for ", size_, " records of ", bytes);
    std::memcpy(recv, got.data(), got.size());
  }
  ++round_;
}

void Meeting::collect(const void* send, void* recv, std::size_t bytes) {
  std::vector<std::string> keys;
  for (int r = 1; r < size_; ++r) keys.push_back(key(round_, r));
  try {
    store_->wait(keys, timeout_);
  } catch (const std::exception& e) {
    std::string missing;
    for (int r = 1; r < size_; ++r)
      if (!store_->check({keys[static_cast<std::size_t>(r - 1)]})) missing += c10::str(missing.empty() ? "" : ", ", r);
    C10_THROW_ERROR(DistBackendError, c10::str("libcoll: rank 0 of ", size_, ": creating the group: rank(s) ", missing, " did not come in ",
                                               timeout_.count(), " ms (round ", round_, "): ", e.what()));
  }
  std::vector<Bytes> records;
  if (store_->hasExtendedApi()) records = store_->multiGet(keys);
  else for (const auto& k : keys) records.push_back(store_->get(k));
  auto* out = static_cast<std::uint8_t*>(recv);
  std::memcpy(out, send, bytes);
  for (std::size_t r = 1; r < static_cast<std::size_t>(size_); ++r) {
    TORCH_CHECK(records[r - 1].size() == bytes, "libcoll: rank 0 of ", size_, ": creating the group: rank ", r, " sent ", records[r - 1].size(),
                " bytes where ", bytes, " were expected: do all ranks run the same version?");
    std::memcpy(out + r * bytes, records[r - 1].data(), bytes);
  }
  store_->set(key_of_all(round_), Bytes(out, out + bytes * static_cast<std::size_t>(size_)));
  for (const auto& k : keys) store_->deleteKey(k);
  // All ranks have sent their record of this round: they have read the last one's.
  if (round_ > 0) store_->deleteKey(key_of_all(round_ - 1));
}

void Meeting::end() {
  if (size_ == 1 || round_ == 0) return;
  const std::string done = "libcoll/done";
  if (store_->add(done, 1) < size_) return;
  store_->deleteKey(key_of_all(round_ - 1));
  store_->deleteKey(done);
}

}  // namespace libcoll::torch_door
