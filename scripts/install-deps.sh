#!/usr/bin/env bash
# Installs what libcoll builds, tests and plots with, from Debian's packages. Idempotent: packages that
# are already there are left alone, and nothing is asked of the network when none is missing.
# Usage: scripts/install-deps.sh [--build-only | --programs]
#   --build-only  no Clang, valgrind, plots, MPICH;  --programs  also what tests/programs runs
set -euo pipefail

build=(g++ cmake ninja-build pkg-config libhwloc-dev libsodium-dev libhwy-dev libfmt-dev libspdlog-dev
       nlohmann-json3-dev libexpected-dev libcli11-dev libboost-context-dev libucx-dev libexpat1-dev)
extra=(libopenmpi-dev openmpi-bin libmpich-dev mpich libgtest-dev libgmock-dev libbenchmark-dev
       python3 python3-dev python3-venv python3-matplotlib valgrind clang-14 libclang-rt-14-dev ccache gfortran iproute2 util-linux git ca-certificates)
programs=(scalapack-mpi-test hpcc lammps lammps-examples)
packages=("${build[@]}")
[ "${1:-}" = "--build-only" ] || packages+=("${extra[@]}")
[ "${1:-}" = "--programs" ] && packages+=("${programs[@]}")

missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "install-deps: everything is installed"
  exit 0
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install-deps: run as root or install sudo; missing: ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
echo "install-deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "install-deps: done"
