"""Workers that train a small model with what torch has for data parallelism. Each returns its losses and final parameters."""

import contextlib

import libcoll_torch
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.algorithms.join import Join
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel as DDP

STEPS = 6


class Net(nn.Module):
    """Odd sizes, so that shards are uneven; `spare` is a branch that takes part only when asked."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.norm, self.second = nn.Linear(13, 37), nn.LayerNorm(37), nn.Linear(37, 29)
        self.spare, self.last = nn.Linear(29, 29), nn.Linear(29, 5)

    def forward(self, x, with_spare=True):
        x = torch.tanh(self.second(self.norm(torch.relu(self.first(x)))))
        if with_spare:
            x = x + self.spare(x)
        return self.last(x)


def batches(count=STEPS, batch=8):
    """This rank's data."""
    g = torch.Generator().manual_seed(100 + dist.get_rank())
    return [(torch.randn(batch, 13, generator=g), torch.randint(5, (batch,), generator=g)) for _ in range(count)]


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train(model, optimizer=None, forward=None, steps=STEPS):
    optimizer = optimizer or optimizer_of(model)
    losses = []
    for i, (x, y) in enumerate(batches(steps)):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy((forward(i, x) if forward else model(x)).float(), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "parameters": dict(model.named_parameters())}


# -- DistributedDataParallel

def ddp_plain():
    return train(DDP(Net(), bucket_cap_mb=0.005))  # several buckets


def ddp_with_buffers():
    """Batch norm: its running statistics are broadcast from rank 0 before every forward pass."""
    net = nn.Sequential(nn.Linear(13, 21), nn.BatchNorm1d(21), nn.ReLU(), nn.Linear(21, 5))
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(0.01 * (1 + dist.get_rank())).add_(torch.linspace(0, 1, p.numel()).view_as(p))  # rank 0's win
    ddp = DDP(net)
    return train(ddp) | {"buffers": dict(net.named_buffers())}


def ddp_sync_free_buckets():
    return train(DDP(Net(), gradient_as_bucket_view=True, bucket_cap_mb=0.005))


def ddp_find_unused():
    """No rank uses the spare branch in even steps, rank 0 alone in odd ones."""
    net = Net()
    ddp = DDP(net, find_unused_parameters=True)
    return train(ddp, forward=lambda i, x: ddp(x, with_spare=i % 2 == 1 and dist.get_rank() == 0))


def ddp_static_graph():
    return train(DDP(Net(), static_graph=True))


def ddp_accumulation():
    """Gradients of three batches are added up before ranks exchange them."""
    ddp = DDP(Net())
    optimizer = optimizer_of(ddp)
    losses = []
    for i, (x, y) in enumerate(batches(9)):
        with ddp.no_sync() if i % 3 != 2 else contextlib.nullcontext():
            loss = nn.functional.cross_entropy(ddp(x), y)
            loss.backward()
        losses.append(loss.item())
        if i % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
    return {"losses": losses, "parameters": dict(ddp.named_parameters())}


def ddp_bf16_hook():
    ddp = DDP(Net())
    # By another name: by this one, torch asks for CUDA.
    ddp.register_comm_hook(None, lambda state, bucket: default_hooks.bf16_compress_hook(state, bucket))
    return train(ddp)


def ddp_fp16_hook():
    ddp = DDP(Net())
    ddp.register_comm_hook(None, default_hooks.fp16_compress_hook)
    return train(ddp)


def ddp_join():
    """Rank r has r batches more than rank 0: those that ran out shadow the others' collectives."""
    ddp = DDP(Net())
    optimizer = optimizer_of(ddp)
    losses = []
    with Join([ddp]):
        for x, y in batches(3 + 2 * dist.get_rank()):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(ddp(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return {"losses": losses, "parameters": dict(ddp.named_parameters())}


def zero_redundancy():
    """Each rank keeps the optimizer's state of its part, and broadcasts the parameters that it has updated."""
    ddp = DDP(Net())
    optimizer = ZeroRedundancyOptimizer(ddp.parameters(), optimizer_class=torch.optim.Adam, lr=0.01)
    result = train(ddp, optimizer)
    optimizer.consolidate_state_dict(to=0)
    if dist.get_rank() == 0:
        result["state"] = {str(k): v for k, v in optimizer.state_dict()["state"].items()}
    return result


def in_arena(worker):
    """With libcoll, all tensors from one KB on lie in the host's shared memory meanwhile: parameters, gradients, buckets."""
    with libcoll_torch.arena(at_least=1024) if dist.get_backend() == "libcoll" else contextlib.nullcontext():
        result = worker()
    if dist.get_backend() == "libcoll":
        lent = torch.tensor([libcoll_torch.lent_buffers()])
        dist.all_reduce(lent)
        assert lent > 0
    return result


def ddp_in_arena():
    return in_arena(ddp_sync_free_buckets)


# -- fully_shard (FSDP2)

def sharded(mesh, setting=None, **arguments):
    net = Net()
    for layer in (net.second, net.spare):
        fully_shard(layer, mesh=mesh, **arguments)
    fully_shard(net, mesh=mesh, **arguments)
    if setting:
        for module in net.modules():
            if hasattr(module, "set_force_sum_reduction_for_comms"):
                setting(module)
    return net


def flat_mesh():
    return init_device_mesh("cpu", (dist.get_world_size(),))


def force_sum(module):
    module.set_force_sum_reduction_for_comms(True)


def factor_three(module):
    module.set_gradient_divide_factor(3.0)


def factor_three_by_sum(module):
    force_sum(module)
    factor_three(module)


def fsdp_sum():
    return train(sharded(flat_mesh(), force_sum))


def fsdp_average():
    """ReduceOp.AVG. Gloo has none; there, sums are divided."""
    return train(sharded(flat_mesh(), None if averages() else force_sum))


def fsdp_factor():
    """ReduceOp.PREMUL_SUM. Gloo has none; there, sums are divided."""
    return train(sharded(flat_mesh(), factor_three if averages() else factor_three_by_sum))


def fsdp_bf16():
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)
    return train(sharded(flat_mesh(), None if averages() else force_sum, mp_policy=policy))


def fsdp_bf16_reduced_in_f32():
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    return train(sharded(flat_mesh(), force_sum, mp_policy=policy))


def fsdp_accumulation():
    net = sharded(flat_mesh(), force_sum, reshard_after_forward=False)
    optimizer = optimizer_of(net)
    losses = []
    for i, (x, y) in enumerate(batches()):
        net.set_requires_gradient_sync(i % 2 == 1)
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        losses.append(loss.item())
        if i % 2 == 1:
            optimizer.step()
            optimizer.zero_grad()
    return {"losses": losses, "parameters": dict(net.named_parameters())}


def fsdp_own_memory():
    """Buffers of all-gathers and reduce-scatters come from the group (libcoll: its shared memory)."""
    def setting(module):
        force_sum(module)
        if dist.get_backend() == "libcoll":
            module.set_allocate_memory_from_process_group_for_comm(True)
    return train(sharded(flat_mesh(), setting))


def fsdp_in_arena():
    return in_arena(fsdp_sum)


def fsdp_clipped():
    net = sharded(flat_mesh(), force_sum)
    optimizer = optimizer_of(net)
    norms = []
    for x, y in batches():
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        norms.append(nn.utils.clip_grad_norm_(net.parameters(), 0.5))
        optimizer.step()
    return {"norms": norms, "parameters": dict(net.named_parameters())}


def hsdp():
    """Two replicas of two shards."""
    mesh = init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("replicate", "shard"))
    return train(sharded(mesh, None if averages() else force_sum))


def averages():
    return dist.get_backend() == "libcoll"
