"""Workers on groups, objects, checkpoints and pipelines."""

import socket
import time

import libcoll_torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from ranks import shared_folder
from train_workers import force_sum, flat_mesh, sharded, train

# -- Objects

def objects():
    n, rank = dist.get_world_size(), dist.get_rank()
    mine = {"rank": rank, "text": "x" * (100 * rank), "list": list(range(rank))}
    everybody = [None] * n
    dist.all_gather_object(everybody, mine)
    told = [mine, rank] if rank == n - 1 else [None, None]
    dist.broadcast_object_list(told, src=n - 1)
    given = [None]
    dist.scatter_object_list(given, [{"to": r, "pad": "y" * r} for r in range(n)] if rank == 0 else None, src=0)
    collected = [None] * n if rank == n - 1 else None
    dist.gather_object(mine, collected, dst=n - 1)
    return {"all": everybody, "told": told, "given": given, "collected": collected}


# -- Groups

def subgroups():
    """Of new_subgroups, of new_group with members in another order, of one rank; used from the last made to the first."""
    n, rank = dist.get_world_size(), dist.get_rank()
    half, all_halves = dist.new_subgroups(group_size=max(1, n // 2))
    odd, _ = dist.new_subgroups_by_enumeration([[r for r in range(n) if r % 2 == p] for p in (0, 1)])
    alone = [dist.new_group([r]) for r in range(n)]
    reverse = dist.new_group(list(reversed(range(n))), use_local_synchronization=False)
    results = {"halves": len(all_halves), "ranks": dist.get_process_group_ranks(half)}
    for name, group in (("reverse", reverse), ("alone", alone[rank]), ("odd", odd), ("half", half), ("world", None)):
        t = torch.arange(5.0) * (rank + 1)
        dist.all_reduce(t, group=group)
        block = torch.zeros(dist.get_world_size(group) * 2)
        dist.all_gather_into_tensor(block, torch.tensor([rank, rank + 0.5]), group=group)
        results[name] = [t, block, dist.get_rank(group)]
    for group in (reverse, odd, half):
        dist.destroy_process_group(group)
    t = torch.ones(3)
    dist.all_reduce(t)
    return results | {"after": t}


def local_synchronization():
    """Only members make the group."""
    n, rank = dist.get_world_size(), dist.get_rank()
    members = [r for r in range(n) if r % 2 == rank % 2]
    group = dist.new_group(members, use_local_synchronization=True)
    t = torch.tensor([float(rank)])
    dist.all_reduce(t, group=group)
    return {"sum": t, "members": members}


def backend_of_cpu():
    return dist.group.WORLD._get_backend(torch.device("cpu")).name()


def hosts_seen():
    """Their number; libcoll says that it sends messages between them."""
    names = [None] * dist.get_world_size()
    dist.all_gather_object(names, socket.gethostname())
    hosts = len(set(names))
    if dist.get_backend() == "libcoll":
        assert ("messages by" in libcoll_torch.describe()) == (hosts > 1), libcoll_torch.describe()
    return hosts


def two_backends():
    """The other of Gloo and libcoll beside the world's, used by turns in one process."""
    other = "gloo" if dist.get_backend() == "libcoll" else "libcoll"
    group = dist.new_group(backend=other)
    results = []
    for i in range(5):
        a, b = torch.arange(50.0) + i + dist.get_rank(), torch.arange(50.0) - i * dist.get_rank()
        works = [dist.all_reduce(a, async_op=True), dist.all_reduce(b, group=group, async_op=True)]
        for w in works:
            w.wait()
        results += [a, b]
    return results


# -- Point to point

def point_to_point_probe():
    """Whether the backend has send and recv: 1 or 0."""
    t = torch.zeros(1)
    try:
        if dist.get_rank() == 0:
            dist.send(t + 7, 1)
        else:
            dist.recv(t, 0)
    except RuntimeError as e:
        if "support" not in str(e):
            raise
        return 0
    return 1


def neighbours():
    """A ring with batch_isend_irecv, several messages a pair, and tags."""
    n, rank = dist.get_world_size(), dist.get_rank()
    right, left = (rank + 1) % n, (rank - 1) % n
    outs = [torch.full((100 + i,), 10.0 * rank + i) for i in range(3)]
    ins = [torch.zeros(100 + i) for i in range(3)]
    ops = [dist.P2POp(dist.isend, t, right) for t in outs] + [dist.P2POp(dist.irecv, t, left) for t in ins]
    for work in dist.batch_isend_irecv(ops):
        work.wait()
    tagged = [torch.zeros(4), torch.zeros(4)]
    works = [dist.isend(torch.full((4,), float(rank)), right, tag=1), dist.isend(torch.full((4,), 100.0 + rank), right, tag=2),
             dist.irecv(tagged[1], left, tag=2), dist.irecv(tagged[0], left, tag=1)]
    for work in works:
        work.wait()
    return {"ins": ins, "tagged": tagged}


def any_source():
    """Rank 0 takes what comes."""
    n, rank = dist.get_world_size(), dist.get_rank()
    if rank:
        dist.send(torch.tensor([rank * 3.0]), 0)
        return {}
    got = {}
    for _ in range(n - 1):
        t = torch.zeros(1)
        got[dist.recv(t)] = t
    return {str(r): got[r] for r in sorted(got)}


def pipeline(schedule_class):
    """Each rank has one stage of the model; four micro-batches go through them."""
    n, rank = dist.get_world_size(), dist.get_rank()
    torch.manual_seed(21)
    stages = [nn.Sequential(nn.Linear(12, 12), nn.Tanh()) for _ in range(n)]
    stage = PipelineStage(stages[rank], rank, n, torch.device("cpu"))
    schedule = schedule_class(stage, n_microbatches=4, loss_fn=nn.functional.mse_loss)
    optimizer = torch.optim.SGD(stages[rank].parameters(), lr=0.1)
    losses, outputs = [], []
    for _ in range(3):
        x, y = torch.randn(8, 12), torch.randn(8, 12)
        optimizer.zero_grad()
        if rank == 0:
            schedule.step(x)
        elif rank == n - 1:
            micro = []
            outputs.append(schedule.step(target=y, losses=micro))
            losses += [loss.item() for loss in micro]
        else:
            schedule.step()
        optimizer.step()
    return {"losses": losses, "outputs": outputs, "parameters": dict(stages[rank].named_parameters())}


def pipeline_gpipe():
    return pipeline(ScheduleGPipe)


def pipeline_1f1b():
    return pipeline(Schedule1F1B)


# -- Distributed checkpoints

def checkpoint():
    """A sharded model and its optimizer, saved; trained on; loaded into a new model, which then trains on alike."""
    net = sharded(flat_mesh(), force_sum)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    train(net, optimizer, steps=3)
    model_state, optimizer_state = get_state_dict(net, optimizer)
    dcp.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=shared_folder() / "saved")
    expected = train(net, optimizer, steps=3)
    again = sharded(flat_mesh(), force_sum)
    optimizer = torch.optim.Adam(again.parameters(), lr=0.5)
    model_state, optimizer_state = get_state_dict(again, optimizer)
    state = {"model": model_state, "optimizer": optimizer_state}
    dcp.load(state, checkpoint_id=shared_folder() / "saved")
    set_state_dict(again, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    return {"straight on": expected, "after loading": train(again, optimizer, steps=3)}


def checkpoint_resharded():
    """Saved in one layout, loaded in others: other dimensions, replicated, half of the ranks, one mesh of two dimensions."""
    n, rank = dist.get_world_size(), dist.get_rank()
    line = flat_mesh()
    torch.manual_seed(31)
    weights = {"a": torch.randn(11, 6), "b": torch.randn(7)}
    state = {"a": distribute_tensor(weights["a"], line, [Shard(0)]), "b": distribute_tensor(weights["b"], line, [Replicate()]), "step": 5}
    dcp.save(state, checkpoint_id=shared_folder() / "saved")
    results = {}
    square = init_device_mesh("cpu", (2, n // 2))
    for name, mesh, placements in (("columns", line, [Shard(1)]), ("whole", line, [Replicate()]), ("square", square, [Shard(1), Shard(0)])):
        to = {"a": distribute_tensor(torch.zeros(11, 6), mesh, placements), "b": distribute_tensor(torch.zeros(7), line, [Shard(0)]), "step": 0}
        dcp.load(to, checkpoint_id=shared_folder() / "saved")
        results[name] = {"local": to["a"].to_local(), "full": to["a"].full_tensor(), "b": to["b"].full_tensor(), "step": to["step"]}
    fewer = dist.new_group(list(range(n // 2)))
    if rank < n // 2:
        to = {"a": torch.zeros(11, 6), "b": torch.zeros(7), "step": 0}
        dcp.load(to, checkpoint_id=shared_folder() / "saved", process_group=fewer)
        results["fewer"] = to
    return results


def checkpoint_async():
    """Saved by a thread of each rank, on a group of its own, while the next steps run."""
    net = sharded(flat_mesh(), force_sum)
    train(net, steps=2)
    group = dist.new_group()
    saved = {name: p.full_tensor() for name, p in net.state_dict().items()}
    future = dcp.async_save({"model": net.state_dict()}, checkpoint_id=shared_folder() / "saved", process_group=group)
    after = train(net, steps=3)
    future.result()
    again = sharded(flat_mesh(), force_sum)
    state = {"model": again.state_dict()}
    dcp.load(state, checkpoint_id=shared_folder() / "saved")
    loaded = {name: p.full_tensor() for name, p in again.state_dict().items()}
    return {"saved": saved, "loaded": loaded, "after": after}


# -- For the test of the tests

def hangs():
    """Rank 0 waits for a call that nobody else makes."""
    if dist.get_rank() == 0:
        dist.broadcast(torch.ones(1), 1)
    else:
        waits_for_nothing()


def waits_for_nothing():
    time.sleep(3600)


def fails():
    """Rank 1 fails while rank 0 waits for it."""
    if dist.get_rank() == 1:
        raise ValueError("on purpose")
    dist.broadcast(torch.ones(1), 1)


def differs():
    return {"x": torch.tensor([1.0, 2.0 + 1e-6 * (dist.get_backend() == "libcoll")])}
