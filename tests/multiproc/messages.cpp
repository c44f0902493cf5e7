#include "tests/multiproc/messages.hpp"

#include <sched.h>

#include <cstring>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/multiproc/calls.hpp"
#include "tests/support/values.hpp"

namespace libcoll::test {
namespace {

void require(bool condition, const std::string& text) {
  if (!condition) throw std::runtime_error(text);
}

// Bytes that tell who sent them to whom, as which message.
std::vector<unsigned char> pattern(int from, int to, int tag, std::size_t bytes) {
  std::vector<unsigned char> v(bytes);
  std::uint32_t x = static_cast<std::uint32_t>(from * 7919 + to * 104729 + tag * 31 + 1);
  for (unsigned char& b : v) {
    x = x * 1664525u + 1013904223u;
    b = static_cast<unsigned char>(x >> 24);
  }
  return v;
}

using Bytes = std::vector<unsigned char>;

void require_pattern(const void* got, int from, int to, int tag, std::size_t bytes) {
  const Bytes want = pattern(from, to, tag, bytes);
  require(bytes == 0 || std::memcmp(got, want.data(), bytes) == 0,
          "rank " + std::to_string(to) + " got other bytes than rank " + std::to_string(from) + " sent: " + std::to_string(bytes) + " bytes, tag " + std::to_string(tag));
}

int right_of(const Comm& c, int by = 1) { return (c.rank() + by) % c.size(); }
int left_of(const Comm& c, int by = 1) { return (c.rank() + c.size() - by) % c.size(); }

constexpr std::size_t sizes[] = {0, 1, 48, 64, 96, 97, 112, 113, 4096, 8192, 8193, 65536, 65537, 1u << 20, (20u << 20) + 3};

// To the right neighbour and from the left one, all sends first. To oneself where a rank is alone.
void ring(Comm& c, const MessageOptions& o) {
  for (const std::size_t bytes : sizes) {
    if (bytes > o.most_bytes) continue;
    for (const bool arena : {false, true}) {
      if (arena && (!o.arena || bytes == 0)) continue;
      Bytes data = pattern(c.rank(), right_of(c), 3, bytes), got(bytes);
      std::optional<Buffer> shared;
      const void* from = data.data();
      if (arena) {
        shared.emplace(c.allocate(bytes));
        std::memcpy(shared->data(), data.data(), bytes);
        from = shared->data();
      }
      Message s = c.isend(from, bytes, right_of(c), 3);
      const int source = c.recv(got.data(), bytes, left_of(c), 3);
      s.wait();
      require(source == left_of(c) && s.bytes() == bytes && s.source() == -1, "ring: wrong source or length");
      require_pattern(got.data(), left_of(c), c.rank(), 3, bytes);
      c.barrier();  // the buffer goes
    }
  }
}

// Everybody to everybody, also to oneself; receives are posted before or after, and waited for in reverse.
void crossing(Comm& c, const MessageOptions& o) {
  for (const bool receives_first : {true, false})
    for (const std::size_t bytes : {std::size_t{5}, std::size_t{3000}, std::size_t{200000}}) {
      if (bytes > o.most_bytes) continue;
      const auto n = static_cast<std::size_t>(c.size());
      std::vector<Bytes> out, in(n, Bytes(bytes));
      std::vector<Message> messages;
      for (int r = 0; r < c.size(); ++r) out.push_back(pattern(c.rank(), r, 9, bytes));
      const auto receive = [&] {
        for (int r = 0; r < c.size(); ++r) messages.push_back(c.irecv(in[static_cast<std::size_t>(r)].data(), bytes, r, 9));
      };
      const auto send = [&] {
        for (int r = 0; r < c.size(); ++r) messages.push_back(c.isend(out[static_cast<std::size_t>(r)].data(), bytes, r, 9));
      };
      if (receives_first) receive(), send();
      else send(), receive();
      for (auto m = messages.rbegin(); m != messages.rend(); ++m)
        if (receives_first) m->wait();
        else while (!m->test()) sched_yield();
      for (int r = 0; r < c.size(); ++r) require_pattern(in[static_cast<std::size_t>(r)].data(), r, c.rank(), 9, bytes);
    }
}

// Each with a tag and a length of its own, received in the opposite order: all are unexpected.
void reverse_tags(Comm& c, const MessageOptions& o) {
  const int many = o.many;
  const auto bytes_of = [](int i) { return static_cast<std::size_t>(i % 5 == 0 ? 300 : i % 7 == 0 ? 20000 : i % 40); };
  std::vector<Bytes> out;
  std::vector<Message> sends;
  for (int i = 0; i < many; ++i) {
    out.push_back(pattern(c.rank(), right_of(c), i, bytes_of(i)));
    sends.push_back(c.isend(out.back().data(), out.back().size(), right_of(c), i));
  }
  for (int i = many - 1; i >= 0; --i) {
    Bytes got(bytes_of(i));
    c.recv(got.data(), got.size(), i % 2 == 0 ? left_of(c) : any_source, i);
    require_pattern(got.data(), left_of(c), c.rank(), i, got.size());
  }
  for (Message& m : sends) m.wait();
}

// Equal tags do not overtake each other, whatever their sizes, whether or not they were expected.
void in_order(Comm& c, const MessageOptions& o) {
  const int many = o.many / 10;
  std::mt19937 random(static_cast<unsigned>(o.seed));
  std::vector<std::uint32_t> lengths;
  for (int i = 0; i < many; ++i) lengths.push_back(random() % 10 == 0 ? 4 + random() % 40000 : 4 + random() % 300);
  std::vector<Bytes> out, in;
  std::vector<Message> messages;
  for (int i = 0; i < many; ++i) {
    out.emplace_back(lengths[static_cast<std::size_t>(i)]);
    std::memcpy(out.back().data(), &i, sizeof i);
    in.emplace_back(lengths[static_cast<std::size_t>(i)]);
  }
  for (int i = 0; i < many; ++i) {
    messages.push_back(c.isend(out[static_cast<std::size_t>(i)].data(), out[static_cast<std::size_t>(i)].size(), right_of(c), 1));
    if (i % 3 == 2)
      for (int k = i - 2; k <= i; ++k) messages.push_back(c.irecv(in[static_cast<std::size_t>(k)].data(), in[static_cast<std::size_t>(k)].size(), k % 2 == 0 ? left_of(c) : any_source, 1));
  }
  for (int k = many / 3 * 3; k < many; ++k) c.recv(in[static_cast<std::size_t>(k)].data(), in[static_cast<std::size_t>(k)].size(), left_of(c), 1);
  for (Message& m : messages) m.wait();
  for (int i = 0; i < many; ++i) {
    int got = -1;
    std::memcpy(&got, in[static_cast<std::size_t>(i)].data(), sizeof got);
    require(got == i, "message " + std::to_string(got) + " came as number " + std::to_string(i));
  }
}

// As many small messages are done unasked as docs/adr/0011 says, and no more; of large ones what fits.
void bounded(Comm& c, const MessageOptions& o) {
  constexpr int most = 64;
  c.barrier();  // nothing of before is left
  for (const std::size_t bytes : {std::size_t{8}, std::size_t{2000}}) {
    std::vector<Bytes> out;
    std::vector<Message> sends;
    for (int i = 0; i < 2 * most; ++i) {
      out.push_back(pattern(c.rank(), right_of(c), 40 + i, bytes));
      sends.push_back(c.isend(out.back().data(), bytes, right_of(c), 40 + i));
    }
    const auto count = [&] {
      int done = 0;
      for (Message& m : sends) done += m.test();
      return done;
    };
    // All that can be are done as soon as everybody has made a few calls.
    for (int i = 0; i < 20; ++i) c.barrier(), count();
    const int done = count();
    c.barrier();
    // Between hosts word of those that met a receive may be late, and then all wait.
    require(done <= most && (o.network || done >= (bytes <= 96 ? most : 8)), std::to_string(done) + " unasked messages of " + std::to_string(bytes) + " bytes are done");
    // The last first: its envelope has come, whatever is before it.
    for (int i = 2 * most - 1; i >= 0; --i) {
      Bytes got(bytes);
      c.recv(got.data(), bytes, left_of(c), 40 + i);
      require_pattern(got.data(), left_of(c), c.rank(), 40 + i, bytes);
    }
    for (Message& m : sends) m.wait();
    c.barrier();
  }
}

// All to rank 0, which asks for any; the source and the order of each sender are right.
void from_anybody(Comm& c, const MessageOptions& o) {
  constexpr int each = 20;
  const auto bytes_of = [&](int i) { return std::min(o.most_bytes, i % 4 == 3 ? std::size_t{100000} : std::size_t{8}); };
  if (c.rank() != 0) {
    for (int i = 0; i < each; ++i) {
      Bytes data(bytes_of(i));
      std::memcpy(data.data(), &i, sizeof i);
      c.send(data.data(), data.size(), 0, i % 4 == 3 ? 6 : 5);
    }
    return;
  }
  std::vector<int> seen(static_cast<std::size_t>(c.size()), 0);
  for (int k = 0; k < each / 4 * (c.size() - 1); ++k) {
    Bytes large(bytes_of(3));
    Message m = c.irecv(large.data(), large.size(), any_source, 6);
    for (int j = 0; j < 3; ++j) {
      Bytes small(8);
      const int from = c.recv(small.data(), small.size(), any_source, 5);
      int i = -1;
      std::memcpy(&i, small.data(), sizeof i);
      int& next = seen[static_cast<std::size_t>(from)];
      if (next % 4 == 3) ++next;
      require(i == next++, "rank " + std::to_string(from) + ": message " + std::to_string(i));
    }
    m.wait();
    require(m.source() > 0 && m.source() < c.size(), "a large message from nobody");
  }
}

// Messages and collectives of one communicator do not wait for each other, and communicators do not see each other's.
void apart(Comm& c, const MessageOptions& o) {
  Comm other = c.dup();
  const std::size_t large = std::min<std::size_t>(o.most_bytes, 300000);
  for (const std::size_t bytes : {std::size_t{4}, large}) {
    Bytes a = pattern(c.rank(), right_of(c), 1, bytes), b = pattern(c.rank(), right_of(c), 2, bytes), x(bytes), y(bytes);
    Message first = c.isend(a.data(), bytes, right_of(c)), second = other.isend(b.data(), bytes, right_of(c));
    require(c.allreduce(1, Op::sum) == c.size(), "an allreduce beside messages is wrong");
    // In opposite order by even and odd ranks.
    Comm& one = c.rank() % 2 == 0 ? other : c;
    Comm& two = c.rank() % 2 == 0 ? c : other;
    Message late = two.irecv((&two == &c ? x : y).data(), bytes, left_of(c));
    Request barrier = two.ibarrier();
    one.barrier();
    barrier.wait();
    one.recv((&one == &c ? x : y).data(), bytes, left_of(c));
    late.wait();
    first.wait();
    second.wait();
    require_pattern(x.data(), left_of(c), c.rank(), 1, bytes);
    require_pattern(y.data(), left_of(c), c.rank(), 2, bytes);
  }
  other.close();
}

// A collective's wait moves messages on that need this rank.
void moved_on_by_a_collective(Comm& c, const MessageOptions& o) {
  const std::size_t bytes = std::min<std::size_t>(o.most_bytes, 3u << 20);
  Bytes data = pattern(c.rank(), right_of(c), 4, bytes), got(bytes);
  Message s = c.isend(data.data(), bytes, right_of(c), 4), r = c.irecv(got.data(), bytes, left_of(c), 4);
  // Odd ranks wait for their messages before they come to the barrier, even ones do nothing else.
  if (c.rank() % 2 != 0) r.wait(), s.wait();
  c.barrier();
  r.wait();
  s.wait();
  require_pattern(got.data(), left_of(c), c.rank(), 4, bytes);
}

// Of another length: the receiver is told, and all goes on.
void other_lengths(Comm& c, const MessageOptions& o) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{10}, std::size_t{5000}, std::size_t{60000}, std::size_t{600000}}) {
    if (bytes > o.most_bytes) continue;
    for (const bool expected : {false, true}) {
      Bytes data(bytes), got(bytes + 7);
      Message s, r;
      if (expected) r = c.irecv(got.data(), got.size(), left_of(c), 8);
      c.barrier();
      s = c.isend(data.data(), bytes, right_of(c), 8);
      if (!expected) r = c.irecv(got.data(), got.size(), left_of(c), 8);
      const Outcome end = outcome_of([&] { r.wait(); });
      require(end.code == Errc::mismatch && end.peer == left_of(c) && end.text.find("sent " + std::to_string(bytes) + " bytes where " + std::to_string(bytes + 7)) != std::string::npos,
              "another length: " + end.text);
      s.wait();
    }
  }
  ring(c, {.most_bytes = 100000, .many = 0, .arena = false});
}

void cancelling(Comm& c, const MessageOptions& o) {
  // A receive that nobody meets leaves no trace.
  int a = -1, b = c.rank(), d = -1;
  Message never = c.irecv(&a, sizeof a, left_of(c), 70), anybody = c.irecv(&a, sizeof a, any_source, 70);
  never.cancel();
  anybody.cancel();
  require(!never && !anybody, "a cancelled receive is still something");
  c.barrier();
  c.send(&b, sizeof b, right_of(c), 70);
  c.recv(&d, sizeof d, left_of(c), 70);
  require(a == -1 && d == left_of(c), "a cancelled receive took a message");
  // A send that was not taken meets no receive, or ends one; what is sent afterwards comes.
  for (const std::size_t bytes : {std::size_t{9000}, std::size_t{70000}, std::size_t{2000000}}) {
    if (bytes > o.most_bytes) continue;
    Bytes data = pattern(c.rank(), right_of(c), 71, bytes), got(bytes);
    { Message dropped = c.isend(data.data(), bytes, right_of(c), 71); }
    Message sent = c.isend(data.data(), bytes, right_of(c), 71);
    c.barrier();
    const Outcome first = outcome_of([&] { c.recv(got.data(), bytes, left_of(c), 71); });
    require(first.code == Errc::ok || (first.code == Errc::mismatch && first.peer == left_of(c)), "after a cancelled send: " + first.text);
    if (first.code == Errc::mismatch) c.recv(got.data(), bytes, left_of(c), 71);
    require_pattern(got.data(), left_of(c), c.rank(), 71, bytes);
    // A message that went unasked may have been faster than its cancellation.
    Message other = c.irecv(got.data(), bytes, left_of(c), 71);
    if (!sent.test()) sent.wait();
    c.barrier();
    if (other.test()) require_pattern(got.data(), left_of(c), c.rank(), 71, bytes);
    other.cancel();
    c.barrier();
  }
  // A receive in the middle of a message.
  const std::size_t large = std::min<std::size_t>(o.most_bytes, 4u << 20);
  Bytes data(large), got(large);
  Message s = c.isend(data.data(), large, right_of(c), 72);
  c.barrier();
  Message r = c.irecv(got.data(), large, left_of(c), 72);
  r.test();
  r.cancel();
  // The receiver goes on taking it, unless it had not come yet: then it is for the next.
  Message next = c.irecv(got.data(), large, left_of(c), 72);
  s.wait();
  c.barrier();
  next.cancel();
  c.barrier();
}

void refusals(Comm& c) {
  int x = 0;
  const auto expect = [&](Errc want, const char* word, const std::function<void()>& f) {
    const Outcome o = outcome_of(f);
    require(o.code == want && o.text.find(word) != std::string::npos && o.text.find("rank " + std::to_string(c.rank())) != std::string::npos, std::string(word) + ": " + o.text);
  };
  expect(Errc::invalid_argument, "dest is -1", [&] { c.send(&x, 4, -1); });
  expect(Errc::invalid_argument, "dest is ", [&] { c.isend(&x, 4, c.size()); });
  expect(Errc::invalid_argument, "source is -2", [&] { c.recv(&x, 4, -2); });
  expect(Errc::invalid_argument, "any_source", [&] { c.irecv(&x, 4, c.size()); });
  expect(Errc::invalid_argument, "tag is -1", [&] { c.send(&x, 4, 0, -1); });
  expect(Errc::invalid_argument, "data is a null pointer", [&] { c.recv(nullptr, 4, 0); });
  expect(Errc::invalid_argument, "timeout_s is -1", [&] { c.recv(&x, 4, 0, 0, {.timeout_s = -1}); });
  expect(Errc::invalid_argument, "algorithm is \"ring\"", [&] { c.recv(&x, 4, 0, 0, {.algorithm = "ring"}); });
  expect(Errc::unsupported, "stream", [&] { c.recv(&x, 4, 0, 0, {.stream = nullptr}); });
  expect(Errc::unsupported, "memory", [&] { c.recv(&x, 4, 0, 0, {.memory = Memory::device}); });
  const Message nothing;
  require(!nothing, "an empty message is something");
}

void late(Comm& c) {
  int x = 0;
  const Outcome o = outcome_of([&] { c.recv(&x, sizeof x, left_of(c), 90, {.timeout_s = 0.05}); });
  require(o.code == Errc::timeout && o.peer == left_of(c) && o.text.find("within 0.05 s") != std::string::npos, "a late message: " + o.text);
  Bytes large(1u << 20);
  Message m = c.irecv(&x, sizeof x, any_source, 91, {.timeout_s = 0.05});
  Outcome end;
  do end = outcome_of([&] { m.test(); });
  while (m);
  require(end.code == Errc::timeout && end.peer == -1, "a late message of anybody: " + end.text);
  if (c.size() > 1) {
    end = outcome_of([&] { c.send(large.data(), large.size(), right_of(c), 92, {.timeout_s = 0.05}); });
    require(end.code == Errc::timeout && end.peer == right_of(c), "a send that nobody takes: " + end.text);
  }
  c.barrier();
}

// Nothing of what is left on a communicator is in the way of its close.
void left_behind(Comm& c) {
  Comm part = c.dup();
  Bytes small(8), large(1u << 20), in(1u << 20), unmet(8);
  for (int i = 0; i < 40; ++i) part.isend(small.data(), small.size(), right_of(c), i).cancel();
  Message eager = part.isend(small.data(), small.size(), right_of(c), 1), stays = part.isend(large.data(), large.size(), right_of(c), 2);
  Message never = part.irecv(unmet.data(), unmet.size(), any_source, 77);
  part.close();
  for (Message* m : {&eager, &stays, &never}) {
    const Outcome o = outcome_of([&] { m->wait(); });
    require(o.code == Errc::ok || o.code == Errc::closed, "after close: " + o.text);
    require(!*m, "not done after close");
  }
  require(c.size() == 1 || outcome_of([&] { c.barrier(); }).code == Errc::ok, "the parent does not work");
}

}  // namespace

void check_messages(Comm& c, const MessageOptions& o) {
  refusals(c);
  ring(c, o);
  crossing(c, o);
  reverse_tags(c, o);
  in_order(c, o);
  bounded(c, o);
  from_anybody(c, o);
  apart(c, o);
  moved_on_by_a_collective(c, o);
  other_lengths(c, o);
  cancelling(c, o);
  late(c);
  left_behind(c);
  expect_usable(c);
}

}  // namespace libcoll::test
