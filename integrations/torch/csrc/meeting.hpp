// Meeting: an allgather of small records over a torch Store, among the ranks of a group that is being made.
// Each round costs every rank one set and one get, and rank 0 one multiGet: never a get per pair. Keys are deleted as soon as
// nobody needs them any more.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include <torch/csrc/distributed/c10d/Store.hpp>

namespace libcoll::torch_door {

class Meeting {
 public:
  // `timeout`: of each round; what is thrown then names the ranks that are missing.
  Meeting(c10::intrusive_ptr<c10d::Store> store, int rank, int size, std::chrono::milliseconds timeout);
  // recv holds size() blocks of `bytes`. Collective, blocking.
  void allgather(const void* send, void* recv, std::size_t bytes);
  // After the last round; not collective.
  void end();

 private:
  std::string key(int round, int rank) const;
  std::string key_of_all(int round) const;
  void collect(const void* send, void* recv, std::size_t bytes);

  c10::intrusive_ptr<c10d::Store> store_;
  const int rank_, size_;
  const std::chrono::milliseconds timeout_;
  int round_ = 0;
};

}  // namespace libcoll::torch_door
