#include "transports/ucx/matching.hpp"

#include <algorithm>
#include <bit>
#include <new>

namespace libcoll::xport::ucx {

Entry* EntryPool::take() {
  if (free_ == nullptr) {
    constexpr std::size_t slab = 64;
    slabs_.push_back(std::make_unique<Entry[]>(slab));
    for (std::size_t i = 0; i < slab; ++i) give(&slabs_.back()[i]);
  }
  Entry* const e = free_;
  free_ = e->next;
  *e = Entry{};
  return e;
}

void EntryPool::give(Entry* e) {
  e->next = free_;
  free_ = e;
}

PayloadPool::~PayloadPool() {
  for (const auto& list : free_)
    for (void* p : list) ::operator delete(p);
}

int PayloadPool::class_of(std::size_t bytes) {
  const int width = std::bit_width(bytes == 0 ? 0 : bytes - 1);
  return width < smallest ? smallest : width;
}

void* PayloadPool::take(std::size_t bytes) {
  const int c = class_of(bytes);
  if (c > largest) return ::operator new(bytes);
  auto& list = free_[static_cast<std::size_t>(c)];
  if (list.empty()) return ::operator new(std::size_t{1} << c);
  void* const p = list.back();
  list.pop_back();
  return p;
}

void PayloadPool::give(void* p, std::size_t bytes) {
  const int c = class_of(bytes);
  if (c > largest) return ::operator delete(p);
  free_[static_cast<std::size_t>(c)].push_back(p);
}

namespace {
bool same(const Header& a, const Header& b) {
  return a.communicator == b.communicator && a.sequence == b.sequence && a.message == b.message;
}
}  // namespace

std::size_t MatchTable::bucket_of(const Header& key, int peer) const {
  std::uint64_t h = key.communicator * 0x9e3779b97f4a7c15u;
  h ^= (std::uint64_t{key.sequence} << 32 | key.message) + 0x632be59bd9b4e019u * static_cast<std::uint64_t>(peer + 1);
  h *= 0xd6e8feb86659fd93u;
  return static_cast<std::size_t>(h >> 32) & (buckets_.size() - 1);
}

void MatchTable::insert(Entry* e) {
  if (entries_ >= buckets_.size()) grow();
  Entry** at = &buckets_[bucket_of(e->header, e->peer)];
  while (*at != nullptr) at = &(*at)->next;
  e->next = nullptr;
  *at = e;
  ++entries_;
}

Entry* MatchTable::take(Entry::Kind kind, const Header& key, int peer) {
  for (Entry** at = &buckets_[bucket_of(key, peer)]; *at != nullptr; at = &(*at)->next) {
    Entry* const e = *at;
    if (e->kind != kind || e->peer != peer || !same(e->header, key)) continue;
    *at = e->next;
    --entries_;
    return e;
  }
  return nullptr;
}

bool MatchTable::remove(Entry* e) {
  for (Entry** at = &buckets_[bucket_of(e->header, e->peer)]; *at != nullptr; at = &(*at)->next) {
    if (*at != e) continue;
    *at = e->next;
    --entries_;
    return true;
  }
  return false;
}

std::size_t MatchTable::count(Entry::Kind kind) const {
  std::size_t n = 0;
  for (const Entry* e : buckets_)
    for (; e != nullptr; e = e->next) n += e->kind == kind;
  return n;
}

void MatchTable::grow() {
  std::vector<Entry*> old(buckets_.size() * 2);
  old.swap(buckets_);
  entries_ = 0;
  for (Entry* e : old)
    while (e != nullptr) {
      Entry* const next = e->next;
      insert(e);
      e = next;
    }
}

void Forgotten::add(std::uint64_t communicator) {
  if (!ids_.insert(communicator).second) return;
  order_.push_back(communicator);
  if (order_.size() <= limit) return;
  ids_.erase(order_.front());
  order_.pop_front();
}

Abandoned& Abandoned::add(std::uint32_t sequence, std::uint32_t first_live) {
  first_live_ = first_live;
  later_.push_back(sequence);
  std::erase_if(later_, [&](std::uint32_t s) { return before_live(s); });
  return *this;
}

bool Abandoned::contains(std::uint32_t sequence) const {
  return before_live(sequence) || std::find(later_.begin(), later_.end(), sequence) != later_.end();
}

}  // namespace libcoll::xport::ucx
