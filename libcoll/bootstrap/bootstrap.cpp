#include "libcoll/bootstrap.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "libcoll/bootstrap/meeting.hpp"
#include "libcoll/core/log.hpp"

namespace libcoll {
namespace {

class CallbackBootstrap final : public Bootstrap {
 public:
  CallbackBootstrap(int rank, int size, AllgatherFunction allgather)
      : rank_(rank), size_(size), allgather_(std::move(allgather)) {}
  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }
  void allgather(const void* send, void* recv, std::size_t bytes) override {
    try {
      allgather_(send, recv, bytes);
    } catch (const Error&) {
      throw;  // the host program speaks our vocabulary
    } catch (const std::exception& e) {
      throw Error(Errc::bootstrap, fmt::format("rank {}: the allgather callback threw: {}", rank_, e.what()));
    } catch (...) {
      throw Error(
          Errc::bootstrap,
          fmt::format("rank {}: the allgather callback threw something that is no std::exception", rank_));
    }
  }

 private:
  int rank_, size_;
  AllgatherFunction allgather_;
};

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

}  // namespace

std::unique_ptr<Bootstrap> bootstrap_from_environment() {
  const auto job = detail::value_or_throw(detail::detect_job(process_environment));
  constexpr std::size_t guessable = 16;
  if (job.rank == 0 && job.meeting.kind == detail::MeetingPoint::Kind::tcp && job.secret.size() < guessable) {
    detail::log().warn("LIBCOLL_SECRET has fewer than {} characters: who sees the traffic can guess it",
                       guessable);
  }
  return detail::value_or_throw(detail::meet(job));
}

std::unique_ptr<Bootstrap> bootstrap_from_callback(int rank, int size, AllgatherFunction allgather) {
  if (size < 1)
    throw Error(Errc::invalid_argument,
                fmt::format("bootstrap_from_callback: size {} is not positive", size));
  if (rank < 0 || rank >= size) {
    throw Error(Errc::invalid_argument,
                fmt::format("bootstrap_from_callback: rank {} is not in 0 .. {}", rank, size - 1));
  }
  if (!allgather) throw Error(Errc::invalid_argument, "bootstrap_from_callback: no allgather function");
  return std::make_unique<CallbackBootstrap>(rank, size, std::move(allgather));
}

}  // namespace libcoll
