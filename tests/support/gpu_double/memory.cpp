#include "tests/support/gpu_double/memory.hpp"

#include <fmt/format.h>

#include <cstring>
#include <new>

namespace libcoll::test::gpu_double {

namespace {

constexpr std::align_val_t alignment{256};
constexpr int fresh = 0xCB, stale = 0xDB;

const Block* containing(const std::map<std::uintptr_t, Block>& blocks, std::uintptr_t at) {
  auto i = blocks.upper_bound(at);
  if (i == blocks.begin()) return nullptr;
  --i;
  return at < i->second.end() ? &i->second : nullptr;
}

}  // namespace

const char* name_of(Kind k) {
  constexpr const char* names[] = {"device", "managed", "pinned", "registered"};
  return names[static_cast<int>(k)];
}

Memory::~Memory() {
  for (const auto& [at, b] : live_) give_back(b);
  for (const auto& [at, b] : freed_) give_back(b);
}

void Memory::give_back(const Block& b) {
  if (b.kind != Kind::registered) ::operator delete(reinterpret_cast<void*>(b.base), alignment);
}

void* Memory::allocate(std::size_t bytes, Kind kind, int device, bool nccl) {
  void* p = ::operator new(bytes, alignment, std::nothrow);
  if (!p) return nullptr;
  std::memset(p, fresh, bytes);
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  live_[at] = {at, bytes, kind, device, 0, nccl, 0};
  return p;
}

bool Memory::add_registered(void* p, std::size_t bytes, int device) {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  const auto next = live_.lower_bound(at);
  if (containing(live_, at) || (next != live_.end() && next->first < at + bytes)) return false;
  live_[at] = {at, bytes, Kind::registered, device, 0, false, 0};
  return true;
}

Block* Memory::find(const void* p) { return const_cast<Block*>(containing(live_, reinterpret_cast<std::uintptr_t>(p))); }

void Memory::release(Block& b) {
  const Block kept = b;
  live_.erase(kept.base);
  if (kept.kind == Kind::registered) return;  // the caller's
  std::memset(reinterpret_cast<void*>(kept.base), stale, kept.bytes);
  freed_[kept.base] = kept;
  freed_order_.push_back(kept.base);
  freed_bytes_ += kept.bytes;
  while (freed_bytes_ > kept_bytes && !freed_order_.empty()) {
    const auto oldest = freed_.find(freed_order_.front());
    freed_order_.pop_front();
    freed_bytes_ -= oldest->second.bytes;
    give_back(oldest->second);
    freed_.erase(oldest);
  }
}

std::string Memory::fault_of(const void* p, std::size_t bytes, bool host_too) {
  if (bytes == 0) return {};
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  if (const Block* b = containing(live_, at)) {
    if (bytes <= b->end() - at) return {};
    return fmt::format("out of bounds: {} bytes at offset {} of {} bytes of {} memory", bytes, at - b->base, b->bytes, name_of(b->kind));
  }
  if (const Block* b = containing(freed_, at)) return fmt::format("use after free: {} bytes at offset {} of {} bytes of {} memory", bytes, at - b->base, b->bytes, name_of(b->kind));
  if (p == nullptr) return fmt::format("null pointer: {} bytes", bytes);
  const auto next = live_.upper_bound(at);
  if (next != live_.end() && next->first - at < bytes) return fmt::format("out of bounds: {} bytes that begin {} before {} memory", bytes, next->first - at, name_of(next->second.kind));
  return host_too ? std::string() : fmt::format("{} bytes of memory that no device can access", bytes);
}

}  // namespace libcoll::test::gpu_double
