#include "transports/ucx/ucx_worker.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <ucs/debug/debug.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

namespace libcoll::xport::ucx {

using Clock = std::chrono::steady_clock;
using detail::failure;
using detail::Result;

namespace {

// UCX takes over the signals of crashes when it is loaded, in processes that never use it, too, and prints backtraces in
// place of what the program does about them. Unless somebody asked for that, they are given back.
[[gnu::constructor]] void give_signals_back() {
  if (std::getenv("UCX_HANDLE_ERRORS") != nullptr) return;
  for (const int number : {SIGILL, SIGSEGV, SIGBUS, SIGFPE}) {
    struct sigaction now {};
    Dl_info owner{};
    if (sigaction(number, nullptr, &now) != 0 || dladdr(reinterpret_cast<void*>(now.sa_sigaction), &owner) == 0) continue;
    if (std::string_view(owner.dli_fname).find("libucs") != std::string_view::npos) ucs_debug_disable_signal(number);
  }
}

tl::unexpected<detail::Failure> ucx_failure(const char* what, ucs_status_t status) {
  const Errc code = status == UCS_ERR_NO_DEVICE || status == UCS_ERR_UNSUPPORTED ? Errc::unsupported : Errc::system;
  return failure(code, fmt::format("UCX: {}: {}", what, ucs_status_string(status)));
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// UCX's own keepalive sends a little data. RDMA notices by it that the peer is gone; over TCP it does harm: the kernel's
// keepalive, which gives up after seconds, is off while data waits for an acknowledgement, and retransmission gives up
// after a quarter of an hour (UCX 1.13.1, Linux 6; tests/support/hosts: hosts_ring 2 vanish idle).
// Over TCP a message that UCX copies counts as sent when UCX has it; the part that the socket has no room for then leaves in
// this rank's next call, which may be late: it computes, or waits in MPI. One that is not copied is done when the kernel has
// it. Small ones of which Room (room.hpp) knows that the kernel takes them at once are copied after all: that is faster.
// Over TCP in place of segments of 8 KiB: such as hold an eager message whole. Fewer system calls, and no assembling:
// 64 KiB to 1 MiB take half the time. Few at a time, as each costs its size.
Result<void> set_defaults(ucp_config_t* config, double seconds, bool rdma) {
  const std::string interval = fmt::format("{}ms", std::max(1L, static_cast<long>(seconds * 1000)));
  // UCX 1.13 knows a transport's settings without their prefix, later ones with it; each warns of the other's.
  unsigned major = 0, minor = 0, patch = 0;
  ucp_get_version(&major, &minor, &patch);
  const std::string prefix = major == 1 && minor < 15 ? "" : "TCP_";
  const std::pair<const char*, std::pair<std::string, std::string>> settings[] = {
      {"UCX_KEEPALIVE_INTERVAL", {"KEEPALIVE_INTERVAL", rdma ? interval : "inf"}},
      {"UCX_ZCOPY_THRESH", {"ZCOPY_THRESH", rdma ? "auto" : "1"}},
      {"UCX_TCP_KEEPIDLE", {prefix + "KEEPIDLE", interval}},
      {"UCX_TCP_KEEPINTVL", {prefix + "KEEPINTVL", "1s"}},
      {"UCX_TCP_KEEPCNT", {prefix + "KEEPCNT", "3"}},
      {"UCX_TCP_TX_SEG_SIZE", {prefix + "TX_SEG_SIZE", "1088k"}},
      {"UCX_TCP_RX_SEG_SIZE", {prefix + "RX_SEG_SIZE", "1088k"}},
      {"UCX_TCP_TX_BUFS_GROW", {prefix + "TX_BUFS_GROW", "2"}},
      {"UCX_TCP_RX_BUFS_GROW", {prefix + "RX_BUFS_GROW", "2"}}};
  for (const auto& [variable, setting] : settings) {
    if (!environment(variable).empty()) continue;
    if (const auto s = ucp_config_modify(config, setting.first.c_str(), setting.second.c_str()); s != UCS_OK)
      return ucx_failure(setting.first.c_str(), s);
  }
  return {};
}

// What Room counts on: TCP's buffers for sending have no less than Linux's default from the start.
bool sends_16_kib() {
  std::size_t least = 0, initial = 0;
  std::ifstream("/proc/sys/net/ipv4/tcp_wmem") >> least >> initial;
  return initial >= 16384 && environment("UCX_TCP_SNDBUF").empty() && environment("UCX_SNDBUF").empty();
}

}  // namespace

std::string without_shared_memory(const std::string& transports) {
  constexpr std::array<std::string_view, 8> memory{"sm", "shm", "mm", "posix", "sysv", "xpmem", "cma", "knem"};
  if (transports.empty() || transports == "all") return "^sm";
  if (transports.front() == '^') return transports + ",sm";
  std::string kept;
  for (std::size_t at = 0; at <= transports.size();) {
    const std::size_t end = std::min(transports.find(',', at), transports.size());
    const std::string name = transports.substr(at, end - at);
    at = end + 1;
    if (name == "all") return "^sm";
    const std::string bare = !name.empty() && name.front() == '\\' ? name.substr(1) : name;
    if (name.empty() || std::find(memory.begin(), memory.end(), bare) != memory.end()) continue;
    kept += (kept.empty() ? "" : ",") + name;
  }
  return kept.empty() ? "^sm" : kept;
}

Result<Worker> Worker::open(const UcxOptions& options) {
  Worker w;
  ucp_config_t* raw = nullptr;
  if (const auto s = ucp_config_read(nullptr, nullptr, &raw); s != UCS_OK) return ucx_failure("reading the UCX_* variables", s);
  const std::unique_ptr<ucp_config_t, void (*)(ucp_config_t*)> config(raw, ucp_config_release);
  if (options.exclude_shared_memory) {
    const std::string transports = without_shared_memory(environment("UCX_TLS"));
    if (const auto s = ucp_config_modify(config.get(), "TLS", transports.c_str()); s != UCS_OK)
      return ucx_failure("leaving shared memory out", s);
  }
  std::error_code none;
  const bool rdma = std::filesystem::directory_iterator("/sys/class/infiniband", none) != std::filesystem::directory_iterator();
  if (const auto r = set_defaults(config.get(), options.keepalive_s, rdma); !r) return tl::make_unexpected(r.error());
  if (!rdma && environment("UCX_RNDV_THRESH").empty()) w.eager_max_ = tcp_eager_max;

  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  ucs_status_t s = ucp_init(&params, config.get(), &w.context_);
  if (s != UCS_OK) {
    w.context_ = nullptr;
    return ucx_failure("creating a context", s);
  }
  ucp_worker_params_t worker{};
  worker.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  worker.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  s = ucp_worker_create(w.context_, &worker, &w.worker_);
  if (s != UCS_OK) {
    w.worker_ = nullptr;
    return ucx_failure("creating a worker", s);
  }
  ucp_worker_attr_t limits{};
  limits.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  w.may_copy_ = !rdma && sends_16_kib() && ucp_worker_query(w.worker_, &limits) == UCS_OK && limits.max_am_header >= piece_bytes;
  if (ucp_worker_get_efd(w.worker_, &w.event_fd_) != UCS_OK) w.event_fd_ = -1;
  return w;
}

std::size_t Worker::padding_for(const void* data, std::size_t bytes) const {
  constexpr std::size_t worthwhile = 4096, before = 13;
  if (bytes == 0) return 1;
  if (bytes < worthwhile || bytes > eager_max_) return 0;
  return (reinterpret_cast<std::uintptr_t>(data) - before) % 16;
}

bool Worker::is_quiet(void*& request) const {
  if (request != nullptr) {
    if (ucp_request_check_status(request) == UCS_INPROGRESS) return false;
    ucp_request_free(std::exchange(request, nullptr));
  }
  // What began during the last progress may be younger than the flush: only one that finds nothing to do counts.
  const ucp_request_param_t none{};
  const auto r = ucp_worker_flush_nbx(worker_, &none);
  if (UCS_PTR_IS_PTR(r)) request = r;
  return r == nullptr;
}

int Worker::outlive(bool has_endpoint) {
  struct Left {
    Worker worker;
    Clock::time_point since;
    bool has_endpoint;
    void* flush = nullptr;
  };
  constexpr auto until_peers_left = std::chrono::seconds(3);
  static std::mutex mutex;
  static auto* all = new std::vector<Left>;  // reachable, never destroyed
  static pid_t owner = getpid();
  ucp_am_handler_param_t nothing{};
  nothing.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB;
  ucp_worker_set_am_recv_handler(worker_, &nothing);
  const std::lock_guard lock(mutex);
  // After a fork they are the parent's: UCX cannot so much as close them here.
  if (std::exchange(owner, getpid()) != getpid()) all = new std::vector<Left>;
  std::erase_if(*all, [&](Left& l) {
    if (l.has_endpoint || Clock::now() - l.since < until_peers_left) return false;
    constexpr int rounds = 100;
    for (int i = 0; i < rounds && ucp_worker_progress(l.worker.get()) != 0; ++i) {
    }
    return l.worker.is_quiet(l.flush);
  });
  all->push_back({std::move(*this), Clock::now(), has_endpoint});
  return static_cast<int>(all->size());
}

Worker::~Worker() {
  if (worker_ != nullptr) ucp_worker_destroy(worker_);
  if (context_ != nullptr) ucp_cleanup(context_);
}

Result<std::vector<char>> Worker::address() const {
  ucp_address_t* address = nullptr;
  std::size_t bytes = 0;
  if (const auto s = ucp_worker_get_address(worker_, &address, &bytes); s != UCS_OK) return ucx_failure("the worker's address", s);
  const char* const first = reinterpret_cast<const char*>(address);
  std::vector<char> out(first, first + bytes);
  ucp_worker_release_address(worker_, address);
  return out;
}

// UCX 1.13 tells only in print: "lane[0]:  1:tcp/eth0.0 md[1]  -> ...".
std::string transports_of(ucp_ep_h ep) {
  char* text = nullptr;
  std::size_t bytes = 0;
  FILE* const out = open_memstream(&text, &bytes);
  if (out == nullptr) return "";
  ucp_ep_print_info(ep, out);
  std::fclose(out);
  const std::unique_ptr<char, void (*)(void*)> owner(text, std::free);
  const std::string_view all(text, bytes);
  std::set<std::string> names;
  for (std::size_t at = all.find("lane["); at != std::string_view::npos; at = all.find("lane[", at + 1)) {
    const std::size_t name = all.find(':', all.find("]:", at) + 2);
    if (name == std::string_view::npos) break;
    const std::size_t end = all.find_first_of(" \n", name);
    std::string_view one = all.substr(name + 1, end == std::string_view::npos ? end : end - name - 1);
    if (const std::size_t path = one.rfind('.'); path != std::string_view::npos) one = one.substr(0, path);
    if (one.find('/') != std::string_view::npos) names.emplace(one);
  }
  std::string joined;
  for (const std::string& n : names) joined += (joined.empty() ? "" : ", ") + n;
  return joined;
}

}  // namespace libcoll::xport::ucx
