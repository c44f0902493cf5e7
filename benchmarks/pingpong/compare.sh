#!/bin/bash
# compare.sh RUNS PRELOAD PROGRAM MPIRUN...: pingpong with and without the interposer by turns; per size the medians of RUNS runs
# each, their ratio, that of the lower quartiles (where runs have two states, a median may be either), and how far apart the
# runs without it were among themselves (the noise).
set -eu
runs=$1 preload=$2 program=$3; shift 3
records=$(mktemp)
trap 'rm -f "$records"' EXIT
for ((i = 0; i < runs; ++i)); do
  # Who goes first alternates.
  order=(without with)
  [ $((i % 2)) = 0 ] || order=(with without)
  for way in "${order[@]}"; do
    command=("$program")
    [ $way = without ] || command=("$preload" "$program")
    "$@" -n 2 "${command[@]}" | sed "s/^/$way /" >>"$records"
  done
done
python3 - "$records" <<'P'
import statistics, sys
times = {}
for line in open(sys.argv[1]):
    way, size, us = line.split()
    times.setdefault(int(size), {}).setdefault(way, []).append(float(us))
print(f"{'bytes':>8} {'us without':>11} {'us with':>9} {'with/without':>13} {'quartiles':>10} {'without: min to max':>22}")
for size, t in sorted(times.items()):
    a, b = statistics.median(t["without"]), statistics.median(t["with"])
    low = {way: statistics.quantiles(us, n=4)[0] for way, us in t.items()}
    print(f"{size:8} {a:11.3f} {b:9.3f} {b / a:13.3f} {low['with'] / low['without']:10.3f} {min(t['without']) / a:13.3f} to {max(t['without']) / a:.3f}")
P
