// Driver: the one thread of the process that moves lanes on while nobody waits for them, and closes the communicators of groups
// that are gone. It sleeps while there is neither.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <c10/core/Device.h>

#include "libcoll/comm.hpp"

namespace libcoll::torch_door {

class Lane;

class Driver {
 public:
  static Driver& instance();  // never destroyed
  // Moves this lane on until it is empty.
  void enroll(const std::shared_ptr<Lane>&);
  // A waiter has left a lane that is not empty.
  void ring();
  // Closes it as soon as all its members do. `device`: that it has worked on, if one.
  void retire(Comm&&, std::optional<c10::Device> device);
  // Communicators that wait for other members to leave.
  std::size_t retired();
  // Before the interpreter goes: no callback runs afterwards. Operations nobody waits for stay where they are.
  void stop();
  // In a child of fork nothing works: the thread is not there, and shared memory is the parent's.
  static bool in_child_of_fork();

 private:
  Driver();
  void body();
  bool close_retired(std::unique_lock<std::mutex>&);

  std::mutex mutex_;
  std::condition_variable bell_;
  std::vector<std::shared_ptr<Lane>> lanes_;
  struct Retired {
    Comm comm;
    std::optional<c10::Device> device;
  };
  std::vector<Retired> retired_;
  std::size_t closing_ = 0;  // of them, in close_retired()
  bool quit_ = false, running_ = false;
  std::thread thread_;
};

}  // namespace libcoll::torch_door
