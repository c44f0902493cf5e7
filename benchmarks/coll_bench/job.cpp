#include "coll_bench/job.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "coll_bench/mpi_side.hpp"
#include "coll_bench/options.hpp"

namespace bench {

Job::Job(bool with_mpi) : with_mpi_(with_mpi) {
  if (with_mpi) {
    mpi::start();
    if (mpi::size() == 1 && launcher_size() > 1)
      throw std::runtime_error(
          fmt::format("started as one of {} ranks, but the MPI this was built with ({}) knows of one only: "
                      "use that MPI's own mpirun",
                      launcher_size(), mpi::version()));
    comm_ = mpi::make_comm();
  } else {
    comm_ = libcoll::Comm::from_environment();
    talk_ = comm_.dup();
  }
  rank_ = comm_.rank();
  size_ = comm_.size();
}

void Job::close() {
  if (talk_) talk_.close();
  comm_.close();
  if (with_mpi_) mpi::stop();
  closed_ = true;
}

void Job::abort() {
  if (with_mpi_ && !closed_) mpi::abort();
  std::_Exit(1);
}

void Job::allgather(const void* send, void* recv, std::size_t bytes) {
  if (with_mpi_)
    mpi::allgather(send, recv, bytes);
  else
    talk_.allgather(send, recv, static_cast<libcoll::Count>(bytes), libcoll::DType::byte);
}

bool Job::everybody(bool mine) {
  const std::vector<char> votes = all(static_cast<char>(mine));
  return std::all_of(votes.begin(), votes.end(), [](char v) { return v != 0; });
}

}  // namespace bench
