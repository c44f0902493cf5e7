// How the ranks of a communicator meet on their GPUs: at the first call that all of them make with GPU memory. They agree
// on what each of them has, on islands and rails, and on NCCL communicators, or on why there are none.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "libcoll/algorithms/device.hpp"
#include "libcoll/core/comm_impl.hpp"
#include "libcoll/core/log.hpp"
#include "topology/gpu_fabric.hpp"
#include "topology/probe_nvml.hpp"

namespace libcoll::detail {

using device::require;

// What a rank tells the others. No padding: it is sent as it is.
struct DeviceSide::Card {
  topo::GpuRecord record;
  nccl::UniqueId id;         // the first rank's counts
  std::int32_t version;      // of NCCL; 0: it has none
  std::int32_t ordered;      // kernels start in the order of their launches
  std::int32_t shares_gpus;  // NCCL lets several ranks use one GPU
  char why[116];             // where `version` is 0
};

namespace {

// An environment variable of NCCL's own, as it reads it: whether it is set and not 0.
bool is_on(const char* variable) {
  const char* v = std::getenv(variable);
  return v != nullptr && std::strtol(v, nullptr, 10) > 0;
}

// With its GPUs, NICs and NVLinks: LIBCOLL_TOPOLOGY's, or probed, once in a process, which takes up to seconds.
const topo::Machine& machine_with_devices(const World& w) {
  if (w.own_machine.count(topo::NodeKind::gpu) != 0) return w.own_machine;
  static const topo::Machine probed = [] {
    topo::Machine m = this_machine();
    topo::probe_devices(m);
    return m;
  }();
  return probed;
}

constexpr int first_shared_version = 23000;  // NCCL_MULTI_RANK_GPU_ENABLE
constexpr int first_ordered_version = 22600;  // NCCL_LAUNCH_ORDER_IMPLICIT

struct Verdict {
  std::int32_t heard;  // only of another rank's trouble
  char text[236];
};

}  // namespace

// What goes wrong meanwhile is why NCCL serves nothing here: the others wait for the card.
DeviceSide::Card DeviceSide::own_card(int device) {
  Card mine{};
  mine.record.version = topo::GpuRecord::current_version;
  std::string why;
  try {
    if (runtime_ == nullptr) {
      why = fmt::format("it has no CUDA ({})", comm_.world().without_runtime);
    } else {
      const cuda::Table& cuda = runtime_->cuda;
      if (device_ < 0) device_ = device;
      if (device_ < 0) require(cuda, cuda.get_device(&device_), "cudaGetDevice");
      char bus[32] = {};
      require(cuda, cuda.device_get_pci_bus_id(bus, sizeof bus, device_), "cudaDeviceGetPCIBusId");
      bus_id_ = bus;
      const topo::RankRecord& me = comm_.world().fabric.records[static_cast<std::size_t>(comm_.world().rank)];
      // Domains of an injected hierarchy are hosts to everybody.
      const auto domain = static_cast<std::uint64_t>(comm_.world().domain_of[static_cast<std::size_t>(comm_.world().rank)]);
      mine.record = topo::gpu_record(machine_with_devices(comm_.world()), bus_id_, me.host_id + domain * 0x9e3779b97f4a7c15u);
      if (runtime_->nccl) mine.version = runtime_->nccl->version;
      else why = fmt::format("it has no NCCL ({})", runtime_->without_nccl);
      mine.ordered = mine.version >= first_ordered_version && is_on("NCCL_LAUNCH_ORDER_IMPLICIT");
      mine.shares_gpus = mine.version >= first_shared_version && is_on("NCCL_MULTI_RANK_GPU_ENABLE");
      if (comm_.rank() == 0 && runtime_->nccl && !inherited_ && runtime_->nccl->get_unique_id(&mine.id) != nccl::Code::success)
        mine.version = 0, why = "ncclGetUniqueId failed there";
    }
  } catch (const std::exception& error) {
    mine.version = 0;
    why = error.what();
  }
  why.copy(mine.why, sizeof mine.why - 1);
  return mine;
}

void DeviceSide::connect(int device) {
  const Card mine = own_card(device);
  const auto n = static_cast<std::size_t>(comm_.size());
  std::vector<Card> cards(n);
  comm_.allgather_bytes(&mine, cards.data(), sizeof mine);
  connected_ = true;
  std::vector<topo::GpuRecord> records;
  for (const Card& c : cards) records.push_back(c.record);
  const topo::GpuFabric fabric = topo::build_gpu_fabric(records);
  for (std::size_t r = 0; r < n && staged_only_.empty(); ++r) {
    if (cards[r].version == 0) staged_only_ = fmt::format("rank {}: {}", r, std::string(cards[r].why, strnlen(cards[r].why, sizeof cards[r].why)));
    else if (cards[r].version != cards[0].version)
      staged_only_ = fmt::format("rank 0 has NCCL {}, rank {} has NCCL {}", nccl::version_text(cards[0].version), r, nccl::version_text(cards[r].version));
  }
  const bool may_share = std::all_of(cards.begin(), cards.end(), [](const Card& c) { return c.shares_gpus != 0; });
  if (staged_only_.empty() && !fabric.shared.empty() && !may_share)
    staged_only_ = fmt::format("ranks {} and {} use one GPU, which NCCL allows from 2.30 on with NCCL_MULTI_RANK_GPU_ENABLE=1", fabric.shared[0][0], fabric.shared[0][1]);
  if (staged_only_.empty()) {
    const std::string& wish = comm_.world().config.gpu_overlap;
    const bool overlap = wish == "on" || (wish == "auto" && std::all_of(cards.begin(), cards.end(), [](const Card& c) { return c.ordered != 0; }));
    define_groups(fabric, overlap);
    staged_only_ = join_groups(cards[0].id);
  }
  inherited_.reset();
  if (staged_only_.empty()) return;
  site_.reset();
  if (comm_.rank() == 0) log().warn("rank 0 of {}: collectives on GPU memory pass through host memory: {}", comm_.size(), staged_only_);
}

// Islands must hold everybody for plans over them; ranks without one are islands of their own, which then are unequal.
void DeviceSide::define_groups(const topo::GpuFabric& fabric, bool overlap) {
  std::vector<std::vector<int>> islands = fabric.islands;
  for (int r = 0; r < comm_.size(); ++r)
    if (fabric.island_of[static_cast<std::size_t>(r)] < 0) islands.push_back({r});
  device_groups_ = algo::device_groups(std::move(islands));
  overlap_ = overlap;
  site_.emplace(exec::DeviceSite{.runtime = *runtime_, .groups = {}, .lanes = {}, .word = nullptr});
  for (std::vector<int>& ranks : algo::device_group_list(comm_.size(), device_groups_)) {
    const bool is_rail = std::find(device_groups_.rails.begin(), device_groups_.rails.end(), ranks) != device_groups_.rails.end();
    site_->groups.push_back({.ranks = std::move(ranks), .nccl = nullptr, .lane = is_rail && overlap ? 1 : 0});
  }
}

// All ranks make all communicators in one order, and use each once, so that what NCCL does at first use is over. Returns
// what went wrong on any rank, on every rank. A rank that cannot go on must not leave the others inside of NCCL, which waits
// for it for ever: it refuses the exchange that follows, and they look out for that (patience).
std::string DeviceSide::join_groups(const nccl::UniqueId& id) {
  Verdict mine{};
  const auto note = [&](const std::exception& error, bool heard) {
    mine.heard = heard || comm_.queue().find_refusal() >= 0;
    std::string(error.what()).copy(mine.text, sizeof mine.text - 1);
  };
  const bool alone = std::exchange(goes_alone_, false);  // nobody has given the call to NCCL yet
  joining_ = true;
  try {
    make_groups(id);
  } catch (const Error& error) {
    note(error, error.code() == Errc::mismatch);
  } catch (const std::exception& error) {
    note(error, false);
  }
  joining_ = false;
  std::vector<Verdict> all(static_cast<std::size_t>(comm_.size()));
  if (mine.text[0] != 0) {
    if (comm_.size() > 1) comm_.announce_refusal();
  } else {
    try {
      comm_.allgather_bytes(&mine, all.data(), sizeof mine);
    } catch (const Error& error) {
      if (error.code() != Errc::mismatch) throw;
      note(error, true);
    }
  }
  goes_alone_ = alone;
  if (mine.text[0] == 0) return {};
  // Only now: peers that hear of it from NCCL first would take that for the reason.
  for (exec::DeviceGroup& g : site_->groups)
    if (g.nccl) g.nccl->abort();
  // What was enqueued for a first use ends by that, but uses memory until then.
  const cuda::Table& cuda = runtime_->cuda;
  const auto between = patience("the GPU to end what NCCL was given", comm_.world().config.timeout_s);
  while (own_stream_ && cuda.stream_query(own_stream_->get()) == cuda::Error::not_ready) cuda.get_last_error(), between();
  comm_.allgather_bytes(&mine, all.data(), sizeof mine);
  for (const bool heard : {false, true})
    for (std::size_t r = 0; r < all.size(); ++r)
      if (all[r].text[0] != 0 && (all[r].heard != 0) == heard) return fmt::format("rank {}: {}", r, all[r].text);
  return {};
}

void DeviceSide::make_groups(const nccl::UniqueId& id) {
  const device::Current current(runtime_->cuda, device_);
  const nccl::Table& t = *runtime_->nccl;
  const auto between = patience("the GPUs of all ranks to meet", comm_.world().config.timeout_s);
  site_->word = std::make_unique<device::Memory>(runtime_->cuda, 256);
  if (overlap_) site_->lanes[1] = std::make_unique<device::Stream>(runtime_->cuda);
  auto& groups = site_->groups;
  groups[0].nccl = inherited_ ? std::move(inherited_) : std::make_unique<device::Communicator>(t, comm_.size(), comm_.rank(), id, between);
  // Disjoint groups that follow each other come from one split.
  for (std::size_t g = 1; g < groups.size();) {
    std::vector<int> color(static_cast<std::size_t>(comm_.size()), -1), key = color;
    std::size_t end = g;
    const auto disjoint = [&](const std::vector<int>& ranks) { return std::all_of(ranks.begin(), ranks.end(), [&](int r) { return color[static_cast<std::size_t>(r)] < 0; }); };
    for (; end < groups.size() && disjoint(groups[end].ranks); ++end)
      for (std::size_t i = 0; i < groups[end].ranks.size(); ++i) {
        const auto r = static_cast<std::size_t>(groups[end].ranks[i]);
        color[r] = static_cast<int>(end);
        key[r] = static_cast<int>(i);
      }
    const auto me = static_cast<std::size_t>(comm_.rank());
    auto made = device::Communicator::split(*groups[0].nccl, color[me], key[me], between);
    if (made) groups[static_cast<std::size_t>(color[me])].nccl = std::move(made);
    g = end;
  }
  warm_up();
}

void DeviceSide::warm_up() {
  const cuda::Table& cuda = runtime_->cuda;
  const double limit = comm_.world().config.timeout_s;
  const cuda::Stream stream = stream_of({});
  require(cuda, cuda.memset_async(site_->word->data(), 0, sizeof(int), stream), "cudaMemsetAsync");
  device::Event done(cuda);
  for (exec::DeviceGroup& g : site_->groups) {
    if (!g.nccl) continue;
    g.nccl->settle(runtime_->nccl->all_reduce(site_->word->data(), site_->word->data(), 1, nccl::Type::i32, nccl::RedOp::sum, g.nccl->get(), stream), "ncclAllReduce",
                   patience("NCCL to take its first call", limit));
    done.record(stream);
    wait_for(done, limit, true);
  }
}

void DeviceSide::split_into(DeviceSide* child, int color, int key) {
  if (!site_ || !connected_) return;  // on all ranks alike
  try {
    const device::Current current(runtime_->cuda, device_);
    const auto between = patience("the GPUs of all ranks to split", comm_.world().config.timeout_s);
    auto made = device::Communicator::split(*site_->groups[0].nccl, child != nullptr ? color : -1, key, between);
    if (child == nullptr) return;
    child->inherited_ = std::move(made);
    child->device_ = device_;
  } catch (const std::exception& error) {
    give_up("split", error);
  }
}

std::uint64_t DeviceSide::register_memory(void* data, std::size_t bytes) {
  comm_.queue().require_usable();
  cuda::PointerAttributes a;
  const bool known = runtime_ != nullptr && data != nullptr && runtime_->cuda.pointer_get_attributes(&a, data) == cuda::Error::success && a.type == cuda::MemoryType::device;
  if (!known && runtime_ != nullptr) runtime_->cuda.get_last_error();  // which later calls would report again
  // The others meet whatever this rank's memory is.
  if (!connected_) connect(known ? a.device : -1);
  const auto refuse = [&](const char* what) { throw Error(Errc::invalid_argument, fmt::format("libcoll: rank {} of {}: register_buffer: {}", comm_.rank(), comm_.size(), what)); };
  if (data == nullptr || bytes == 0) refuse("there is no memory");
  if (!known) refuse("it is no GPU memory");
  if (a.device != device_) refuse("it is on another GPU than the communicator");
  if (!site_ || runtime_->nccl->comm_register == nullptr) return 0;
  std::vector<Registered>& mine = registered_[++registrations_];
  try {
    const device::Current current(runtime_->cuda, device_);
    const auto between = patience("NCCL to register memory", comm_.world().config.timeout_s);
    for (exec::DeviceGroup& g : site_->groups) {
      if (!g.nccl) continue;
      void* handle = nullptr;
      g.nccl->settle(runtime_->nccl->comm_register(g.nccl->get(), data, bytes, &handle), "ncclCommRegister", between);
      mine.push_back({g.nccl->get(), handle});
    }
  } catch (const std::exception& error) {
    give_up("register_buffer", error);
  }
  return registrations_;
}

void DeviceSide::forget(std::uint64_t registration) noexcept {
  const auto at = registered_.find(registration);
  if (at == registered_.end()) return;
  for (const Registered& r : at->second) runtime_->nccl->comm_deregister(r.comm, r.handle);
  registered_.erase(at);
}

void DeviceSide::close() {
  try {
    const auto between = patience("the GPUs of all ranks to finish", comm_.world().config.timeout_s);
    while (!try_close()) between();
  } catch (const std::exception& error) {
    give_up("close", error);
  }
}

bool DeviceSide::try_close() {
  if (runtime_ == nullptr || device_ < 0) return true;
  const device::Current current(runtime_->cuda, device_);
  if (copying_ && !copied_->reached()) return false;
  copying_ = false;
  known_.clear();
  while (!registered_.empty()) forget(registered_.begin()->first);
  if (!site_) return true;
  for (auto g = site_->groups.rbegin(); g != site_->groups.rend(); ++g)
    if (g->nccl && !g->nccl->try_finalize()) return false;
  site_.reset();
  return true;
}

void DeviceSide::abort() noexcept {
  inherited_.reset();
  registered_.clear();  // an abort forgets them
  if (!site_) return;
  for (exec::DeviceGroup& g : site_->groups)
    if (g.nccl) g.nccl->abort();
}

std::string DeviceSide::describe() const {
  if (!connected_) return "GPUs not used yet";
  if (!staged_only_.empty()) return fmt::format("GPU memory by way of host memory: {}", staged_only_);
  return fmt::format("{} on device {} ({}), {} of {}{}", runtime_->nccl->origin, device_, bus_id_, device_groups_.islands.size() == 1 ? "island" : "islands",
                     fmt::join([&] { std::vector<std::size_t> sizes; for (const auto& i : device_groups_.islands) sizes.push_back(i.size()); return sizes; }(), ", "),
                     overlap_ ? ", islands and rails at once" : "");
}

}  // namespace libcoll::detail
