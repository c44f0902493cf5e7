// What device schedules cost: NCCL's own model of its algorithms and protocols, put together for forms over islands. Pure
// functions of values that are equal on all ranks: every rank chooses alike.
#pragma once

#include <vector>

#include "libcoll/algorithms/device.hpp"

namespace libcoll::planning {

// Until measured: latencies in microseconds and link speeds are the constants of NCCL 2.28.9's tuning model (src/graph/tuning.cc).
struct DeviceCosts {
  // base: of a call; nvlink, network: of each hop. payload: the part of what moves that is data, by the format of a line (LL:
  // 4 of 8 bytes, LL128: 120 of 128).
  struct Protocol {
    double tree_base, ring_base, tree_nvlink, ring_nvlink, tree_network, ring_network, payload;
  };
  Protocol ll{6.8, 6.6, 0.6, 0.6, 5, 2.7, 0.5}, ll128{14, 14, 1.25, 1.9, 8.5, 4, 0.9375}, simple{8.4, 8.4, 4, 3.4, 14, 14, 1};
  bool nvls = true;                // NVSwitches reduce and multicast
  double nvls_nvlink_us = 25, nvls_network_us = 20.9;
  double link_gbps = 20.6;         // of one NVLink (sm90; sm80: 20, sm100: 40.1)
  double links = 18;               // of a GPU
  double nvls_gbps = 476;          // bus bandwidth of an allreduce on 8 H100 (NVIDIA's staff, nccl-tests issue 290)
  double nic_gbps = 47;            // of one card (NDR400: 46 to 48, the same issue)
  double nics_per_rank = 1;        // less than one: cards are shared
  double host_gbps = 12;           // between device and pinned host memory (PCIe 3 x16)
  // Assumed, to be measured.
  double call_us = 2;              // a further call in a row on one communicator
  double copy_us = 2;              // starting a copy on the device
  double memory_gbps = 1500;       // copies on the device
  double message_us = 0.3;         // a further message of a group inside an island
  double network_message_us = 1.5; // and between islands, where a thread on the host serves each
  double host_copy_us = 10;        // a copy to or from the host and learning that it is done
};

// Microseconds; of a recipe that is not refused. Islands that are not known are taken as ranks with nothing but a network card.
double predict_device_us(const sched::Problem&, const algo::DeviceGroups&, const algo::DeviceRecipe&, const DeviceCosts&, std::uint32_t element_bytes);
// Copy to pinned host memory, the host's plan (host_us: its prediction), copy back.
double predict_staged_us(const sched::Problem&, const DeviceCosts&, double host_us, std::uint32_t element_bytes);

struct DeviceChoice {
  bool staged = false;             // through host memory; else by `recipe`
  algo::DeviceRecipe recipe;
  double predicted_us = 0;
  const char* why = "cost model";  // or why plain NCCL came first
};
// What else decides. Equal on all ranks.
struct DeviceSituation {
  double host_us = -1;             // prediction of the host's plan; negative: staging is impossible
  bool nccl = true;                // NCCL has the type and the operation (nccl_ops.hpp)
  bool capturing = false;          // into a CUDA graph
};
// The best first, runners-up after it in order; empty: nothing can do it. Plain NCCL comes first where a composition must not
// be tried (capture) or never won elsewhere (two islands), and wherever nothing else is clearly cheaper.
std::vector<DeviceChoice> choose_device(const sched::Problem&, const algo::DeviceGroups&, const DeviceCosts&, std::uint32_t element_bytes, const DeviceSituation&);

}  // namespace libcoll::planning
