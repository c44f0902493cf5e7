#!/bin/bash
# preload_test.sh BUILD_BIN MPI MPIRUN...: what coll-preload and LIBCOLL_MPI do with good and bad values.
set -u
bin=$1 mpi=$2; shift 2
mpirun=("$@")
preload=$bin/coll-preload program=$bin/pmpi_threads_$mpi
fail() { echo "preload_test: $*"; [ -n "${output:-}" ] && printf '%s\n' "$output"; exit 1; }
expect() {  # code text command...
  local code=$1 text=$2; shift 2
  output=$("$@" 2>&1)
  [ $? -eq "$code" ] || fail "$*: another exit code than $code"
  case "$output" in *"$text"*) ;; *) fail "$*: no \"$text\" in its output" ;; esac
}
expect 2 "usage:" "$preload"
expect 2 "no-such-program: not found" "$preload" no-such-program
expect 2 "must be openmpi, mpich or abi" env LIBCOLL_MPI_FLAVOUR=lam "$preload" "$program"
expect 0 "$mpi" "$preload" env -u LIBCOLL_MPI LIBCOLL_MPI_FLAVOUR=$mpi "$preload" sh -c 'echo "$LD_PRELOAD"'
# A script gets the MPI that its launcher belongs to: here a shell that is called mpirun, beside this MPI's library.
library=$(ldd "$program" | sed -n 's/.*=> \(.*\/libmpi\(ch\|_abi\)\?\.so\.[0-9]*\) .*/\1/p')
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
mkdir "$prefix/bin"
cp "$(readlink -f /bin/sh)" "$prefix/bin/mpirun"
folder=$(readlink -f "$(dirname "$library")")
ln -s "$folder" "$prefix/lib"
print='"$0" sh -c "echo \$LD_PRELOAD"; true'
expect 0 ":$folder/${library##*/}" env LIBCOLL_MPI_FLAVOUR=$mpi "$prefix/bin/mpirun" -c "$print" "$preload"
expect 0 ":$library" env LIBCOLL_MPI_FLAVOUR=$mpi LIBCOLL_MPI_LIBRARY="$library" "$prefix/bin/mpirun" -c "$print" "$preload"
expect 2 "nowhere does not exist" env LIBCOLL_MPI_FLAVOUR=$mpi LIBCOLL_MPI_LIBRARY=/nowhere "$preload" sh
run() { "${mpirun[@]}" -n 2 "$preload" "$@"; }
output=$(LIBCOLL_MPI=nonsense run "$program" 2>&1) && fail "LIBCOLL_MPI=nonsense was accepted"
case "$output" in *"must be on, off, report, check or compare"*) ;; *) fail "LIBCOLL_MPI=nonsense: no clear message" ;; esac
for mode in on off check report compare; do
  output=$(LIBCOLL_MPI=$mode run "$program" 60 2>&1) || fail "LIBCOLL_MPI=$mode failed"
  case "$output" in *"pmpi test: passed"*) ;; *) fail "LIBCOLL_MPI=$mode did not pass" ;; esac
  printf '%s\n' "$output" | grep -q '^MPI_Allreduce  *libcoll ' && seen=report || seen=
  [ "$seen" = "$(test $mode = report && echo report)" ] || fail "LIBCOLL_MPI=$mode: a report where none belongs, or none"
done
# The report's algorithms: those that explain knows, and a recipe by its name.
output=$(LIBCOLL_MPI=report run "$bin/pmpi_compare_$mpi" 2>&1) || fail "the program of LIBCOLL_MPI=compare failed"
printf '%s\n' "$output" | grep -Eq '^MPI_Barrier  *libcoll .*  flat flags$' || fail "no algorithm of the barrier"
output=$(LIBCOLL_MPI=report LIBCOLL_NETWORK=on LIBCOLL_ALLREDUCE=ring run "$bin/pmpi_compare_$mpi" 2>&1) || fail "with a named algorithm the program failed"
printf '%s\n' "$output" | grep -Eq '^MPI_Allreduce  *libcoll .*  ring$' || fail "the named algorithm is not reported"
# A program that a script starts; that its MPI has the standard ABI cannot be seen from outside.
[ "$mpi" != abi ] || export LIBCOLL_MPI_FLAVOUR=abi
output=$(LIBCOLL_MPI=report run sh -c "$program" 2>&1) || fail "through a script"
printf '%s\n' "$output" | grep -q '^MPI_Allreduce  *libcoll ' || fail "a program started by a script did not run in libcoll"
# A rank that is killed.
run "$bin/pmpi_killed_$mpi" >/dev/null 2>&1 && fail "a job with a killed rank succeeded"
# One that aborts.
run "$bin/pmpi_abort_$mpi" >/dev/null 2>&1
code=$?
[ $code -eq 7 ] || fail "a job whose rank aborts with code 7 ended with $code"
left=$(ls /dev/shm 2>/dev/null | grep libcoll)
[ -z "$left" ] || fail "left in /dev/shm: $left"
echo "preload_test: passed"
