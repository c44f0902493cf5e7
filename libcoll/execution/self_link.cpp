// Messages of a rank to itself.
#include <algorithm>

#include "libcoll/execution/mailbox.hpp"
#include "libcoll/kernels/copy.hpp"

namespace libcoll::exec {

namespace {

class SelfLink final : public Link {
 public:
  using Link::Link;

  void send(MessageOp& op) override {
    Arrival a;
    a.source = peer;
    a.tag = op.tag;
    a.link = this;
    a.bytes = op.bytes;
    a.sender = &op;
    Arrival* const kept = box.arrived(a);
    if (kept == nullptr) return;
    if (op.bytes <= xport::shm::lane_copied_max && copies_ < xport::shm::lane_credit) {
      ++copies_;
      kept->sender = nullptr;
      box.hold(*kept, op.data);
      return box.finish(op);
    }
    waiting_.push_back(kept);
  }
  bool poll() override { return false; }
  bool advance() override { return false; }
  bool claim(Arrival& a, bool fits) override {
    if (a.sender == nullptr) --copies_;
    else if (!fits) done(a);
    return true;
  }
  void take(Arrival& a, MessageOp& op) override {
    if (op.bytes != 0) kernels::copy(op.data, a.sender != nullptr ? a.sender->data : a.data, op.bytes);
    box.finish(op);
    if (a.sender != nullptr) done(a);
  }
  void cancel(MessageOp& op) override {
    const auto at = std::find_if(waiting_.begin(), waiting_.end(), [&](const Arrival* a) { return a->sender == &op; });
    if (at == waiting_.end()) return;
    Arrival& a = **at;
    waiting_.erase(at);
    box.withdraw(a);
  }

 private:
  void done(Arrival& a) {
    std::erase(waiting_, &a);
    box.finish(*a.sender);
  }
  std::uint64_t copies_ = 0;
  std::vector<Arrival*> waiting_;  // messages whose senders are not done
};

}  // namespace

std::unique_ptr<Link> make_self_link(Mailbox& box, int peer) { return std::make_unique<SelfLink>(box, peer); }

}  // namespace libcoll::exec
