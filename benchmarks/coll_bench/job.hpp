// Job: the ranks of this run and the communicator they measure. What ranks tell each other beside
// the measured calls goes through MPI where there is one, so that our own mistakes cannot hide.
#pragma once

#include <cstddef>
#include <vector>

#include "libcoll/comm.hpp"

namespace bench {

class Job {
 public:
  // Collective. Throws if ranks cannot meet or were started by another MPI's launcher.
  explicit Job(bool with_mpi);
  void close();  // collective
  // Ends all ranks; after an error that the others may not have seen.
  [[noreturn]] void abort();

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_first() const { return rank_ == 0; }
  libcoll::Comm& comm() { return comm_; }
  bool has_mpi() const { return with_mpi_; }

  void allgather(const void* send, void* recv, std::size_t bytes);
  template <class T>
  std::vector<T> all(const T& mine) {
    std::vector<T> values(static_cast<std::size_t>(size_));
    allgather(&mine, values.data(), sizeof(T));
    return values;
  }
  bool everybody(bool mine);

 private:
  bool with_mpi_, closed_ = false;
  int rank_ = 0, size_ = 1;
  libcoll::Comm comm_, talk_;  // talk_ is used without MPI only
};

}  // namespace bench
