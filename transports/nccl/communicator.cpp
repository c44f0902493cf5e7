#include "transports/nccl/communicator.hpp"

#include <fmt/format.h>

#include "libcoll/error.hpp"

namespace libcoll::device {

using nccl::Code;

namespace {

nccl::Config polled() {
  nccl::Config c;
  c.blocking = 0;
  return c;
}

std::string text_of(const nccl::Table& t, Code code, nccl::Comm comm) {
  const char* last = comm != nullptr ? t.get_last_error(comm) : nullptr;
  return fmt::format("{}{}{}", t.get_error_string(code), last != nullptr && *last != 0 ? ": " : "", last != nullptr ? last : "");
}

}  // namespace

Communicator::Communicator(const nccl::Table& table, int size, int index, const nccl::UniqueId& id, const Between& between) : table_(table) {
  nccl::Config config = polled();
  try {
    settle(table.comm_init_rank_config(&comm_, size, id, index, &config), "ncclCommInitRankConfig", between);
  } catch (...) {
    abort();
    throw;
  }
}

std::unique_ptr<Communicator> Communicator::split(Communicator& parent, int color, int key, const Between& between) {
  nccl::Config config = polled();
  std::unique_ptr<Communicator> child(new Communicator(parent.table_));
  parent.settle(parent.table_.comm_split(parent.comm_, color < 0 ? nccl::split_no_color : color, key, &child->comm_, &config), "ncclCommSplit", between);
  if (color < 0) return nullptr;
  child->settle(Code::in_progress, "ncclCommSplit", between);
  return child;
}

Communicator::~Communicator() { abort(); }

void Communicator::settle(Code code, const char* call, const Between& between) {
  while (code == Code::in_progress) {
    between();
    if (comm_ == nullptr) throw Error(Errc::internal, fmt::format("libcoll: {}: NCCL gave no communicator", call));
    if (const Code c = table_.comm_get_async_error(comm_, &code); c != Code::success) code = c;
  }
  if (code != Code::success) throw Error(Errc::system, fmt::format("libcoll: {}: {}", call, text_of(table_, code, comm_)));
}

std::string Communicator::trouble() const {
  Code code = Code::success;
  if (comm_ == nullptr) return "it was aborted";
  if (const Code c = table_.comm_get_async_error(comm_, &code); c != Code::success) code = c;
  return code == Code::success || code == Code::in_progress ? std::string() : text_of(table_, code, comm_);
}

bool Communicator::try_finalize() {
  if (comm_ == nullptr) return true;
  Code code = std::exchange(finalizing_, true) ? Code::in_progress : table_.comm_finalize(comm_);
  if (code == Code::in_progress)
    if (const Code c = table_.comm_get_async_error(comm_, &code); c != Code::success) code = c;
  if (code == Code::in_progress) return false;
  if (code != Code::success) throw Error(Errc::system, fmt::format("libcoll: ncclCommFinalize: {}", text_of(table_, code, comm_)));
  table_.comm_destroy(std::exchange(comm_, nullptr));
  return true;
}

void Communicator::abort() noexcept {
  if (comm_ != nullptr) table_.comm_abort(std::exchange(comm_, nullptr));
}

}  // namespace libcoll::device
