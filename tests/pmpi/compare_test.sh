#!/bin/bash
# compare_test.sh BUILD_BIN MPI LIBRARY WRONG MPIRUN...: what LIBCOLL_MPI=compare finds, and what it does not.
set -u
bin=$1 mpi=$2 library=$3 wrong=$4; shift 4
mpirun=("$@")
fail() { echo "compare_test: $*"; printf '%s\n' "${output:-}"; exit 1; }
has() { printf '%s\n' "$output" | grep -Eq -- "$1" || fail "no \"$1\""; }
lacks() { ! printf '%s\n' "$output" | grep -Eq -- "$1" || fail "\"$1\" has no business here"; }
run() { output=$(LIBCOLL_MPI=compare "${mpirun[@]}" -n 2 "$bin/coll-preload" "$@" 2>&1) || fail "$* failed"; has "pmpi test: passed"; }

# Equal results: rounding sums, moved data, in place, every type and layout, Fortran's names.
run "$bin/pmpi_compare_$mpi"
lacks "libcoll compare: rank"
has "^libcoll compare \($mpi\): [1-9][0-9]* calls of all ranks were run by both, 0 with another result"
has "^MPI_Allreduce +<= 64K +8 +[0-9.]+ +[0-9.]+ +[0-9.]+ +0  sum_with_cancellation\+0x"
has "^MPI_Allgather +<= 16 +8 .* 0  move_blocks\+0x"
has "^MPI_Barrier +0 +8 .* 0  main\+0x"
[ "$(printf '%s\n' "$output" | grep -c '^MPI_Allreduce .*sum_with_cancellation')" = 2 ] || fail "two calls in one function are two call sites"
for program in "pmpi_types_$mpi 5" "pmpi_shapes_$mpi 5" "pmpi_mixed_$mpi 20"; do
  run $(printf '%s/%s' "$bin" "$program")
  lacks "libcoll compare: rank"
  has " 0 with another result"
done
if [ -x "$bin/pmpi_names_mpi_$mpi" ]; then
  run "$bin/pmpi_names_mpi_$mpi"
  has "^MPI_Alltoallw .* 0  .*pmpi_names_mpi_$mpi"  # the program's own place, not the binding's
fi

# A user operation with side effects is run twice; the program goes on with the MPI's result.
run "$bin/pmpi_compare_$mpi" fickle
has "libcoll compare: rank [01] \([01] of 2 in its communicator\): MPI_Allreduce at main.*: element 3 is [0-9]+, the MPI's [0-9]+; 1 of 5 elements differ"
for rank in 0 1; do
  mpis=$(printf '%s\n' "$output" | sed -n "s/.*compare: rank $rank (.*the MPI's \([0-9]*\); 1 of 5.*/\1/p")
  [ -z "$mpis" ] || has "^rank $rank goes on with $mpis\$"
done

# A wrong MPI below.
output=$(LIBCOLL_MPI=compare "${mpirun[@]}" -n 2 env LD_PRELOAD="$library:$wrong" "$bin/pmpi_compare_$mpi" 2>&1) && fail "the program did not see the MPI's wrong result"
has "libcoll compare: rank 1 \(1 of 2 in its communicator\): MPI_Allgather at move_blocks\+0x.*: element 1 is 1, the MPI's 2; 1 of 2 elements differ"
has "pmpi test: rank 1: allgather"
echo "compare_test: passed"
