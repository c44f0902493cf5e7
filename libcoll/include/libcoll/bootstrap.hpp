// How ranks meet before a communicator exists. Used only while a world is created.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "libcoll/types.hpp"

namespace libcoll {

// A means to exchange small records among all ranks of a job. Not thread-safe. Every method is
// collective and throws Error (Errc::bootstrap or Errc::timeout, naming the missing ranks).
class LIBCOLL_API Bootstrap {
 public:
  virtual ~Bootstrap() = default;
  virtual int rank() const noexcept = 0;
  virtual int size() const noexcept = 0;
  // recv holds size() blocks of `bytes` bytes in rank order; send does not overlap recv.
  virtual void allgather(const void* send, void* recv, std::size_t bytes) = 0;
};

// recv[r*bytes .. (r+1)*bytes) = rank r's send; blocking, collective.
using AllgatherFunction = std::function<void(const void* send, void* recv, std::size_t bytes)>;

// Meets by what the launcher left in the environment: Open MPI/PMIx, MPICH/Hydra, Slurm, torchrun,
// or LIBCOLL_RANK, LIBCOLL_SIZE, LIBCOLL_ROOT. A process alone (none of them set) is a job of one.
LIBCOLL_API std::unique_ptr<Bootstrap> bootstrap_from_environment();

// Meets through a host program's own allgather.
LIBCOLL_API std::unique_ptr<Bootstrap> bootstrap_from_callback(int rank, int size, AllgatherFunction);

}  // namespace libcoll
