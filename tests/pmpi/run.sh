#!/bin/sh
# run.sh [-r "MPI_Allreduce MPI_Bcast ..."] command...: the command must succeed, say that it passed, and its report must
# show that each named collective ran in libcoll.
names=
if [ "$1" = -r ]; then names=$2; shift 2; fi
before=$(ls /dev/shm 2>/dev/null | grep -c libcoll)
output=$(LIBCOLL_MPI=report "$@" 2>&1)
code=$?
printf '%s\n' "$output"
[ $code -ne 77 ] || exit 77  # skipped: this machine cannot do it
[ $code -eq 0 ] || { echo "run.sh: exit code $code"; exit 1; }
case "$output" in *"pmpi test: passed"*) ;; *) echo "run.sh: it did not say that it passed"; exit 1 ;; esac
for name in $names; do
  printf '%s\n' "$output" | grep -q "^$name  *libcoll " || { echo "run.sh: $name did not run in libcoll"; exit 1; }
done
[ "$(ls /dev/shm 2>/dev/null | grep -c libcoll)" -le "$before" ] || { echo "run.sh: something is left in /dev/shm"; exit 1; }
