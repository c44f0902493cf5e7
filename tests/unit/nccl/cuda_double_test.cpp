// The double's CUDA: memory and its faults, streams, events, the default stream, host functions.
#include <atomic>
#include <chrono>
#include <numeric>

#include "tests/unit/nccl/support.hpp"

namespace libcoll::test {
namespace {

using cuda::Error;
using cuda::MemoryType;

struct CudaDouble : ::testing::Test {
  Session session{[] {
    gpu_double::Options o;
    o.hosts = 2;
    o.devices_per_host = 2;
    return o;
  }()};
  const cuda::Table& cuda = session.cuda();

  cuda::Stream stream(unsigned flags = cuda::stream_non_blocking) {
    cuda::Stream s = nullptr;
    EXPECT_CUDA(cuda.stream_create_with_flags(&s, flags));
    return s;
  }
  cuda::Event event() {
    cuda::Event e = nullptr;
    EXPECT_CUDA(cuda.event_create_with_flags(&e, cuda::event_disable_timing));
    return e;
  }
  int* device_ints(std::size_t n) {
    void* p = nullptr;
    EXPECT_CUDA(cuda.malloc(&p, n * sizeof(int)));
    return static_cast<int*>(p);
  }
};

TEST_F(CudaDouble, SaysThatItIsFake) {
  EXPECT_TRUE(cuda.is_fake() && session.nccl().is_fake());
  EXPECT_NE(cuda.origin.find("FAKE"), std::string::npos);
  EXPECT_NE(session.nccl().origin.find("FAKE"), std::string::npos);
  EXPECT_NE(std::string(cuda.get_error_string(Error::not_ready)).find("FAKE"), std::string::npos);
  int version = 0;
  EXPECT_NCCL(session.nccl().get_version(&version));
  EXPECT_EQ(version, session.nccl().version);
  expect_clean(session);
}

TEST_F(CudaDouble, Devices) {
  int n = 0, device = -1, value = 0;
  EXPECT_CUDA(cuda.get_device_count(&n));
  EXPECT_EQ(n, 2);
  EXPECT_CUDA(cuda.set_device(1));
  EXPECT_CUDA(cuda.get_device(&device));
  EXPECT_EQ(device, 1);
  EXPECT_EQ(cuda.set_device(2), Error::invalid_device);
  EXPECT_EQ(cuda.get_last_error(), Error::invalid_device);
  EXPECT_EQ(cuda.get_last_error(), Error::success);
  EXPECT_CUDA(cuda.device_can_access_peer(&value, 0, 1));
  EXPECT_EQ(value, 1);
  char bus[16], tight[4];
  EXPECT_CUDA(cuda.device_get_pci_bus_id(bus, sizeof(bus), 1));
  EXPECT_STREQ(bus, "0000:02:00.0");
  EXPECT_EQ(cuda.device_get_pci_bus_id(tight, sizeof(tight), 1), Error::invalid_value);
  EXPECT_CUDA(cuda.device_get_attribute(&value, cuda::Attribute::compute_capability_major, 0));
  EXPECT_EQ(cuda.device_get_attribute(&value, static_cast<cuda::Attribute>(-5), 0), Error::invalid_value);
  EXPECT_EQ(cuda.get_device_count(nullptr), Error::invalid_value);
}

TEST_F(CudaDouble, PointerAttributes) {
  EXPECT_CUDA(cuda.set_device(1));
  void *device = nullptr, *managed = nullptr, *pinned = nullptr;
  std::vector<int> plain(16), registered(16);
  EXPECT_CUDA(cuda.malloc(&device, 64));
  EXPECT_CUDA(cuda.malloc_managed(&managed, 64, cuda::mem_attach_global));
  EXPECT_CUDA(cuda.host_alloc(&pinned, 64, cuda::host_alloc_portable));
  EXPECT_CUDA(cuda.host_register(registered.data(), 64, 0));
  EXPECT_EQ(cuda.host_register(registered.data() + 1, 8, 0), Error::host_memory_already_registered);
  const auto type = [&](const void* p) {
    cuda::PointerAttributes a;
    EXPECT_CUDA(cuda.pointer_get_attributes(&a, p));
    EXPECT_EQ(a.device, a.type == MemoryType::unregistered ? -1 : 1);
    return a.type;
  };
  EXPECT_EQ(type(static_cast<char*>(device) + 63), MemoryType::device);
  EXPECT_EQ(type(managed), MemoryType::managed);
  EXPECT_EQ(type(pinned), MemoryType::host);
  EXPECT_EQ(type(registered.data() + 3), MemoryType::host);
  EXPECT_EQ(type(plain.data()), MemoryType::unregistered);
  session.enter_host(1);  // another host knows nothing of it
  EXPECT_EQ(type(device), MemoryType::unregistered);
  session.enter_host(0);
  EXPECT_CUDA(cuda.free(device));
  EXPECT_EQ(type(device), MemoryType::unregistered);
  EXPECT_CUDA(cuda.free(managed));
  EXPECT_CUDA(cuda.free_host(pinned));
  EXPECT_CUDA(cuda.host_unregister(registered.data()));
  expect_clean(session);
}

TEST_F(CudaDouble, CopiesAndEvents) {
  const auto a = stream(), b = stream();
  const auto copied = event();
  std::vector<int> in(1000), out(1000);
  std::iota(in.begin(), in.end(), 0);
  int* p = device_ints(1000);
  int* q = device_ints(1000);
  for (int round = 0; round < 50; ++round) {
    in[7] = round;
    EXPECT_CUDA(cuda.memcpy_async(p, in.data(), 4000, cuda::CopyKind::host_to_device, a));
    EXPECT_CUDA(cuda.memcpy_async(q, p, 4000, cuda::CopyKind::device_to_device, a));
    EXPECT_CUDA(cuda.event_record(copied, a));
    EXPECT_CUDA(cuda.memset_async(p, 0, 4000, a));
    EXPECT_CUDA(cuda.stream_wait_event(b, copied, 0));
    EXPECT_CUDA(cuda.memcpy_async(out.data(), q, 4000, cuda::CopyKind::device_to_host, b));
    EXPECT_CUDA(cuda.stream_synchronize(b));
    EXPECT_CUDA(cuda.event_query(copied));
    EXPECT_EQ(in, out);
    EXPECT_CUDA(cuda.stream_synchronize(a));
    EXPECT_CUDA(cuda.stream_query(a));
  }
  EXPECT_CUDA(cuda.free(p));
  EXPECT_CUDA(cuda.free(q));
  EXPECT_CUDA(cuda.event_destroy(copied));
  EXPECT_CUDA(cuda.stream_destroy(a));
  EXPECT_CUDA(cuda.stream_destroy(b));
  expect_clean(session);
}

// A stream is held by a host function until the test lets it go.
struct Gate {
  std::atomic<bool> open{false}, reached{false};
  static void hold(void* data) {
    auto* g = static_cast<Gate*>(data);
    g->reached = true;
    g->reached.notify_all();
    g->open.wait(false);
  }
  void release() {
    open = true;
    open.notify_all();
  }
};

TEST_F(CudaDouble, QueriesDoNotWait) {
  const auto a = stream();
  const auto e = event();
  EXPECT_CUDA(cuda.event_query(e));  // never recorded
  Gate gate;
  EXPECT_CUDA(cuda.launch_host_function(a, Gate::hold, &gate));
  EXPECT_CUDA(cuda.event_record(e, a));
  EXPECT_EQ(cuda.stream_query(a), Error::not_ready);
  EXPECT_EQ(cuda.event_query(e), Error::not_ready);
  EXPECT_EQ(cuda.get_last_error(), Error::success);  // not an error
  gate.release();
  EXPECT_CUDA(cuda.event_synchronize(e));
  EXPECT_CUDA(cuda.stream_synchronize(a));
  EXPECT_CUDA(cuda.event_destroy(e));
  EXPECT_CUDA(cuda.stream_destroy(a));
  expect_clean(session);
}

TEST_F(CudaDouble, DefaultStreamOrdersBlockingStreamsOnly) {
  const auto blocking = stream(0), free_stream = stream();
  int* p = device_ints(1);
  int value = -1;
  Gate gate;
  EXPECT_CUDA(cuda.launch_host_function(blocking, Gate::hold, &gate));
  EXPECT_CUDA(cuda.memset_async(p, 0, 4, blocking));
  EXPECT_CUDA(cuda.memset_async(p, 1, 4, nullptr));   // after it
  EXPECT_CUDA(cuda.memset_async(p, 2, 4, blocking));  // after that
  EXPECT_CUDA(cuda.stream_synchronize(free_stream));
  EXPECT_EQ(cuda.stream_query(cuda::legacy_stream()), Error::not_ready);
  gate.release();
  EXPECT_CUDA(cuda.memcpy_async(&value, p, 4, cuda::CopyKind::device_to_host, nullptr));
  EXPECT_CUDA(cuda.stream_synchronize(nullptr));
  EXPECT_EQ(value, 0x02020202);
  EXPECT_CUDA(cuda.free(p));
  EXPECT_CUDA(cuda.stream_destroy(blocking));
  EXPECT_CUDA(cuda.stream_destroy(free_stream));
  expect_clean(session);
}

TEST_F(CudaDouble, BoundsAreChecked) {
  const auto a = stream();
  int* p = device_ints(4);
  int host[8] = {};
  EXPECT_EQ(cuda.memcpy_async(p + 2, host, 12, cuda::CopyKind::host_to_device, a), Error::invalid_value);
  EXPECT_EQ(cuda.memset_async(p, 0, 17, a), Error::invalid_value);
  expect_reports(session.reports(), "out of bounds");
  EXPECT_CUDA(cuda.free(p));
  EXPECT_CUDA(cuda.stream_destroy(a));
}

TEST_F(CudaDouble, WrongDirectionsAreReported) {
  const auto a = stream();
  int* p = device_ints(4);
  int host[8] = {};
  EXPECT_EQ(cuda.memcpy_async(host, p, 8, cuda::CopyKind::host_to_device, a), Error::invalid_value);
  EXPECT_EQ(cuda.memcpy_async(p, host, 8, cuda::CopyKind::device_to_device, a), Error::invalid_value);
  EXPECT_CUDA(cuda.memcpy_async(p, host, 8, cuda::CopyKind::automatic, a));
  expect_reports(session.reports(), "not of the kind");
  EXPECT_EQ(cuda.memset_async(host, 0, 4, a), Error::invalid_value);
  EXPECT_CUDA(cuda.free(p));
  EXPECT_CUDA(cuda.stream_destroy(a));
}

TEST_F(CudaDouble, UseAfterFreeIsReported) {
  const auto a = stream();
  int* p = device_ints(4);
  EXPECT_CUDA(cuda.free(p));
  EXPECT_EQ(cuda.memset_async(p, 0, 4, a), Error::invalid_value);
  EXPECT_EQ(cuda.free(p), Error::invalid_value);
  expect_reports(session.reports(), "use after free");
  EXPECT_CUDA(cuda.stream_destroy(a));
}

TEST_F(CudaDouble, FreeBeforeTheStreamIsDoneIsReported) {
  const auto a = stream(), b = stream();
  int* p = device_ints(4);
  Gate gate;
  EXPECT_CUDA(cuda.launch_host_function(a, Gate::hold, &gate));
  EXPECT_CUDA(cuda.memset_async(p, 0, 16, a));
  std::thread free_it([&] { EXPECT_CUDA(cuda.free(p)); });
  while (session.reports().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  gate.release();
  free_it.join();
  expect_reports(session.reports(), "in flight");

  // Stream-ordered: fine on the stream of the last use, not where another still uses it.
  void* q = nullptr;
  EXPECT_CUDA(cuda.malloc_async(&q, 16, a));
  EXPECT_CUDA(cuda.memset_async(q, 0, 16, a));
  EXPECT_CUDA(cuda.free_async(q, a));
  EXPECT_CUDA(cuda.stream_synchronize(a));
  const auto so_far = session.reports().size();
  EXPECT_CUDA(cuda.malloc_async(&q, 16, a));
  gate.open = false;
  EXPECT_CUDA(cuda.launch_host_function(a, Gate::hold, &gate));
  EXPECT_CUDA(cuda.memset_async(q, 0, 16, a));
  EXPECT_CUDA(cuda.free_async(q, b));
  EXPECT_CUDA(cuda.stream_synchronize(b));
  gate.release();
  EXPECT_EQ(cuda.stream_synchronize(a), Error::illegal_address);
  EXPECT_EQ(cuda.memset_async(p, 0, 0, a), Error::illegal_address);  // sticky
  EXPECT_EQ(session.reports().size(), so_far + 2);
  EXPECT_CUDA(cuda.stream_destroy(a));
  EXPECT_CUDA(cuda.stream_destroy(b));
}

TEST_F(CudaDouble, HandlesAfterDestruction) {
  const auto a = stream();
  const auto e = event();
  EXPECT_CUDA(cuda.stream_destroy(a));
  EXPECT_CUDA(cuda.event_destroy(e));
  EXPECT_EQ(cuda.stream_synchronize(a), Error::invalid_resource_handle);
  EXPECT_EQ(cuda.event_record(e, nullptr), Error::invalid_resource_handle);
  EXPECT_EQ(cuda.event_destroy(e), Error::invalid_resource_handle);
  expect_reports(session.reports(), "after its destruction");
}

TEST_F(CudaDouble, HostFunctionsMayNotCallCuda) {
  const auto a = stream();
  struct Data {
    const cuda::Table& cuda;
    Error error = Error::success;
  } data{cuda};
  EXPECT_CUDA(cuda.launch_host_function(a, [](void* d) { auto* x = static_cast<Data*>(d); x->error = x->cuda.stream_query(nullptr); }, &data));
  EXPECT_CUDA(cuda.stream_synchronize(a));
  EXPECT_EQ(data.error, Error::not_permitted);
  expect_reports(session.reports(), "in a host function");
  EXPECT_CUDA(cuda.stream_destroy(a));
}

TEST_F(CudaDouble, LeaksAreListed) {
  (void)stream(), (void)event(), (void)device_ints(4);
  const auto reports = session.finish();
  EXPECT_EQ(reports.size(), 3u);
  expect_reports(reports, "leak");
}

TEST(CudaDoubleSession, FunctionsFailWithoutOne) {
  cuda::Table table;
  nccl::Table nccl_table;
  {
    Session session;
    table = session.cuda();
    nccl_table = session.nccl();
  }
  int n = 0;
  EXPECT_EQ(table.get_device_count(&n), Error::initialization_error);
  EXPECT_EQ(nccl_table.group_start(), nccl::Code::internal_error);
}

TEST(CudaDoubleSession, WatchdogSaysWhoWaits) {
  gpu_double::Options o;
  o.watchdog_s = 0.3;
  Session session(o);
  const auto& cuda = session.cuda();
  cuda::Stream a = nullptr;
  EXPECT_CUDA(cuda.stream_create_with_flags(&a, 0));
  nccl::UniqueId id;
  EXPECT_NCCL(session.nccl().get_unique_id(&id));
  nccl::Config config;
  nccl::Comm comm = nullptr;
  EXPECT_EQ(session.nccl().comm_init_rank_config(&comm, 2, id, 0, &config), nccl::Code::system_error);
  EXPECT_EQ(comm, nullptr);
  EXPECT_EQ(cuda.memset_async(nullptr, 0, 0, a), Error::launch_failure);
  expect_reports(session.finish(), "no progress for 0.3 s: waiting: the ranks of a communicator to be (as rank 0, device 0)");
}

}  // namespace
}  // namespace libcoll::test
