#!/usr/bin/env bash
# From a fresh clone to numbers: installs what is missing, builds, shows the machine, and measures
# libcoll against the installed MPI. Tables, plots and JSON files end up in build/demo/.
# Usage: ./demo.sh            Fails if a result was wrong; never because libcoll was slower.
set -euo pipefail
cd "$(dirname "$0")"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
out=build/demo
bin=build/release/bin

step() { printf '\n== %s\n' "$*"; }

step "dependencies"
scripts/install-deps.sh

step "build"
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_C_COMPILER_LAUNCHER=ccache; fi
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)" --target coll coll-bench coll-info | tail -n 1
mkdir -p "$out"

mpirun=$(command -v mpirun.openmpi || command -v mpirun)
launch() { "$mpirun" --oversubscribe -n "$@"; }
collectives=(allreduce barrier bcast allgather reduce reduce_scatter alltoall gather scatter)

step "the machine"
launch 2 "$bin/coll-info" --save "$out/machine.json"

wrong=0
measure() {  # ranks name arguments...
  local ranks=$1 name=$2; shift 2
  launch "$ranks" "$bin/coll-bench" "${collectives[@]}" -c --vs mpi --repetitions 5 --json "$out/$name.json" --csv "$out/$name.csv" \
    --plot "$out/$name.png" "$@" 2>"$out/$name.err" | tee "$out/$name.txt" || { wrong=1; cat "$out/$name.err" >&2; }
}

step "2 ranks, 8 B to 1 MiB, private and shared memory"
measure 2 np2 -m 8:1M --memory both

step "4 ranks, small sizes"
measure 4 np4 -m 8:1K -i 200 -x 20

step "instructions"
"$bin/coll-bench" --instructions || echo "(not counted; needs valgrind)"

step "summary"
for name in np2 np4; do
  echo "# $out/$name.txt $out/$name.png $out/$name.json"
  awk '/^# summary/ {show = 1} /^# libcoll says/ {next} show' "$out/$name.txt"
  echo
done
if [ "$wrong" -ne 0 ]; then
  echo "demo: a result was wrong or a call failed; see $out/*.txt and $out/*.err" >&2
  exit 1
fi
echo "demo: all results were right"
