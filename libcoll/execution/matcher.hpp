// MatchList: the receives that wait for a message, or the messages that wait for a receive, of one communicator on one
// rank. The first that was appended matches first. Not thread-safe; allocates only when it grows.
#pragma once

#include <cstddef>
#include <vector>

#include "libcoll/message.hpp"

namespace libcoll::exec {

struct MatchNode {
  int source = any_source;  // of a receive: any_source takes them all
  int tag = 0;
  MatchNode* previous = nullptr;
  MatchNode* next = nullptr;
};

class MatchList {
 public:
  MatchList() : buckets_(16) {}
  // It must not move until it is removed.
  void append(MatchNode&);
  void remove(MatchNode&);
  // The oldest of this tag and source, any_source on either side being all of them; or null.
  MatchNode* first(int source, int tag) const;
  std::size_t size() const { return size_; }
  // All, in no order; `to` may remove the one that it is given.
  template <class To>
  void each(const To& to) {
    for (std::size_t i = 0; i < buckets_.size(); ++i)
      for (MatchNode* n = buckets_[i].first; n != nullptr;) {
        MatchNode* const next = n->next;
        to(*n);
        n = next;
      }
  }

 private:
  struct Bucket { MatchNode *first = nullptr, *last = nullptr; };
  std::size_t bucket_of(int tag) const;
  static void append_to(Bucket&, MatchNode&);
  void grow();
  std::vector<Bucket> buckets_;  // by tag; a power of two
  std::size_t size_ = 0;
};

}  // namespace libcoll::exec
