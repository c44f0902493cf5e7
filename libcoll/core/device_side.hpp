// DeviceSide: what a communicator of a world that uses GPUs needs besides host memory: where buffers lie, NCCL
// communicators of its groups, plans on streams, and the way through host memory. One thread at a time, like its Comm.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "libcoll/algorithms/device.hpp"
#include "libcoll/core/device_extents.hpp"
#include "libcoll/core/plan.hpp"
#include "libcoll/core/result.hpp"
#include "libcoll/execution/device_program.hpp"
#include "libcoll/planning/device_costs.hpp"

namespace libcoll::topo { struct GpuFabric; }

namespace libcoll::detail {

class CommImpl;
// The recipe of calls that are to pass through host memory.
inline constexpr const char* staged_recipe = "staged";

class DeviceSide {
 public:
  explicit DeviceSide(CommImpl&);
  ~DeviceSide();
  DeviceSide(const DeviceSide&) = delete;
  DeviceSide& operator=(const DeviceSide&) = delete;

  // A call whose plan in host memory is known, with buffers anywhere.
  void run(const Plan&, const Args&, const CallOptions&);
  // Started and persistent collectives: refuses GPU memory and streams.
  void require_host(const Call&, const Args&, const CallOptions&);
  // Whether this is GPU memory.
  bool is_device_memory(const void* at) const;
  // Collective over the communicator, as part of its split: the child's NCCL communicator comes from this one's, where there is one.
  // `child` may be null (this rank is in none).
  void split_into(DeviceSide* child, int color, int key);
  // Collective: no NCCL communicator is left afterwards.
  void close();
  // Never waits: false while something is under way.
  bool try_close();
  // Not collective: ends what is under way.
  void abort() noexcept;
  // Comm::check_streams.
  void check(bool ask_system);
  // The way a call on GPU memory would take, with runners-up. Not collective.
  std::string explain(const Call&, std::span<const Count> counts, const CallOptions&);
  // The memory is known to NCCL from now on, until forget(): see Comm::register_buffer. Collective at first use; the number is 0
  // where NCCL serves nothing.
  std::uint64_t register_memory(void* data, std::size_t bytes);
  void forget(std::uint64_t registration) noexcept;
  const std::shared_ptr<DeviceSide*>& self() const { return self_; }
  // Of the blocking call that begins here: its peers may give it to NCCL without asking this rank. Until it has run,
  // arguments that are refused on this rank alone end the communicator, since NCCL of the others waits for its part.
  void set_goes_alone(bool yes) noexcept { goes_alone_ = yes; }
  bool goes_alone() const noexcept { return goes_alone_ && site_.has_value(); }
  // Whatever its count, root and buffers.
  bool passes_through_host_memory(const Call&) const;
  std::string describe() const;  // "NCCL 2.28.9 on device 0 (0000:1b:00.0)", or why calls pass through host memory

 private:
  struct Card;
  static constexpr std::size_t most_programs = 512;
  enum class Where : std::uint8_t { host, device, mixed };
  // Of this rank's buffers.
  struct Places {
    bool send_on_device = false, recv_on_device = false, any_on_host = false;
    int device = -1;
    bool any_on_device() const { return send_on_device || recv_on_device; }
  };

  Places places_of(const Call&, const Args&, const Extents&) const;
  Where agree(const Call&, const CallOptions&, const Places&);
  std::uint8_t agree_on(std::uint8_t bits);
  Card own_card(int device);
  void connect(int device);
  std::string join_groups(const nccl::UniqueId&);
  void make_groups(const nccl::UniqueId&);
  void warm_up();
  void define_groups(const topo::GpuFabric&, bool overlap);
  std::string objection(const Call&) const;
  sched::Problem problem_of(const Call&, std::span<const Count> counts) const;
  planning::DeviceSituation situation_of(const Call&, std::span<const Count> counts, const CallOptions&);
  Result<std::optional<algo::DeviceRecipe>> choose(const sched::Problem&, const Call&, const planning::DeviceSituation&);
  const exec::DeviceProgram* program_for(const Call&, const Args&, const CallOptions&);
  void launch(const exec::DeviceProgram&, const Args&, const CallOptions&, const Extents&);
  void stage(const Plan&, const Args&, const CallOptions&, const Extents&, const Places&);
  Args fetch(const Args&, const Extents&, const Places&, cuda::Stream, bool behind_stream, double timeout_s);
  void wait_for(const device::Event&, double timeout_s, bool watch_nccl);
  double limit_of(const CallOptions&) const;
  device::Between patience(std::string what, double timeout_s) const;
  void require_untroubled() const;
  [[noreturn]] void give_up(const char* call, const std::exception&);
  cuda::Stream stream_of(const CallOptions&);
  bool is_capturing(const Call&, cuda::Stream);

  CommImpl& comm_;
  const device::Runtime* const runtime_;  // null: this rank's process has no CUDA, others' have
  bool connected_ = false;                // equal on all ranks, like `staged_only_`
  std::string staged_only_;               // why NCCL serves nothing here, or nothing
  int device_ = -1;
  std::string bus_id_;
  algo::DeviceGroups device_groups_;
  bool overlap_ = false;
  std::optional<exec::DeviceSite> site_;
  std::unique_ptr<device::Communicator> inherited_;  // from the parent, for connect()
  // By a call's words and whether it is on a stream that is being captured. Without a program: through host memory.
  struct Known {
    std::vector<Count> counts;  // that it is for (allgatherv, reduce_scatter)
    std::optional<exec::DeviceProgram> program;
  };
  std::map<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, int>, Known> known_;
  struct Registered {
    nccl::Comm comm;
    void* handle;
  };
  std::map<std::uint64_t, std::vector<Registered>> registered_;
  std::uint64_t registrations_ = 0;
  std::shared_ptr<DeviceSide*> self_ = std::make_shared<DeviceSide*>(this);  // null once it is gone, for who holds registrations

  // Of staging; the event is behind the last copy that reads from the memory.
  std::optional<device::Pinned> pinned_;
  std::optional<device::Stream> own_stream_;
  std::optional<device::Event> copied_, finished_;
  bool copying_ = false;
  bool goes_alone_ = false;
  bool joining_ = false;  // in make_groups: a peer that refuses the next exchange cannot go on
};

}  // namespace libcoll::detail
