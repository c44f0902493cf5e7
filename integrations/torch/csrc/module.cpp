// The Python module libcoll_torch._C.
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <pybind11/chrono.h>
#include <torch/csrc/utils/pybind.h>

#include "arena.hpp"
#include "backend.hpp"
#include "driver.hpp"

namespace py = pybind11;
using namespace libcoll::torch_door;

namespace {

using Release = py::call_guard<py::gil_scoped_release>;

ProcessGroupLibcoll& ours(const c10::intrusive_ptr<c10d::Backend>& backend) {
  auto* p = dynamic_cast<ProcessGroupLibcoll*>(backend.get());
  TORCH_CHECK_TYPE(p != nullptr, "libcoll: this is not a backend of libcoll");
  return *p;
}

c10::intrusive_ptr<c10d::Backend> create(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, std::chrono::milliseconds timeout,
                                         const std::string& name, const std::vector<std::int64_t>& global_ranks) {
  auto options = c10::make_intrusive<c10d::Backend::Options>(backend_name, timeout);
  options->group_name = name;
  options->global_ranks_in_group.assign(global_ranks.begin(), global_ranks.end());
  return c10::make_intrusive<ProcessGroupLibcoll>(store, rank, size, std::move(options));
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  // torch calls it on ranks that a new group leaves out, where groups are bound to a device; here they have no part in it.
  py::class_<ProcessGroupLibcoll, c10::intrusive_ptr<ProcessGroupLibcoll>, c10d::Backend>(m, "ProcessGroupLibcoll")
      .def("perform_nocolor_split", [](ProcessGroupLibcoll&, const c10::Device&) {});
  m.def("create", &create, Release(), py::arg("store"), py::arg("rank"), py::arg("size"), py::arg("timeout"), py::arg("name"), py::arg("global_ranks"));
  m.def("describe", [](const c10::intrusive_ptr<c10d::Backend>& b) { return ours(b).lane().with_comm([](libcoll::Comm& c) { return c.describe(); }); }, Release());
  m.def("lent_buffers", [](const c10::intrusive_ptr<c10d::Backend>& b) { return ours(b).lane().with_comm([](libcoll::Comm& c) { return c.lent_buffers(); }); }, Release());
  m.def("shared_memory_bytes", [](const c10::intrusive_ptr<c10d::Backend>& b) { return ours(b).lane().with_comm([](libcoll::Comm& c) { return c.shared_memory_bytes(); }); }, Release());
  m.def("unfinished", [](const c10::intrusive_ptr<c10d::Backend>& b) { return ours(b).lane().unfinished(); });
  m.def("retired", [] { return Driver::instance().retired(); });
  m.def("empty", [](const c10::intrusive_ptr<c10d::Backend>& b, const std::vector<std::int64_t>& sizes, at::ScalarType type) {
    return arena_tensor(ours(b).lane(), sizes, at::TensorOptions(type));
  }, Release());
  m.def("serve_allocations", [](const c10::intrusive_ptr<c10d::Backend>& b, std::size_t at_least) { serve_allocations(ours(b).lane().shared_from_this(), at_least); }, Release());
  m.def("stop_serving_allocations", [] { serve_allocations(nullptr, 0); }, Release());
  m.def("stop", [] { Driver::instance().stop(); }, Release());
}
