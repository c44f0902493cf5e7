#!/bin/sh
# Runs a program with libcoll's MPI interposer preloaded: mpirun -n 4 coll-preload ./app arguments...
# Which MPI: LIBCOLL_MPI_FLAVOUR=openmpi|mpich|abi; else what the program is linked to; else (scripts, programs that load
# their MPI later) what the launcher left in the environment; else which mpirun comes first in PATH.
set -eu

fail() { echo "coll-preload: $*" >&2; exit 2; }
[ $# -gt 0 ] || fail "usage: mpirun -n RANKS coll-preload PROGRAM [ARGUMENTS...]"
program=$(command -v -- "$1") || fail "$1: not found"

of_program() {
  case "$(ldd "$program" 2>/dev/null || true)" in
    *libmpi_abi.so*) echo abi ;;
    *libmpich.so*|*libmpi.so.12*) echo mpich ;;
    *libmpi.so*|*libmpi_mpifh*|*libmpi_usempif08*) echo openmpi ;;
  esac
}
of_environment() {
  if [ -n "${OMPI_COMM_WORLD_SIZE:-}" ]; then echo openmpi
  elif [ -n "${HYDI_CONTROL_FD:-}${PMI_SIZE:-}" ]; then echo mpich
  fi
}
of_mpirun() {
  case "$(mpirun --version 2>/dev/null || true)" in
    *"Open MPI"*|*OpenRTE*) echo openmpi ;;
    *HYDRA*|*MPICH*) echo mpich ;;
  esac
}

# The folder of the launcher that started this process, else of the one in PATH.
of_launcher() {
  pid=$PPID
  while [ "${pid:-0}" -gt 1 ]; do
    exe=$(readlink "/proc/$pid/exe" 2>/dev/null || true)
    case "${exe##*/}" in
      orterun|orted|prterun|prted|prte|mpirun*|mpiexec*|hydra_pmi_proxy) dirname -- "$exe"; return ;;
    esac
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null || true)
  done
  exe=$(command -v mpirun) && dirname -- "$(readlink -f -- "$exe")"
}

linked=$(of_program)
flavour=${LIBCOLL_MPI_FLAVOUR:-}
[ -n "$flavour" ] || flavour=$linked
[ -n "$flavour" ] || flavour=$(of_environment)
[ -n "$flavour" ] || flavour=$(of_mpirun)
case "$flavour" in
  openmpi) names=libmpi.so.40 ;;
  mpich) names="libmpi.so.12 libmpich.so.12" ;;
  abi) names="libmpi_abi.so.1 libmpi_abi.so.0" ;;
  "") fail "cannot tell which MPI $1 uses; set LIBCOLL_MPI_FLAVOUR to openmpi, mpich or abi" ;;
  *) fail "LIBCOLL_MPI_FLAVOUR is \"$flavour\"; it must be openmpi, mpich or abi" ;;
esac

here=$(dirname -- "$(readlink -f -- "$0")")
library=
for folder in "$here"/../lib "$here"/../lib64 "$here"/../lib/*-linux-gnu; do
  if [ -e "$folder/libcoll_mpi_$flavour.so" ]; then
    library=$(readlink -f -- "$folder")/libcoll_mpi_$flavour.so
    break
  fi
done
[ -n "$library" ] || fail "libcoll_mpi_$flavour.so is not in $here/../lib: was libcoll built where $flavour is installed?"
# A program that loads its MPI later must find the launcher's, not the one that the loader would find for us now.
mpi=${LIBCOLL_MPI_LIBRARY:-}
if [ -z "$mpi" ] && [ -z "$linked" ]; then
  prefix=$(of_launcher || true)/..
  for name in $names; do
    for folder in "$prefix/lib" "$prefix/lib64"; do
      [ -n "$mpi" ] || [ ! -e "$folder/$name" ] || mpi=$(readlink -f -- "$folder")/$name
    done
  done
fi
[ -z "$mpi" ] || [ -e "$mpi" ] || fail "LIBCOLL_MPI_LIBRARY: $mpi does not exist"
# Other tools first: they see the program's calls, we see theirs. But for allocations: what is not large goes on to the next.
case "${LIBCOLL_MPI_ARENA:-}" in
  1|on) LD_PRELOAD=${library%/*}/libcoll_malloc.so${LD_PRELOAD:+:$LD_PRELOAD} ;;
  ""|0|off) ;;
  *) fail "LIBCOLL_MPI_ARENA is \"$LIBCOLL_MPI_ARENA\"; it must be on or off" ;;
esac
LD_PRELOAD="${LD_PRELOAD:+$LD_PRELOAD:}$library${mpi:+:$mpi}" exec "$@"
