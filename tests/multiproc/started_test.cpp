// What is special about started and persistent collectives: lifetimes, order, progress, errors.
#include <gtest/gtest.h>
#include <sched.h>

#include <mutex>
#include <thread>

#include "tests/multiproc/context.hpp"
#include "tests/multiproc/jobs.hpp"
#include "tests/support/ranks.hpp"

namespace libcoll::test {
namespace {

void require(bool condition, const std::string& text) {
  if (!condition) throw std::runtime_error(text);
}
void expect_code(Errc want, const std::function<void()>& f, const char* word = "") {
  const Outcome o = outcome_of(f);
  require(o.code == want && o.text.find(word) != std::string::npos, std::string(libcoll::name_of(o.code)) + " and not " + libcoll::name_of(want) + ": " + o.text);
}

// As in communicators_test: how threads reuse each other's arena memory cannot be seen by ThreadSanitizer.
#if defined(__SANITIZE_THREAD__)
constexpr bool sees_threads = true;
#else
constexpr bool sees_threads = false;
#endif

constexpr std::size_t some_bytes = 1u << 20;

struct Setting {
  const char* name;
  bool forked;
  int ranks;
  const char* single_copy;
};
void PrintTo(const Setting& s, std::ostream* out) { *out << s.name; }

std::string run(const Setting& s, const Body& body, bool progress_thread = false) {
  Launch launch{.ranks = s.ranks, .watchdog_s = 60};
  launch.config.timeout_s = 20;
  launch.config.single_copy = sees_threads ? "off" : s.single_copy;
  launch.config.progress_thread = progress_thread;
  return s.forked ? run_forked(launch, body) : run_threads(launch, body);
}

class Started : public testing::TestWithParam<Setting> {
 protected:
  // Equal on all ranks.
  static Random random() { return Random(test_seed()); }
};

TEST_P(Started, ManyInFlightInAnyOrder) {
  for (const bool progress_thread : {false, true})
    EXPECT_EQ(run(GetParam(), [](Comm& c) {
                Random r = random();
                for (int round = 0; round < (test_scale() < 1 ? 2 : 6); ++round) run_many_in_flight(c, r, round % 2 == 0 ? some_bytes : 4096, sees_threads);
                run_opposite_order(c, r, some_bytes);
              }, progress_thread), "") << (progress_thread ? "with a progress thread" : "");
}

// Large ones of every kind, from private memory and from the arena, so that all go piece by piece.
TEST_P(Started, LargeBuffers) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              for (const bool arena : {false, true})
                for (const Which w : all_calls) {
                  Job a(c, w, (4 << 20) / 8 / c.size(), test_seed(), c.size() - 1, arena && !sees_threads), b(c, w, 5, test_seed() + 1, 0, false);
                  Request first = start(c, w, a.args), second = start(c, w, b.args);
                  second.wait();
                  b.verify();
                  first.wait();
                  a.verify();
                }
            }), "");
}

TEST_P(Started, DroppedRequestsGoOnByThemselves) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              Random r = random();
              for (int round = 0; round < 4; ++round) {
                std::vector<std::unique_ptr<Job>> jobs;
                for (int i = 0; i < 12; ++i) {
                  jobs.push_back(draw_job(c, r, some_bytes / 4, sees_threads));
                  static_cast<void>(start(c, jobs.back()->which, jobs.back()->args));
                }
                Request last = c.ibarrier();
                if (round % 2 == 0) last.wait();
                else last = Request();
                c.barrier();
                for (const auto& j : jobs) j->verify();
              }
            }), "");
}

TEST_P(Started, CloseFinishesWhatIsUnderWay) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              Random r = random();
              Comm part = c.dup();
              std::vector<std::unique_ptr<Job>> jobs;
              std::vector<Request> requests;
              for (int i = 0; i < 10; ++i) {
                jobs.push_back(draw_job(c, r, some_bytes / 4, sees_threads));
                requests.push_back(start(part, jobs.back()->which, jobs.back()->args));
              }
              Job again(c, Which::allreduce, 1000, 1, 0, false);
              Persistent persistent = plan(part, again.which, again.args), never = plan(part, again.which, again.args);
              persistent.start();
              part.close();
              wait_all(requests);
              persistent.wait();
              for (const auto& j : jobs) j->verify();
              again.verify();
              expect_code(Errc::closed, [&] { persistent.start(); });
              require(never.test(), "a plan that was never started");
            }), "");
}

// Handles outlive the world and everything that moved them on.
TEST_P(Started, HandlesMayOutliveTheWorld) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              Job small(c, Which::allreduce, 2, 5, 0, false), large(c, Which::alltoall, 20000, 6, 0, false);
              std::vector<Request> requests;
              requests.push_back(start(c, large.which, large.args));
              requests.push_back(start(c, small.which, small.args));
              Persistent persistent = plan(c, small.which, small.args);
              c.close();
              require(!requests[0] || requests[0].test(), "not done after close");
              requests[1].wait();
              large.verify();
              small.verify();
              expect_code(Errc::closed, [&] { persistent.start(); });
            }), "");
}

// A Comm that is destroyed without close ends its operations: their buffers are the caller's again.
TEST_P(Started, DestroyedCommunicatorEndsItsRequests) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              Comm part = c.dup(), tiny = c.dup();
              c.barrier();
              Job large(c, Which::alltoall, 20000, 7, 0, false), small(c, Which::allreduce, 1, 8, 0, false);
              Request first = start(part, large.which, large.args), second = start(part, small.which, small.args);
              Request alone = start(tiny, small.which, small.args);
              part = Comm();
              tiny = Comm();
              for (Request* r : {&first, &second, &alone}) {
                const Outcome o = outcome_of([&] { r->wait(); });
                require(o.code == Errc::ok || o.code == Errc::closed, o.text);
                require(!*r, "not done");
              }
              expect_usable(c);
            }), "");
}

// -- Errors ---------------------------------------------------------------------------------------

struct Spoiled {
  Which which;
  void (*spoil)(Args&);
  const char* word;
};
const Spoiled spoiled[] = {{Which::allreduce, [](Args& x) { x.count = -3; }, "count is -3"},
                           {Which::bcast, [](Args& x) { x.root = -1; }, "root is -1"},
                           {Which::allgather, [](Args& x) { x.send = nullptr; }, "send is a null"},
                           {Which::scan, [](Args& x) { x.op = Op::avg; }, "avg"},
                           {Which::alltoallv, [](Args& x) { x.counts.pop_back(); }, "recv_counts has"},
                           {Which::reduce_scatter, [](Args& x) { x.counts[0] = -1; }, "counts[0] is -1"},
                           {Which::allgatherv, [](Args& x) { x.displs[0] = -1; }, "displs[0] is -1"},
                           {Which::barrier, [](Args& x) { x.options.algorithm = "pancake"; }, "pancake"},
                           {Which::reduce, [](Args& x) { x.options.timeout_s = -1; }, "timeout_s"}};

TEST_P(Started, BadArgumentsAreNamedAndHarmless) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              for (int odd = -1; odd < c.size(); ++odd)
                for (const Spoiled& s : spoiled) {
                  const bool wrong = odd < 0 || odd == c.rank();
                  Args good(c), x(c);
                  Request before = start(c, Which::allgather, good);
                  if (wrong) s.spoil(x);
                  Request r;
                  if (wrong) {
                    expect_code(Errc::invalid_argument, [&] { r = start(c, s.which, x); }, s.word);
                    require(!r, "a refused call left a request");
                  } else {
                    r = start(c, s.which, x);
                    const Outcome o = outcome_of([&] { r.wait(); });
                    require(o.code == Errc::mismatch ? o.peer == odd : o.code == Errc::ok && !all_see_all(s.which), "neither mismatch nor finished: " + o.text);
                  }
                  before.wait();
                  expect_usable(c);
                  // Planning is nobody else's business.
                  if (wrong) expect_code(Errc::invalid_argument, [&] { (void)plan(c, s.which, x); }, s.word);
                  expect_usable(c);
                }
            }), "");
}

TEST_P(Started, MismatchIsReportedByWait) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              for (const Count n : {Count{3}, Count{500}, Count{40000}})
                for (int odd = 0; c.size() > 1 && odd < c.size(); ++odd) {
                  Job before(c, Which::allgather, n, 3, 0, false), after(c, Which::alltoall, n, 4, 0, false);
                  Args x(c, n), y(c, n);
                  if (odd == c.rank()) x.count -= 1, y.count -= 1;
                  Request a = start(c, before.which, before.args), b = start(c, Which::allreduce, x), d = start(c, after.which, after.args);
                  const Outcome o = outcome_of([&] { finish(b, n % 2 == 0); });
                  require(o.code == Errc::mismatch && o.text.find("allreduce") != std::string::npos, "wait: " + o.text);
                  require(!b, "the error was reported but the request is not done");
                  b.wait();  // once only
                  d.wait();
                  a.wait();
                  before.verify();
                  after.verify();
                  Persistent p = plan(c, Which::allreduce, y);
                  for (int k = 0; k < 2; ++k) {
                    p.start();
                    expect_code(Errc::mismatch, [&] { p.wait(); });
                  }
                  expect_usable(c);
                }
            }), "");
}

TEST_P(Started, HandlesMoveAndEmptyOnesAreDone) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              Request none;
              none.wait();
              require(none.test() && !none, "an empty request");
              Persistent empty;
              empty.wait();
              require(empty.test(), "an empty persistent");
              expect_code(Errc::closed, [&] { empty.start(); });
              std::vector<Request> nothing(3);
              require(wait_any(nothing) == 3 && test_any(nothing) == 3 && test_all(nothing), "any of none");
              wait_all(nothing);
              wait_all({});

              Job a(c, Which::allreduce, 700, 1, 0, false), b(c, Which::bcast, 30000, 2, 0, false);
              Request first = start(c, a.which, a.args), second = start(c, b.which, b.args);
              Request moved = std::move(first);
              require(!first && moved && first.test(), "moved from");
              std::swap(moved, second);
              moved.wait();
              b.verify();
              second.wait();
              a.verify();

              Persistent p = plan(c, a.which, a.args);
              p.wait();  // never started
              for (int k = 0; k < 3; ++k) {
                a.tag += 1;
                a.fill();
                p.start();
                Persistent q = std::move(p);
                expect_code(Errc::invalid_argument, [&] { q.start(); }, "start");
                expect_code(Errc::closed, [&] { p.start(); });
                q.wait();
                a.verify();
                p = std::move(q);
              }
            }), "");
}

// The operation is copied, its function called for every element.
TEST_P(Started, UserOperationsAreCopied) {
  EXPECT_EQ(run(GetParam(), [](Comm& c) {
              for (const Count n : {Count{1}, Count{3000}, Count{90000}}) {
                std::vector<double> in(static_cast<std::size_t>(n), c.rank() + 1.0), out(in.size());
                std::atomic<std::size_t> folded{0};
                Request r;
                Persistent p;
                {
                  CustomOp product{.function = [](const void* a, void* b, std::size_t k, DType, void* context) {
                                     for (std::size_t i = 0; i < k; ++i) static_cast<double*>(b)[i] *= static_cast<const double*>(a)[i];
                                     *static_cast<std::atomic<std::size_t>*>(context) += k;
                                   }, .context = &folded, .commutative = true};
                  r = c.iallreduce(in.data(), out.data(), n, DType::f64, product);
                  p = c.plan_allreduce(in.data(), out.data(), n, DType::f64, product);
                  product.function = nullptr;
                }
                double want = 1;
                for (int k = 2; k <= c.size(); ++k) want *= k;
                r.wait();
                require(out.front() == want && out.back() == want, "product");
                out.assign(out.size(), 0);
                p.start();
                p.wait();
                require(out.front() == want && out.back() == want && (folded > 0) == (c.size() > 1), "product, planned");
              }
            }), "");
}

TEST_P(Started, AloneAndThenNot) { EXPECT_EQ(run(GetParam(), run_alone_and_then_not), ""); }
TEST_P(Started, PooledOperationsForget) { EXPECT_EQ(run(GetParam(), run_from_one_pool), ""); }
TEST_P(Started, PlansOutliveTheCache) { EXPECT_EQ(run(GetParam(), run_beyond_the_cache), ""); }

INSTANTIATE_TEST_SUITE_P(Settings, Started,
                         testing::Values(Setting{"one_thread", false, 1, "on"}, Setting{"two_threads", false, 2, "off"}, Setting{"five_threads", false, 5, "on"},
                                         Setting{"two_processes", true, 2, "on"}, Setting{"three_processes", true, 3, "off"}),
                         [](const auto& test) { return test.param.name; });

// -- Threads --------------------------------------------------------------------------------------

// Each rank has four threads, each with requests on communicators of its own.
TEST(StartedByThreads, EachOnItsOwnCommunicator) {
  for (const bool progress_thread : {false, true}) {
    Launch launch{.ranks = 2, .watchdog_s = 100};
    launch.config.progress_thread = progress_thread;
    if (sees_threads) launch.config.single_copy = "off";
    EXPECT_EQ(run_threads(launch, [](Comm& world) {
                std::vector<Comm> comms;
                for (int t = 0; t < 4; ++t) comms.push_back(world.dup());
                std::mutex mutex;
                std::string first;
                std::vector<std::thread> threads;
                for (std::size_t t = 0; t < comms.size(); ++t)
                  threads.emplace_back([&, t] {
                    try {
                      Random random(test_seed() + t);
                      for (int round = 0; round < 3; ++round) run_many_in_flight(comms[t], random, 1u << 16, sees_threads);
                      comms[t].close();
                    } catch (const std::exception& e) {
                      const std::lock_guard lock(mutex);
                      if (first.empty()) first = e.what();
                    }
                  });
                for (std::thread& t : threads) t.join();
                require(first.empty(), first);
                expect_usable(world);
              }), "") << (progress_thread ? "with a progress thread" : "");
  }
}

// Between start and wait no rank calls the library, until all elements were combined somewhere: only the
// thread can have done it. Without one this never ends.
TEST(ProgressThread, MovesThingsOnWhileNobodyCalls) {
  constexpr Count n = 200000;
  constexpr int ranks = 3;
  std::atomic<std::size_t> folded{0};
  const CustomOp sum{.function = [](const void* a, void* b, std::size_t k, DType, void* context) {
                       for (std::size_t i = 0; i < k; ++i) static_cast<double*>(b)[i] += static_cast<const double*>(a)[i];
                       *static_cast<std::atomic<std::size_t>*>(context) += k;
                     }, .context = &folded};
  Launch launch{.ranks = ranks, .watchdog_s = 60};
  launch.config.progress_thread = true;
  launch.config.single_copy = "off";
  EXPECT_EQ(run_threads(launch, [&](Comm& c) {
              std::vector<double> in(n, c.rank()), out(n);
              for (std::size_t round = 1; round <= 3; ++round) {
                Request r = c.iallreduce(in.data(), out.data(), n, DType::f64, sum, {.algorithm = "sliced"});
                while (folded < round * n * (ranks - 1)) sched_yield();
                r.wait();
                require(out[0] == 3 && out[n - 1] == 3, "sum");
              }
            }), "");
}

}  // namespace
}  // namespace libcoll::test
