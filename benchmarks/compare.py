#!/usr/bin/env python3
"""Compares two coll-bench JSON files: compare.py BEFORE.json AFTER.json

A cell counts as "same" unless the repetitions of both runs lie apart (the most extreme one of each
left out) and their medians differ by more than --threshold. With --by ratio, both runs are taken
relative to the MPI measured beside them, which cancels a machine that was slower on that day.
"""
import argparse
import json
import math
import sys


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        sys.exit(f"compare.py: {path}: {error}")


def samples(cell, by):
    """Smaller is better in both."""
    if by == "ratio":
        return [1 / r for r in cell.get("ratios", [])]
    return cell.get("libcoll", {}).get("repetitions_us", [])


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def core(values):
    """Range of the repetitions without the one farthest from the median, if there are enough."""
    center = median(values)
    kept = sorted(values, key=lambda v: abs(math.log(v / center)))
    if len(kept) >= 4:
        kept = kept[:-1]
    return min(kept), max(kept)


def verdict(before, after, threshold):
    (before_low, before_high), (after_low, after_high) = core(before), core(after)
    change = median(after) / median(before)
    apart = after_low > before_high or after_high < before_low
    if not apart or abs(math.log(change)) < math.log(1 + threshold):
        return "same"
    return "SLOWER" if change > 1 else "faster"


def cells_of(results):
    return {(c["collective"], c["memory"], c["bytes"]): c for c in results.get("cells", [])}


def warn_if_unlike(before, after):
    for part, keys in (("machine", ("ranks", "hosts", "cpu")), ("options", ("type", "op", "buffers", "barrier", "algorithm"))):
        for key in keys:
            a, b = before.get(part, {}).get(key), after.get(part, {}).get(key)
            if a != b:
                print(f"# caution: {key} differs: {a!r} and {b!r}")
    lines = [r.get("machine", {}).get(key, 0) for r in (before, after) for key in ("line_ns", "line_after_ns")]
    if min(lines) > 0 and max(lines) > 1.5 * min(lines):
        print("# caution: line transfer differs within or between the runs ({}): times of small messages follow it".format(
            ", ".join(f"{ns:.0f} ns" for ns in lines)))


def compare(before, after, options):
    counts = {"same": 0, "faster": 0, "SLOWER": 0}
    rows = []
    others = cells_of(after)
    unit = "us" if options.by == "time" else "of MPI"
    for key, cell in cells_of(before).items():
        old, new = samples(cell, options.by), samples(others.get(key, {}), options.by)
        if not old or not new:
            continue
        word = verdict(old, new, options.threshold)
        counts[word] += 1
        if word != "same" or options.all:
            rows.append((*key, median(old), median(new), median(new) / median(old), word))
    if rows:
        print(f"{'collective':<16} {'memory':<8} {'bytes':>10} {'before ' + unit:>14} {'after ' + unit:>14} {'change':>8}")
    for name, memory, size, old, new, change, word in rows:
        print(f"{name:<16} {memory:<8} {size:>10} {old:>14.3f} {new:>14.3f} {100 * (change - 1):>+7.1f}% {word}")
    for part in (before, after):
        part.setdefault("instructions", {})
    counts_of = [r["instructions"].get("per_call") for r in (before, after)]
    if all(counts_of):
        print(f"instructions per 8-byte allreduce: {counts_of[0]:.1f} -> {counts_of[1]:.1f}")
    print(f"{counts['same']} same, {counts['faster']} faster, {counts['SLOWER']} slower")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--by", choices=("time", "ratio"), default="time")
    parser.add_argument("--threshold", type=float, default=0.05, help="smallest change that counts (0.05)")
    parser.add_argument("--all", action="store_true", help="also list cells that are the same")
    parser.add_argument("--fail-if-slower", action="store_true", help="exit with 1 if a cell is slower")
    options = parser.parse_args()
    before, after = load(options.before), load(options.after)
    warn_if_unlike(before, after)
    counts = compare(before, after, options)
    if sum(counts.values()) == 0 and not (before["instructions"] and after["instructions"]):
        sys.exit("compare.py: the files have no cell in common")
    sys.exit(1 if options.fail_if_slower and counts["SLOWER"] else 0)


if __name__ == "__main__":
    main()
