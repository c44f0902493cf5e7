#!/usr/bin/env python3
"""Markdown tables of coll-bench's JSON files, as in docs/performance.md.

summarize.py FILE...   one row per file, collective and memory: geometric mean of the ratios and worst
cell; then the ratios of allreduce by size.
"""
import json
import math
import sys


def size_text(n):
    for unit, shift in (("M", 20), ("K", 10)):
        if n >= 1 << shift and n % (1 << shift) == 0:
            return f"{n >> shift}{unit}"
    return str(n)


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def by_key(run):
    groups = {}
    for cell in run["cells"]:
        if cell.get("ratio"):
            groups.setdefault((cell["collective"], cell["memory"]), []).append(cell)
    return groups


def state(run):
    before, after = run["machine"]["line_ns"], run["machine"]["line_after_ns"]
    name = lambda ns: "near" if ns < 120 else "far"
    if not before or not after:
        return "unmeasured"
    return name(before) if name(before) == name(after) else f"{name(before)}, then {name(after)}"


def main(paths):
    if not paths:
        sys.exit(__doc__)
    runs = [load(p) for p in paths]
    print("| ranks | against | cores | memory | collective | cells | geometric mean | worst cell |")
    print("|---|---|---|---|---|---|---|---|")
    for run in runs:
        for (collective, memory), cells in by_key(run).items():
            ratios = [c["ratio"] for c in cells]
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            worst = min(cells, key=lambda c: c["ratio"])
            print(f"| {run['machine']['ranks']} | {run['machine']['mpi']} | {state(run)} | {memory} | {collective} | {len(cells)} | {mean:.2f} | "
                  f"{worst['ratio']:.2f} at {size_text(worst['bytes'])} |")
    print()
    for run in runs:
        for (collective, memory), cells in by_key(run).items():
            if collective != "allreduce":
                continue
            print(f"{run['machine']['ranks']} ranks, {run['machine']['mpi']}, {memory}: " + ", ".join(f"{size_text(c['bytes'])} {c['ratio']:.2f}" for c in cells))


if __name__ == "__main__":
    main(sys.argv[1:])
