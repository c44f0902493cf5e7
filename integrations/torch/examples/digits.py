#!/usr/bin/env python3
"""A network learns to read digits, on several processes: once over Gloo, once over libcoll, side by side.

    python digits.py --ranks 2 --plot digits.png
    torchrun --nproc-per-node 2 digits.py --plot digits.png

The data (1797 pictures of 8x8 pixels) come with scikit-learn. Needs torch, scikit-learn, libcoll_torch; matplotlib for --plot.
Both models begin alike and see the same pictures in the same order. With two ranks, their losses are equal in every digit: a sum
of two is the same in either order. With more, each backend adds in its own order, so the last digits may differ.
"""

import argparse
import json
import os
import statistics
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

BACKENDS = ("gloo", "libcoll")


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ranks", type=int, default=2, help="processes to start (torchrun: it says)")
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--steps", type=int, help="at most so many in an epoch; otherwise all of the data")
    p.add_argument("--batch", type=int, default=16, help="pictures per rank and step")
    p.add_argument("--plot", help="file for a picture of the losses and step times")
    p.add_argument("--json", help="file for the numbers")
    return p.parse_args()


def load():
    """Pictures and labels to learn from, and others to be tested with."""
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16  # 1797 x 1 channel x 8 x 8, values 0 to 1
    y = torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    test, learn = order[:360], order[360:]
    return (x[learn], y[learn]), (x[test], y[test])


def network():
    torch.manual_seed(1)  # the same initial weights on every rank and for both backends
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 4 * 4, 128), nn.ReLU(), nn.Linear(128, 10),
    )


class Learner:
    """A model whose gradients are averaged over the ranks by one backend."""

    def __init__(self, group):
        self.group = group
        self.model = DistributedDataParallel(network(), process_group=group)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.losses, self.times = [], []

    def step(self, x, y):
        dist.barrier(group=self.group)  # all begin together, so that a rank's delay is not taken for the backend's
        begin = time.perf_counter()
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()  # DDP sums the gradients meanwhile: the only line in which ranks talk
        self.optimizer.step()
        self.times.append(time.perf_counter() - begin)
        self.losses.append(loss.detach())

    def finish_epoch(self):
        """Mean loss over all ranks, and this rank's step times, since the last call."""
        loss = torch.stack(self.losses).mean()
        dist.all_reduce(loss, group=self.group)
        times = self.times
        self.losses, self.times = [], []
        return loss.item() / dist.get_world_size(), times

    @torch.no_grad()
    def accuracy(self, x, y):
        return (self.model.module(x).argmax(1) == y).float().mean().item()


def body(rank, args, store):
    """What every rank does."""
    import libcoll_torch  # noqa: F401  (this import makes the backend known to torch)

    torch.set_num_threads(1)
    if store:
        dist.init_process_group("libcoll", init_method=f"file://{store}", rank=rank, world_size=args.ranks)
    else:
        dist.init_process_group("libcoll")  # torchrun's environment says the rest
    # One program would say init_process_group("libcoll") and be done. Here, Gloo gets a group beside it.
    learners = {"gloo": Learner(dist.new_group(backend="gloo")), "libcoll": Learner(dist.group.WORLD)}

    (x, y), test = load()
    rank, size = dist.get_rank(), dist.get_world_size()
    per_step = args.batch * size
    table = []
    if rank == 0:
        print(f"{size} ranks, {sum(p.numel() for p in network().parameters())} parameters; times are medians; ratio: gloo's time / libcoll's\n")
        print("epoch   loss gloo   loss libcoll   right of test   ms/step gloo   ms/step libcoll   ratio")
    for epoch in range(args.epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))  # alike on all ranks
        steps = min(len(x) // per_step, args.steps or len(x))
        for i in range(steps):
            mine = order[i * per_step:][rank:per_step:size]  # every rank its own pictures
            for name in BACKENDS if i % 2 else reversed(BACKENDS):  # by turns: what disturbs the machine disturbs both
                learners[name].step(x[mine], y[mine])
        row = {"epoch": epoch + 1, "accuracy": learners["libcoll"].accuracy(*test)}
        times = {}
        for name, learner in learners.items():
            row[f"loss_{name}"], times[name] = learner.finish_epoch()
            row[f"ms_{name}"] = 1e3 * statistics.median(times[name])
        # Of steps that followed each other; of the medians, it would say more about what else the machine did.
        row["ratio"] = statistics.median(g / c for g, c in zip(times["gloo"], times["libcoll"]))
        table.append(row)
        if rank == 0:
            print(f"{row['epoch']:5}   {row['loss_gloo']:9.6f}   {row['loss_libcoll']:12.6f}   {row['accuracy']:13.1%}   "
                  f"{row['ms_gloo']:12.2f}   {row['ms_libcoll']:15.2f}   {row['ratio']:5.2f}", flush=True)
    if rank == 0:
        finish(args, size, table)
    dist.barrier()
    dist.destroy_process_group()


def finish(args, size, table):
    apart = max(abs(r["loss_gloo"] - r["loss_libcoll"]) for r in table)
    print(f"\nSteps: gloo's time / libcoll's {statistics.median(r['ratio'] for r in table):.2f}, median of the epochs.")
    print(f"Losses: {'equal in every digit' if apart == 0 else f'at most {apart:.1e} apart'}.")
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"ranks": size, "epochs": table}, f, indent=1)
    if args.plot:
        plot(args.plot, size, table)


def plot(file, size, table):
    import matplotlib

    matplotlib.use("Agg")  # draws into files; needs no screen
    import matplotlib.pyplot as plt

    epochs = [r["epoch"] for r in table]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for name, style in (("gloo", {"color": "tab:orange", "linewidth": 5, "alpha": 0.5}), ("libcoll", {"color": "tab:blue", "linestyle": "--"})):
        left.plot(epochs, [r[f"loss_{name}"] for r in table], label=name, **style)
        right.plot(epochs, [r[f"ms_{name}"] for r in table], label=name, marker="o", color=style["color"])
    left.set(xlabel="epoch", ylabel="loss", yscale="log", title=f"The same losses, {size} ranks")
    right.set(xlabel="epoch", ylabel="ms", ylim=(0, None), title="Median time of a step")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    print(f"Plot: {file}")


def main():
    args = parse()
    if "RANK" in os.environ:
        body(None, args, None)
        return
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(body, (args, os.path.join(folder, "store")), nprocs=args.ranks)


if __name__ == "__main__":
    main()
