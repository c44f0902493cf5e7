// The address map: which memory a device can access, whose it is, and what was freed. Not thread-safe: the state's lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace libcoll::test::gpu_double {

enum class Kind { device, managed, pinned, registered };
const char* name_of(Kind);

struct Block {
  std::uintptr_t base = 0;
  std::size_t bytes = 0;
  Kind kind = Kind::device;
  int device = 0;    // over all hosts
  int uses = 0;      // operations in flight
  bool nccl = false; // from ncclMemAlloc
  int registrations = 0;  // with communicators
  std::uintptr_t end() const { return base + bytes; }
};

class Memory {
 public:
  ~Memory();
  // Filled with a pattern, so that what is read before it was written looks like nothing.
  void* allocate(std::size_t bytes, Kind, int device, bool nccl);
  // False if it overlaps what is known.
  bool add_registered(void*, std::size_t bytes, int device);
  // The live block that contains the address, or nullptr.
  Block* find(const void*);
  // Its memory is kept for a while, to tell what uses it later.
  void release(Block&);
  // "" or what is wrong with an access; `host_too`: memory that no device knows is allowed.
  std::string fault_of(const void*, std::size_t bytes, bool host_too);
  const std::map<std::uintptr_t, Block>& live() const { return live_; }

 private:
  static constexpr std::size_t kept_bytes = 64u << 20;
  static void give_back(const Block&);
  std::map<std::uintptr_t, Block> live_, freed_;
  std::deque<std::uintptr_t> freed_order_;
  std::size_t freed_bytes_ = 0;
};

}  // namespace libcoll::test::gpu_double
