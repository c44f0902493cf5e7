// DeviceProgram: a Schedule of native steps, messages and copies made ready to run on the streams of a device, where
// NCCL joins the groups. Enqueued as a whole; the host waits for nobody. Step order is launch order on all ranks.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "libcoll/core/call.hpp"
#include "libcoll/core/result.hpp"
#include "libcoll/schedule/schedule.hpp"
#include "transports/nccl/communicator.hpp"
#include "transports/nccl/device.hpp"
#include "transports/nccl/runtime.hpp"

namespace libcoll::exec {

// Lane 0 is the caller's stream. Another lane is a stream of the library that is forked from it and joins it at the end.
inline constexpr int most_lanes = 2;

// A group of the schedule's problem. Its communicator's ranks are in the group's order.
struct DeviceGroup {
  std::vector<int> ranks;  // of the communicator whose collective it is
  std::unique_ptr<device::Communicator> nccl;  // null where this rank is no member
  int lane = 0;            // of its native steps
};

// What all programs of one communicator share.
struct DeviceSite {
  const device::Runtime& runtime;
  std::vector<DeviceGroup> groups;  // the first has everybody
  std::unique_ptr<device::Stream> lanes[most_lanes];  // [0]: for calls without a stream
  std::unique_ptr<device::Memory> word;  // what barriers reduce
};

struct DeviceProgram {
  struct Op {
    sched::Kind kind = sched::Kind::copy;  // send stands for messages in both directions
    std::vector<std::uint32_t> steps;      // a copy; messages and natives: all of one NCCL group
    int lane = 0;
    std::vector<std::uint32_t> waits;      // operations of other lanes
    std::unique_ptr<device::Event> done;   // where another lane waits for it
  };
  detail::Call call;
  sched::Schedule schedule;
  std::string text;                        // the recipe
  std::vector<Op> ops;
  std::unique_ptr<device::Event> begun, ended;  // where there are several lanes
};

// On the current device. Fails (internal) where a step cannot run on a device.
detail::Result<DeviceProgram> compile_for_devices(const detail::Call&, sched::Schedule, const DeviceSite&);
// On the current device, behind everything in `stream`. Throws Error{system}; then the communicators are of no more use.
void enqueue(const DeviceProgram&, const detail::Args&, DeviceSite&, cuda::Stream stream, const device::Between&);

}  // namespace libcoll::exec
