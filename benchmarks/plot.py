#!/usr/bin/env python3
"""Draws a coll-bench JSON file: plot.py RESULTS.json OUT.png

For each collective the latency over the size, and below it the ratio MPI / libcoll. Private and
shared memory are separate series. Exit code 3: this python has no matplotlib.
"""
import json
import math
import sys

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
except ImportError:
    sys.exit(3)

LIBCOLL = {"private": "#1f5fbf", "shared": "#12a089"}
MPI = {"private": "#e07b27", "shared": "#c9a227"}
INK, FAINT = "#333333", "#d8d8d8"


def bytes_text(value, _=None):
    for unit, shift in (("M", 20), ("K", 10)):
        if value >= 1 << shift:
            return f"{value / (1 << shift):g}{unit}"
    return f"{value:g}"


def us_text(value, _=None):
    return f"{value:g}"


def ratio_text(value, _=None):
    return f"{value:g}x"


def good(cells, library):
    return [c for c in cells if c.get(library, {}).get("avg_us")]


def style(axes):
    axes.grid(True, which="major", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")
    axes.tick_params(labelsize=8, colors=INK, length=2.5)


def size_axis(axes, sizes):
    axes.set_xscale("log", base=2)
    first, last = min(sizes), max(sizes)
    octaves = max(1, round(math.log2(last / first))) if last > first else 1
    step = max(1, math.ceil(octaves / 6))
    axes.set_xticks([first * 2**i for i in range(0, octaves + 1, step)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(bytes_text))
    if last > first:
        axes.set_xlim(first / 1.3, last * 1.3)


def draw_latency(axes, cells):
    for library, colors, line, name in (("mpi", MPI, "--", "MPI"), ("libcoll", LIBCOLL, "-", "libcoll")):
        for memory in ("private", "shared"):
            points = [c for c in good(cells, library) if c["memory"] == memory]
            if points:
                axes.plot([c["bytes"] for c in points], [c[library]["avg_us"] for c in points], line, color=colors[memory],
                          marker="o", markersize=3, linewidth=1.5, label=f"{name}, {memory}")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 8 * low:  # noise must not look like a mountain
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(8), middle * math.sqrt(8)
        axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if high < 200 * low else (1,), numticks=12))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(us_text))


def draw_ratio(axes, cells):
    ratios = [c["ratio"] for c in cells if "ratio" in c]
    low, high = min(ratios + [1.0]), max(ratios + [1.0])
    for memory in ("private", "shared"):
        points = [c for c in cells if "ratio" in c and c["memory"] == memory]
        if not points:
            continue
        x = [c["bytes"] for c in points]
        # Where repetitions disagree, a band shows the quarters around the median.
        quarters = [sorted(c["ratios"]) for c in points]
        axes.fill_between(x, [q[len(q) // 4] for q in quarters], [q[-1 - len(q) // 4] for q in quarters],
                          color=LIBCOLL[memory], alpha=0.15, linewidth=0)
        axes.plot(x, [c["ratio"] for c in points], "-o", color=LIBCOLL[memory], markersize=3, linewidth=1.5)
    axes.set_yscale("log", base=2)
    low, high = min(low / 1.3, 0.7), max(high * 1.3, 1.6)
    axes.set_ylim(low, high)
    axes.axhspan(low, 1, color="#c0392b", alpha=0.07, linewidth=0)
    axes.axhline(1, color=INK, linewidth=0.9)
    exponents = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    axes.set_yticks([2.0**e for e in exponents if len(exponents) <= 6 or e % 2 == 0])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(ratio_text))


def draw_curves(figure, place, name, cells, versus):
    if versus:
        inner = place.subgridspec(2, 1, height_ratios=(2.2, 1), hspace=0.12)
        top, bottom = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
    else:
        top, bottom = figure.add_subplot(place), None
    sizes = [c["bytes"] for c in cells]
    draw_latency(top, cells)
    top.set_title(name, fontsize=11, color=INK, loc="left", fontweight="bold")
    for axes in filter(None, (top, bottom)):
        size_axis(axes, sizes)
        style(axes)
    if bottom:
        draw_ratio(bottom, cells)
        top.tick_params(labelbottom=False)
    return top, bottom or top


def draw_bars(figure, place, name, cells):
    """A collective without sizes."""
    axes = figure.add_subplot(place)
    bars = [(label, c[key]["avg_us"], color["private"]) for c in cells
            for key, label, color in (("libcoll", "libcoll", LIBCOLL), ("mpi", "MPI", MPI)) if c.get(key, {}).get("avg_us")]
    axes.bar([b[0] for b in bars], [b[1] for b in bars], color=[b[2] for b in bars], width=0.5)
    for i, bar in enumerate(bars):
        axes.annotate(f"{bar[1]:.2f}", (i, bar[1]), ha="center", va="bottom", fontsize=9, color=INK, xytext=(0, 2), textcoords="offset points")
    ratio = next((f"   MPI / libcoll = {c['ratio']:.2f}x" for c in cells if "ratio" in c), "")
    axes.set_title(name, fontsize=11, color=INK, loc="left", fontweight="bold")
    axes.set_xlabel(ratio.strip(), fontsize=9, color=INK)
    axes.set_xlim(-0.7, max(len(bars), 2) - 0.3)
    axes.margins(y=0.15)
    style(axes)
    axes.grid(False, axis="x")
    return axes


def place_title(figure, results, versus, height):
    machine, options = results["machine"], results["options"]
    against = f" and {machine['mpi']}" if versus else ""
    figure.suptitle(f"libcoll {machine['libcoll']}{against}: latency on {machine['ranks']} ranks", x=0.012, y=1 - 0.12 / height,
                    ha="left", va="top", fontsize=14, color=INK, fontweight="bold")
    lines = sorted(ns for ns in (machine["line_ns"], machine["line_after_ns"]) if ns > 0)
    line = ""
    if lines:
        line = f", cache line one way {lines[0]:.0f} ns" if lines[-1] < 1.2 * lines[0] else f", cache line one way {lines[0]:.0f} to {lines[-1]:.0f} ns"
    median = f"median of {options['repetitions']} {'interleaved ' if versus else ''}repetitions"
    crowd = ", ranks outnumber CPUs" if machine["oversubscribed"] else ""
    figure.text(0.012, 1 - 0.47 / height, f"{machine['cpu']}{line}{crowd}; {options['type']}, {options['buffers']} buffers, {median}", ha="left", va="top", fontsize=9.5, color="#666666")


def draw(results, png):
    cells = [c for c in results.get("cells", []) if good([c], "libcoll") or good([c], "mpi")]
    if not cells:
        sys.exit("plot.py: no cell has a time")
    names = list(dict.fromkeys(c["collective"] for c in cells))
    versus = any("mpi" in c for c in cells)
    # The widest grid of at most five columns that leaves the fewest places empty.
    columns = len(names) if len(names) <= 3 else min((5, 4, 3), key=lambda c: -len(names) % c)
    rows = math.ceil(len(names) / columns)
    width, height = max(3.6 * columns + 0.5, 6.5), (3.9 if versus else 3.1) * rows + 1.35
    figure = plt.figure(figsize=(width, height), dpi=130)
    grid = figure.add_gridspec(rows, columns, left=0.6 / width, right=1 - 0.15 / width, top=1 - 1.05 / height, bottom=0.85 / height,
                               hspace=0.28, wspace=0.2)
    handles = {}
    for i, name in enumerate(names):
        mine = [c for c in cells if c["collective"] == name]
        place = grid[i // columns, i % columns]
        if max(c["bytes"] for c in mine) == 0:
            top = draw_bars(figure, place, name, mine)
            top.set_ylabel("latency (us)" if i % columns == 0 else "", fontsize=9, color=INK)
            continue
        top, bottom = draw_curves(figure, place, name, mine, versus)
        handles.update({label: h for h, label in zip(*top.get_legend_handles_labels())})
        if i % columns == 0:
            top.set_ylabel("latency (us)", fontsize=9, color=INK)
            if versus:
                bottom.set_ylabel("MPI / libcoll", fontsize=9, color=INK)
        if i + columns >= len(names):
            bottom.set_xlabel("message size (bytes)", fontsize=9, color=INK)
    order = sorted(handles, key=lambda label: (not label.startswith("libcoll"), label))
    figure.legend([handles[o] for o in order], order, loc="lower center", ncol=len(order) or 1, frameon=False, fontsize=10, bbox_to_anchor=(0.5, 0.0))
    place_title(figure, results, versus, height)
    figure.savefig(png)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        results = json.load(file)
    draw(results, sys.argv[2])


if __name__ == "__main__":
    main()
