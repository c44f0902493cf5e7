"""Workers on DTensor, DeviceMesh, functional collectives, the coalescing manager, torch.compile."""

import os

import libcoll_torch
import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as fc
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import _coalescing_manager
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module


def mine(*shape, dtype=torch.float32, salt=0):
    """Different on every rank; small multiples of 1/8, whose sums are exact in any order."""
    g = torch.Generator().manual_seed(1000 + 17 * salt + dist.get_rank())
    return (torch.randint(-64, 64, shape, generator=g) / 8).to(dtype)


def line():
    return init_device_mesh("cpu", (dist.get_world_size(),))


def square():
    return init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("rows", "columns"))


# -- DTensor

def redistribute():
    """Between all pairs of placements, with a size that no number of ranks divides."""
    mesh = line()
    torch.manual_seed(11)
    whole = torch.randint(-64, 64, (11, 7)) / 8
    placements = {"shard0": [Shard(0)], "shard1": [Shard(1)], "replicate": [Replicate()]}
    results = {}
    for a, start in placements.items():
        placed = distribute_tensor(whole + dist.get_rank(), mesh, start)  # rank 0's is what counts
        results[a] = placed.to_local()
        for b, end in placements.items():
            moved = placed.redistribute(mesh, end)
            results[f"{a} to {b}"] = {"local": moved.to_local(), "full": moved.full_tensor()}
    partial = DTensor.from_local(mine(11, 7), mesh, [Partial()])
    for op in ("sum", "avg", "max"):
        part = DTensor.from_local(mine(11, 7), mesh, [Partial(op)]) if op != "avg" or dist.get_backend() == "libcoll" else None
        full = part.full_tensor() if part is not None else DTensor.from_local(mine(11, 7), mesh, [Partial()]).full_tensor() / mesh.size()
        results[f"partial {op}"] = full
    for b, end in placements.items():
        results[f"partial to {b}"] = partial.redistribute(mesh, end).to_local()
    return results


def redistribute_2d():
    mesh = square()
    torch.manual_seed(12)
    whole = torch.randint(-64, 64, (12, 10)) / 8
    results = {}
    for start in ([Shard(0), Shard(1)], [Shard(1), Shard(0)], [Shard(0), Shard(0)], [Replicate(), Shard(0)]):
        for end in ([Shard(1), Shard(0)], [Replicate(), Replicate()], [Shard(0), Replicate()]):
            moved = distribute_tensor(whole, mesh, start).redistribute(mesh, end)
            results[f"{start} to {end}"] = {"local": moved.to_local(), "full": moved.full_tensor()}
    return results


def matmul():
    """Sharded along what is contracted (a sum of parts), along a free side, and with a backward pass."""
    mesh = line()
    torch.manual_seed(13)
    a, b = torch.randint(-8, 8, (12, 16)).float(), torch.randint(-8, 8, (16, 20)).float()
    results = {}
    for x, y in ((Shard(1), Shard(0)), (Shard(0), Replicate()), (Replicate(), Shard(1)), (Shard(0), Shard(0))):
        p, q = distribute_tensor(a, mesh, [x]).requires_grad_(), distribute_tensor(b, mesh, [y]).requires_grad_()
        product = p @ q
        product.sum().backward()
        results[f"{x} {y}"] = [product, p.grad, q.grad]
    return results


def tensor_parallel():
    """Column- then row-parallel layers of a small transformer block's feed-forward part, trained."""
    mesh = line()
    torch.manual_seed(14)
    net = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
    net = parallelize_module(net, mesh, {"1": ColwiseParallel(), "3": RowwiseParallel()})
    return steps(net, [torch.randn(5, 16) for _ in range(4)])


def sequence_parallel():
    """Activations between layers are sharded along the sequence: all-gathers and reduce-scatters instead of all-reduces."""
    mesh = line()
    torch.manual_seed(15)
    net = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
    plan = {"0": SequenceParallel(), "1": ColwiseParallel(input_layouts=Shard(1)), "3": RowwiseParallel(output_layouts=Replicate())}
    return steps(parallelize_module(net, mesh, plan), [torch.randn(2, 8, 16) for _ in range(4)])


def steps(net, inputs):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    losses = []
    for x in inputs:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "parameters": {n: p.detach() for n, p in net.named_parameters()}}


def data_parallel_by_dtensor():
    """Replicated parameters, inputs sharded along the batch: gradients are partial sums."""
    torch.manual_seed(16)
    net = distribute_module(nn.Linear(6, 6), line(), input_fn=lambda _, given, mesh: (DTensor.from_local(given[0], mesh, [Shard(0)]),),
                            output_fn=lambda _, out, mesh: out.redistribute(mesh, [Replicate()]).to_local())
    return steps(net, [mine(3, 6, salt=i) for i in range(4)])


# -- DeviceMesh

def mesh_groups():
    """Collectives on the two directions of a square, and on a slice of it; the order of ranks in groups."""
    mesh = square()
    results = {"coordinate": mesh.get_coordinate(), "ranks": mesh.mesh}
    for name in ("rows", "columns"):
        group = mesh.get_group(name)
        t = mine(9)
        dist.all_reduce(t, group=group)
        results[name] = {"sum": t, "size": dist.get_world_size(group), "ranks": dist.get_process_group_ranks(group)}
        results[f"functional {name}"] = fc.all_reduce(mine(9), "sum", (mesh, 0 if name == "rows" else 1))
        results[f"slice {name}"] = fc.all_gather_tensor(mine(3), 0, mesh[name])
    results["flat"] = fc.all_reduce(mine(4), "max", mesh["rows", "columns"]._flatten("all"))
    return results


# -- Functional collectives

def functional():
    n, rank, world = dist.get_world_size(), dist.get_rank(), dist.group.WORLD
    splits = [1 + (i + rank) % 3 for i in range(n)]
    takes = [1 + (rank + i) % 3 for i in range(n)]
    results = {op: fc.all_reduce(mine(5, 3), op, world) for op in ("sum", "min", "max", "product")}
    results["bits"] = fc.all_reduce(torch.arange(6) * (rank + 1), "bor", world)
    for dim in (0, 1):
        results[f"gather {dim}"] = fc.all_gather_tensor(mine(3, 2), dim, world)
        results[f"scatter {dim}"] = fc.reduce_scatter_tensor(mine(2 * n, 3 * n), "sum", dim, world)
    results["broadcast"] = fc.broadcast(mine(4), n - 1, world)
    results["alltoall"] = fc.all_to_all_single(mine(2 * n, 3), None, None, world)
    results["uneven"] = fc.all_to_all_single(mine(sum(splits), 2), takes, splits, world)
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.float64, torch.bfloat16):
        results[f"{dtype}"] = fc.all_gather_tensor(mine(6, dtype=dtype), 0, world)
    parts = [mine(4, salt=1), mine(3, 2, salt=2), mine(1, salt=3)]
    results["reduces"] = fc.all_reduce_coalesced(parts, "sum", world)
    results["gathers"] = fc.all_gather_into_tensor_coalesced(parts, world)
    results["scatters"] = fc.reduce_scatter_tensor_coalesced([mine(2 * n), mine(n, 3)], "sum", [0, 0], world)
    return results


def functional_in_flight():
    """Many started before the first is waited for; results outlive the names of their inputs."""
    started = [fc.all_reduce(mine(1000 + i, salt=i), "sum", dist.group.WORLD) for i in range(40)]
    return [t + 0 for t in reversed(started)]


def functional_autograd():
    n, world = dist.get_world_size(), dist.group.WORLD
    results = {}
    for name, call, shape in (("gather", lambda t: fc.all_gather_tensor_autograd(t, 0, world), (3, 2)),
                              ("scatter", lambda t: fc.reduce_scatter_tensor_autograd(t, "sum", 0, world), (2 * n, 3)),
                              ("alltoall", lambda t: fc.all_to_all_single_autograd(t, [2] * n, [2] * n, world), (2 * n, 3))):
        t = mine(*shape).requires_grad_()
        out = call(t)
        (out * mine(*out.shape, salt=5)).sum().backward()
        results[name] = [out, t.grad]
    return results


# -- Coalescing manager

def coalescing():
    n = dist.get_world_size()
    results = {}
    for asynchronous in (False, True):
        with _coalescing_manager(async_ops=asynchronous) as batch:
            sums = [mine(5 + i, salt=i) for i in range(4)]
            for t in sums:
                dist.all_reduce(t)
        if asynchronous:
            batch.wait()
        with _coalescing_manager(async_ops=asynchronous) as batch:
            gathered = [torch.zeros(n * (2 + i)) for i in range(3)]
            for i, t in enumerate(gathered):
                dist.all_gather_into_tensor(t, mine(2 + i, salt=i))
        if asynchronous:
            batch.wait()
        with _coalescing_manager(async_ops=asynchronous) as batch:
            scattered = [torch.zeros(2 + i) for i in range(3)]
            for i, t in enumerate(scattered):
                dist.reduce_scatter_tensor(t, mine(n * (2 + i), salt=i))
        if asynchronous:
            batch.wait()
        results[str(asynchronous)] = [sums, gathered, scattered]
    return results


# -- Memory

def arena_kernels():
    """Kernels that ask torch for memory in their own ways, while libcoll serves it and afterwards; a forked child that frees what
    it inherited takes nothing from its parent."""
    ours = dist.get_backend() == "libcoll"
    if ours:
        libcoll_torch.use_arena(at_least=1024)
    x = mine(64, 64, salt=1)
    results = {"gelu": nn.functional.gelu(x), "conv": nn.functional.conv2d(x.view(1, 4, 32, 32), mine(8, 4, 3, 3, salt=2)),
               "sorted": x.sort(0).values, "cumulative": x.cumsum(1), "numpy": torch.from_numpy(x.numpy() * 2), "rolled": torch.cat([x[5:], x[:5]])}
    growing = torch.empty(300)
    for n in (400, 4000, 10):
        growing.resize_(n).fill_(n)
    results["grown"] = growing
    for i in range(300):
        torch.full((256 + 8 * i,), float(i))
    child = os.fork()
    if child == 0:
        del x, growing
        torch.zeros(5000).add_(1)
        results.clear()
        os._exit(0)
    results["child"] = os.waitpid(child, 0)[1]
    if ours:
        libcoll_torch.use_arena(None)
    dist.all_reduce(x)
    return results | {"sum": x, "after": nn.functional.gelu(x)}


# -- torch.compile

def compiled():
    """A graph with collectives inside, forward and backward (backend "aot_eager" needs no compiler for C++)."""
    world = dist.group.WORLD

    def f(x, w):
        y = fc.all_gather_tensor(torch.relu(x @ w), 0, world)
        return fc.all_reduce(y.sum(0), "sum", world) * 2

    x, w = mine(4, 6), mine(6, 3, salt=1)
    eager, compiled_f = f(x, w), torch.compile(f, backend="aot_eager", fullgraph=True)
    return [eager, compiled_f(x, w), compiled_f(x, w)]


def compiled_by_inductor():
    """Inductor's own lowering of collectives, around matrix products alone: it then calls no C++ compiler, which takes minutes."""
    world = dist.group.WORLD

    def f(x, w):
        return fc.reduce_scatter_tensor(torch.mm(fc.all_gather_tensor(x, 0, world), w), "sum", 0, world)

    return [torch.compile(f, fullgraph=True)(mine(4, 6), mine(6, 3, salt=1))]
