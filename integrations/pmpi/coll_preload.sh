#!/bin/sh
# Runs a program with libcoll's MPI interposer preloaded: mpirun -n 4 coll-preload ./app arguments...
# Which MPI: LIBCOLL_MPI_FLAVOUR=openmpi|mpich; else what the program is linked to; else (scripts, programs that load
# their MPI later) what the launcher left in the environment; else which mpirun comes first in PATH.
set -eu

fail() { echo "coll-preload: $*" >&2; exit 2; }
[ $# -gt 0 ] || fail "usage: mpirun -n RANKS coll-preload PROGRAM [ARGUMENTS...]"
program=$(command -v -- "$1") || fail "$1: not found"

of_program() {
  case "$(ldd "$program" 2>/dev/null || true)" in
    *libmpich.so*|*libmpi.so.12*) echo mpich ;;
    *libmpi.so*|*libmpi_mpifh*|*libmpi_usempif08*) echo openmpi ;;
  esac
}
of_environment() {
  if [ -n "${OMPI_COMM_WORLD_SIZE:-}" ]; then echo openmpi
  elif [ -n "${HYDRA_CONTROL_FD:-}${PMI_SIZE:-}" ]; then echo mpich
  fi
}
of_mpirun() {
  case "$(mpirun --version 2>/dev/null || true)" in
    *"Open MPI"*|*OpenRTE*) echo openmpi ;;
    *HYDRA*|*MPICH*) echo mpich ;;
  esac
}

flavour=${LIBCOLL_MPI_FLAVOUR:-}
[ -n "$flavour" ] || flavour=$(of_program)
[ -n "$flavour" ] || flavour=$(of_environment)
[ -n "$flavour" ] || flavour=$(of_mpirun)
case "$flavour" in
  openmpi|mpich) ;;
  "") fail "cannot tell which MPI $1 uses; set LIBCOLL_MPI_FLAVOUR to openmpi or mpich" ;;
  *) fail "LIBCOLL_MPI_FLAVOUR is \"$flavour\"; it must be openmpi or mpich" ;;
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
# Other tools first: they see the program's calls, we see theirs. But for allocations: what is not large goes on to the next.
case "${LIBCOLL_MPI_ARENA:-}" in
  1|on) LD_PRELOAD=${library%/*}/libcoll_malloc.so${LD_PRELOAD:+:$LD_PRELOAD} ;;
  ""|0|off) ;;
  *) fail "LIBCOLL_MPI_ARENA is \"$LIBCOLL_MPI_ARENA\"; it must be on or off" ;;
esac
LD_PRELOAD="${LD_PRELOAD:+$LD_PRELOAD:}$library" exec "$@"
