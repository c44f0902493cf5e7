#!/bin/bash
# arena_test.sh BUILD_BIN MPI MPIRUN...: whose buffers are lent with and without LIBCOLL_MPI_ARENA, and where it must stand back.
set -u
bin=$1 mpi=$2; shift 2
mpirun=("$@")
ranks=2
preload=$bin/coll-preload program=$bin/pmpi_arena_$mpi
fail() { echo "arena_test: $*"; [ -n "${output:-}" ] && printf '%s\n' "$output"; exit 1; }
# run LENT command...: must pass, and the report must show that so many buffers of MPI_Allreduce were lent.
run() {
  local lent=$1; shift
  output=$(LIBCOLL_MPI=report "${mpirun[@]}" -n $ranks "$@" 2>&1) || fail "$*: failed"
  case "$output" in *"pmpi test: passed"*) ;; *) fail "$*: did not pass" ;; esac
  local seen=$(printf '%s\n' "$output" | awk '$1 == "MPI_Allreduce" && $2 == "libcoll" { print $6 }')
  [ "$seen" = "$lent" ] || fail "$*: $seen buffers were lent, not $lent"
}
says() { case "$output" in *"$1"*) ;; *) fail "no \"$1\"" ;; esac; }
silent() { case "$output" in *"$1"*) fail "an unwanted \"$1\"" ;; esac; }

# Each origin gives two buffers on each rank.
run $((2 * ranks * 1)) "$preload" "$program" 0 1
export LIBCOLL_MPI_ARENA=1
run $((2 * ranks * 10)) "$preload" "$program" 9 1
silent LIBCOLL_MPI_ARENA
run $((2 * ranks * 1)) env LIBCOLL_MPI_ARENA_FROM=2M "$preload" "$program" 0 1
output=$(LIBCOLL_MPI=off "${mpirun[@]}" -n $ranks "$preload" "$program" 0 0 2>&1) || fail "LIBCOLL_MPI=off"
# One rank without: it copies, the other lends.
output=
run $((2 * 10 + 2 * 1)) sh -c 'if [ "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-}}" = 1 ]; then unset LIBCOLL_MPI_ARENA; set -- "$1" "$2" 0 1; fi; exec "$@"' sh "$preload" "$program" 9 1

# Where there is little room: an arena that is too small, and too little address space for all ranks' arenas.
run 0 env LIBCOLL_ARENA_BYTES=16M "$preload" "$program" 0 0 32
run $((2 * ranks * 10)) sh -c 'ulimit -v 8000000; exec "$@"' sh "$preload" "$program" 9 1
output=$(LIBCOLL_MPI=report "${mpirun[@]}" -n $ranks sh -c 'ulimit -f 2000000; exec "$@"' sh "$preload" "$program" 0 0 2>&1) || fail "ulimit -f"
says "allocations are left to the usual allocator"

# Another allocator: behind, it gets what is small; in front, everything, and is told so.
run $((2 * ranks * 10)) env LD_PRELOAD="$bin/../lib/other_malloc.so" OTHER_MALLOC_REPORT=1 "$preload" "$program" 9 1
says "other_malloc: small yes"
run $((2 * ranks * 1)) env LD_PRELOAD= "$preload" env OTHER_MALLOC_REPORT=1 \
  sh -c 'LD_PRELOAD=$0:$LD_PRELOAD exec "$@"' "$bin/../lib/other_malloc.so" "$program" 0 1
says "allocation functions of its own"
says "other_malloc: small yes, large yes"

# Not preloaded, and misspelt.
run $((2 * ranks * 1)) env LIBCOLL_MPI_ARENA=1 LD_PRELOAD="$bin/../lib/libcoll_mpi_$mpi.so" "$program" 0 1
says "libcoll_malloc.so is not preloaded"
output=$(LIBCOLL_MPI_ARENA=yes "$preload" "$program" 2>&1) && fail "LIBCOLL_MPI_ARENA=yes was accepted"
says "must be on or off"
output=$(LIBCOLL_MPI_ARENA_FROM=64Q "${mpirun[@]}" -n 1 "$preload" "$program" 0 1 2>&1) && fail "LIBCOLL_MPI_ARENA_FROM=64Q was accepted"
says "LIBCOLL_MPI_ARENA_FROM"

# Processes that are no MPI programs: no arena, whatever they allocate.
output=$("$preload" "$bin/pmpi_arena_helper" 2>&1) || fail "a process that is no MPI program"
if [ -x "$bin/pmpi_arena_f08_$mpi" ]; then run $((2 * ranks * 2)) "$preload" "$bin/pmpi_arena_f08_$mpi"; fi

# A rank that is killed.
"${mpirun[@]}" -n 2 "$preload" "$bin/pmpi_killed_$mpi" >/dev/null 2>&1 && fail "a job with a killed rank succeeded"
left=$(ls /dev/shm 2>/dev/null | grep libcoll)
[ -z "$left" ] || fail "left in /dev/shm: $left"
echo "arena_test: passed"
