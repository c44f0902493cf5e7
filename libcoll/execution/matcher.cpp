#include "libcoll/execution/matcher.hpp"

#include <cstdint>

namespace libcoll::exec {

std::size_t MatchList::bucket_of(int tag) const {
  return static_cast<std::size_t>((static_cast<std::uint64_t>(tag) * 0x9e3779b97f4a7c15u) >> 32) & (buckets_.size() - 1);
}

void MatchList::append_to(Bucket& b, MatchNode& n) {
  n.previous = b.last;
  n.next = nullptr;
  (b.last == nullptr ? b.first : b.last->next) = &n;
  b.last = &n;
}

void MatchList::append(MatchNode& n) {
  if (size_ >= 2 * buckets_.size()) grow();
  append_to(buckets_[bucket_of(n.tag)], n);
  ++size_;
}

void MatchList::remove(MatchNode& n) {
  Bucket& b = buckets_[bucket_of(n.tag)];
  (n.previous == nullptr ? b.first : n.previous->next) = n.next;
  (n.next == nullptr ? b.last : n.next->previous) = n.previous;
  n.previous = n.next = nullptr;
  --size_;
}

MatchNode* MatchList::first(int source, int tag) const {
  for (MatchNode* n = buckets_[bucket_of(tag)].first; n != nullptr; n = n->next)
    if (n->tag == tag && (n->source == source || n->source == any_source || source == any_source)) return n;
  return nullptr;
}

// One tag stays in one bucket, and so in its order.
void MatchList::grow() {
  std::vector<Bucket> old(buckets_.size() * 4);
  old.swap(buckets_);
  for (const Bucket& b : old)
    for (MatchNode* n = b.first; n != nullptr;) {
      MatchNode* const next = n->next;
      append_to(buckets_[bucket_of(n->tag)], *n);
      n = next;
    }
}

}  // namespace libcoll::exec
