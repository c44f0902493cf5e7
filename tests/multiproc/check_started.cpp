// Many started collectives at once: part of the body, so that every launcher runs it.
#include <sched.h>

#include <algorithm>
#include <cstring>

#include "tests/multiproc/jobs.hpp"

namespace libcoll::test {
namespace {

void require(bool condition, const char* text) {
  if (!condition) throw std::runtime_error(text);
}
void expect_code(Errc want, const std::function<void()>& f) {
  const Outcome o = outcome_of(f);
  if (o.code != want) throw std::runtime_error(std::string(name_of(o.code)) + " and not " + name_of(want) + ": " + o.text);
}

}  // namespace

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

void run_alone_and_then_not(Comm& c) {
  for (int round = 0; round < 40; ++round) {
    Job a(c, Which::allreduce, 1 + round % 3, round, 0, false), b(c, Which::allreduce, 2, round + 1, 0, false), d(c, Which::allgather, 9000, round + 2, 0, false);
    Request first = start(c, a.which, a.args);
    switch (round % 8) {
      case 0: break;
      case 1: first.test(); break;
      case 2: call(c, b.which, b.args), b.verify(); break;
      case 3: start(c, d.which, d.args).wait(), d.verify(); break;
      case 4: static_cast<void>(start(c, b.which, b.args)), c.barrier(), b.verify(); break;
      case 5: first = Request(), c.barrier(); break;
      case 6: first = Request(), start(c, b.which, b.args).wait(), b.verify(), c.barrier(); break;
      default: {
        Comm other = c.dup();
        Request second = start(other, b.which, b.args), third = start(other, d.which, d.args);
        if (c.rank() % 2 != 0) third.wait(), second.wait();
        first.wait();
        second.wait(), third.wait();
        b.verify(), d.verify();
        other.close();
      }
    }
    first.wait();
    a.verify();
  }
}

void run_from_one_pool(Comm& c) {
  const CustomOp last{.function = [](const void* a, void* b, std::size_t n, DType, void*) { std::memcpy(b, a, n * sizeof(double)); }};
  const auto n = static_cast<std::size_t>(c.size());
  std::vector<Count> counts(n, 1), displs(n);
  for (std::size_t r = 0; r < n; ++r) displs[r] = static_cast<Count>(r);
  std::vector<double> all(n);
  const double ranks = c.size();
  double x = 0, sum = 0;
  float y = 0, wide[2] = {}, most[2] = {};
  for (int round = 1; round < 30; ++round) {
    x = y = wide[0] = static_cast<float>(round);
    wide[1] = static_cast<float>(c.rank());
    c.iallreduce(&x, &sum, 1, DType::f64, Op::sum).wait();
    require(sum == round * ranks, "sum");
    c.iallreduce(in_place, &sum, 1, DType::f64, Op::max, {.timeout_s = 10}).wait();
    require(sum == round * ranks, "in place");
    c.iallreduce(wide, most, 2, DType::f32, Op::max).wait();
    require(most[0] == wide[0] && most[1] == static_cast<float>(c.size() - 1), "max");
    if (round % 3 == 0) c.iallreduce(&x, &sum, 1, DType::f64, last).wait();
    if (round % 4 == 0) c.iallgatherv(&x, 1, all.data(), counts, displs, DType::f64).wait();
    if (round % 5 == 0) c.ibarrier().wait();
    if (c.size() > 1 && round % 7 == 0) {
      expect_code(Errc::mismatch, [&] { c.iallreduce(&y, &sum, 1, DType::f32, c.rank() == 0 ? Op::min : Op::max).wait(); });
      expect_code(Errc::invalid_argument, [&] { c.iallreduce(&x, nullptr, 1, DType::f64, Op::sum).wait(); });
    }
    float total = 0;
    c.iallreduce(&y, &total, 1, DType::f32, Op::sum).wait();
    require(total == static_cast<float>(round * ranks), "float sum");
  }
}

void run_beyond_the_cache(Comm& c) {
  Job a(c, Which::allreduce, 1, 3, 0, false), between(c, Which::allreduce, 1, 4, 0, false);
  Persistent p = plan(c, a.which, a.args);
  for (int round = 0; round < 3; ++round) {
    p.start();
    p.wait();
    a.verify();
    p.start();
    for (Count n = 1; n < 200; ++n) {
      Job b(c, n % 2 == 0 ? Which::allreduce : Which::bcast, n, round, 0, false);
      Request r = start(c, b.which, b.args);
      if (n % 3 == 0) call(c, between.which, between.args);
      r.wait();
      b.verify();
    }
    p.wait();
    a.verify();
  }
}

}  // namespace libcoll::test
