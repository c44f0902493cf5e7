// Many started collectives at once: part of the body, so that every launcher runs it.
#include <sched.h>

#include <algorithm>

#include "tests/multiproc/jobs.hpp"

namespace libcoll::test {

void run_many_in_flight(Comm& c, Random& random, std::size_t most_bytes, bool private_only) {
  constexpr std::size_t many = 32;
  std::vector<std::unique_ptr<Job>> jobs;
  std::vector<Request> requests;
  for (std::size_t i = 0; i < many; ++i) {
    jobs.push_back(draw_job(c, random, most_bytes, private_only));
    requests.push_back(start(c, jobs[i]->which, jobs[i]->args));
    jobs[i]->forget_tables();
    if (random() % 16 != 0) continue;
    const auto between = draw_job(c, random, most_bytes, private_only);
    call(c, between->which, between->args);
    between->verify();
  }
  Random own(random() + static_cast<std::uint64_t>(c.rank()));
  switch (own() % 5) {
    case 0:
      wait_all(requests);
      break;
    case 1:
      while (!test_all(requests)) sched_yield();
      break;
    case 2:
      for (std::size_t done = 0, i = 0; (i = wait_any(requests)) != many; ++done) {
        if (done == many) throw std::runtime_error("wait_any found more than there are");
        jobs[i]->verify();
      }
      break;
    case 3:
      for (std::size_t left = many; left != 0;)
        if (const std::size_t i = test_any(requests); i != many) jobs[i]->verify(), --left;
        else sched_yield();
      break;
    default: {
      std::vector<std::size_t> order(many);
      for (std::size_t i = 0; i < many; ++i) order[i] = i;
      std::shuffle(order.begin(), order.end(), own);
      for (const std::size_t i : order) {
        requests[i].wait();
        jobs[i]->verify();
      }
    }
  }
  for (std::size_t i = 0; i < many; ++i) {
    if (requests[i] || !requests[i].test()) throw std::runtime_error("a request is not done after all were waited for");
    jobs[i]->verify();
  }
}

void run_opposite_order(Comm& c, Random& random, std::size_t most_bytes) {
  Comm other = c.dup();
  for (int round = 0; round < 6; ++round) {
    const auto a = draw_job(c, random, most_bytes), b = draw_job(other, random, most_bytes);
    Request first = start(c, a->which, a->args), second = start(other, b->which, b->args);
    if (c.rank() % 2 != 0) std::swap(first, second);
    first.wait();
    second.wait();
    a->verify();
    b->verify();
  }
  other.close();
}

}  // namespace libcoll::test
