#!/usr/bin/env python3
"""libcoll beside Gloo: collectives of torch.distributed on CPU tensors, both backends in the same processes, by turns.

    compare.py [--ranks N] [--repetitions R] [--max BYTES] [--collectives a,b] [--dtypes float32,bfloat16] [--json F] [--plot F]
    torchrun ... compare.py ...    (then the ranks are torchrun's; so with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, and under
                                    tests/support/hosts/hosts.py)

Per cell: the median over the repetitions of the ratio Gloo's time / libcoll's, each repetition timing first the one, then the
other. Times depend on the machine; ratios of one run compare. Ends with geometric means and the worst cell of each collective.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ranks", type=int, default=2)
    p.add_argument("--repetitions", type=int, default=5)
    p.add_argument("--min", type=int, default=4, help="bytes")
    p.add_argument("--max", type=int, default=64 << 20, help="bytes")
    p.add_argument("--collectives", default="allreduce,allgather,reduce_scatter,broadcast,alltoall")
    p.add_argument("--dtypes", default="float32,bfloat16")
    p.add_argument("--step", type=int, default=4, help="factor from size to size")
    p.add_argument("--json", help="file for the cells")
    p.add_argument("--plot", help="file for a plot (matplotlib)")
    p.add_argument("--show", metavar="JSON", help="print and plot the cells of such a file; measures nothing")
    return p.parse_args()


def calls(name, elements, dtype, group):
    """The call, whose message is of `elements` (allgather, reduce_scatter: the long side)."""
    n = dist.get_world_size()
    block = max(1, elements // n)
    if name == "allreduce":
        t = torch.ones(elements, dtype=dtype)
        return lambda: dist.all_reduce(t, group=group), t
    if name == "broadcast":
        t = torch.ones(elements, dtype=dtype)
        return lambda: dist.broadcast(t, 0, group=group), t
    if name == "allgather":
        out, t = torch.empty(block * n, dtype=dtype), torch.ones(block, dtype=dtype)
        return lambda: dist.all_gather_into_tensor(out, t, group=group), t
    if name == "reduce_scatter":
        out, t = torch.empty(block, dtype=dtype), torch.ones(block * n, dtype=dtype)
        return lambda: dist.reduce_scatter_tensor(out, t, group=group), t
    if name == "alltoall":
        out, t = torch.empty(block * n, dtype=dtype), torch.ones(block * n, dtype=dtype)
        return lambda: dist.all_to_all_single(out, t, group=group), t
    raise SystemExit(f"compare.py: unknown collective {name}")


def measure(call, tensor, repeat):
    tensor.fill_(1)  # sums must not overflow
    dist.barrier()
    begin = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - begin) / repeat


def body(rank, args, store):
    import warnings

    warnings.simplefilter("ignore")
    import libcoll_torch  # noqa: F401

    torch.set_num_threads(1)
    if store is not None:
        dist.init_process_group("libcoll", init_method=f"file://{store}", rank=rank, world_size=args.ranks)
    else:
        dist.init_process_group("libcoll")
    groups = {"libcoll": dist.group.WORLD, "gloo": dist.new_group(backend="gloo")}
    cells = []
    for collective in args.collectives.split(","):
        for dtype_name in args.dtypes.split(","):
            dtype = getattr(torch, dtype_name)
            size = args.min
            while size <= args.max:
                elements = max(1, size // dtype.itemsize)
                made = {name: calls(collective, elements, dtype, g) for name, g in groups.items()}
                repeat = max(2, min(200, int(2e7 / (size + 1e5))))
                times = {name: [] for name in groups}
                for name in groups:
                    measure(*made[name], 2)
                for _ in range(args.repetitions):
                    for name in groups:
                        times[name].append(measure(*made[name], repeat))
                mine = torch.tensor([times["gloo"][i] / times["libcoll"][i] for i in range(args.repetitions)])
                dist.broadcast(mine, 0)
                cells.append({"collective": collective, "dtype": dtype_name, "bytes": size, "ratio": statistics.median(mine.tolist()),
                              "libcoll_us": statistics.median(times["libcoll"]) * 1e6, "gloo_us": statistics.median(times["gloo"]) * 1e6})
                if rank == 0:
                    c = cells[-1]
                    print(f"{collective:15} {dtype_name:9} {size:9} B   libcoll {c['libcoll_us']:10.1f} us   gloo {c['gloo_us']:10.1f} us   ratio {c['ratio']:6.2f}", flush=True)
                size *= args.step
    if int(os.environ.get("RANK", rank)) == 0:
        report(args, cells, dist.get_world_size())
    dist.barrier()
    dist.destroy_process_group()


def report(args, cells, ranks):
    print(f"\nGloo's time / libcoll's, {ranks} ranks, median of {args.repetitions}:")
    for collective in args.collectives.split(","):
        for dtype in args.dtypes.split(","):
            mine = [c for c in cells if c["collective"] == collective and c["dtype"] == dtype]
            mean = math.exp(sum(math.log(c["ratio"]) for c in mine) / len(mine))
            worst = min(mine, key=lambda c: c["ratio"])
            print(f"  {collective:15} {dtype:9} geometric mean {mean:6.2f}   worst {worst['ratio']:6.2f} at {worst['bytes']} B")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"ranks": ranks, "repetitions": args.repetitions, "cells": cells}, f, indent=1)
    if args.plot:
        plot(args, cells, ranks)


def plot(args, cells, ranks):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    dtypes = args.dtypes.split(",")
    figure, axes = plt.subplots(1, len(dtypes), figsize=(6 * len(dtypes), 4), sharey=True, squeeze=False)
    for axis, dtype in zip(axes[0], dtypes):
        for collective in args.collectives.split(","):
            mine = [c for c in cells if c["collective"] == collective and c["dtype"] == dtype]
            axis.plot([c["bytes"] for c in mine], [c["ratio"] for c in mine], marker="o", label=collective)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=2)
        axis.set_title(f"{dtype}, {ranks} ranks")
        axis.set_xlabel("bytes")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("Gloo's time / libcoll's")
    axes[0][-1].legend()
    figure.tight_layout()
    figure.savefig(args.plot)


def main():
    args = parse()
    for ours, theirs in (("RANK", "LIBCOLL_RANK"), ("WORLD_SIZE", "LIBCOLL_SIZE")):  # of tests/support/hosts
        if theirs in os.environ:
            os.environ.setdefault(ours, os.environ[theirs])
    if args.show:
        with open(args.show) as f:
            shown = json.load(f)
        args.json, args.repetitions = None, shown["repetitions"]
        report(args, shown["cells"], shown["ranks"])
        return
    if "RANK" in os.environ:
        body(int(os.environ["RANK"]), args, None)
        return
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(body, (args, os.path.join(folder, "store")), nprocs=args.ranks)


if __name__ == "__main__":
    sys.exit(main())
