// The ranks of device_gpu as processes of one host, without a launcher.
#pragma once

#include <functional>

namespace libcoll::test {

inline constexpr int exit_skipped = 77;

// Forks them, with a meeting point of their own in their environment; body's result is the exit code of each. Returns 0 if all
// returned 0, exit_skipped if all returned that, else 1. Where one fails the others have a few seconds to hear of it; whoever
// still runs after `limit_s` is killed. Nothing may have touched CUDA in this process, nor started a thread.
int run_processes(int ranks, double limit_s, const std::function<int()>& body);

}  // namespace libcoll::test
