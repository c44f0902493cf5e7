"""CUDA tensors on real GPUs, skipped where there is none; torch_cuda_test runs the backend on a double of CUDA and NCCL everywhere.

Two ranks, on two GPUs or, where there is one, on that: then calls pass through host memory, unless NCCL is told to share it.
"""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

pytest.importorskip("libcoll_torch")

RANKS = 2
pytestmark = pytest.mark.skipif(not torch.version.cuda or torch.cuda.device_count() == 0, reason="no GPU that this torch can use")


def all_reduce(rank, device):
    for async_op in (False, True):
        t = torch.full((1 << 20,), rank + 1.0, device=device)
        t *= 2  # in the stream, before the call
        work = dist.all_reduce(t, async_op=async_op)
        if async_op:
            work.wait()
        assert torch.equal(t + 1, torch.full_like(t, 7.0))
    for dtype in (torch.bfloat16, torch.bool, torch.complex64, torch.float8_e4m3fn):
        t = torch.ones(3, device=device).to(dtype)
        dist.all_reduce(t)
        assert (t.to(torch.complex64) == (1 if dtype is torch.bool else RANKS)).all()


def all_gather_into_tensor(rank, device):
    mine = torch.arange(5, device=device) + 10 * rank
    out = torch.empty(5 * RANKS, dtype=mine.dtype, device=device)
    dist.all_gather_into_tensor(out, mine)
    assert out.tolist() == [i + 10 * r for r in range(RANKS) for i in range(5)]


def messages(rank, device):
    out = torch.empty(1 << 16, device=device)
    mine = torch.full_like(out, float(rank))
    peer = 1 - rank
    for work in dist.batch_isend_irecv([dist.P2POp(dist.isend, mine, peer), dist.P2POp(dist.irecv, out, peer)]):
        work.wait()
    assert (out == peer).all()


def sparse(rank, device):
    t = torch.sparse_coo_tensor([[rank]], torch.ones(1, 3), (RANKS, 3), device=device)
    dist.all_reduce(t)
    assert torch.equal(t.to_dense().cpu(), torch.ones(RANKS, 3))


def one_step_of_ddp(rank, device):
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 4)
    whole = torch.randn(RANKS * 6, 8)
    alone = torch.nn.Linear(8, 4)
    alone.load_state_dict(layer.state_dict())
    alone(whole).square().mean().backward()
    model = torch.nn.parallel.DistributedDataParallel(layer.to(device), device_ids=[device.index])
    model(whole.chunk(RANKS)[rank].to(device)).square().mean().backward()
    torch.testing.assert_close(layer.weight.grad.cpu(), alone.weight.grad)


def split_group(rank, device):
    half = dist.split_group(split_ranks=[[0], [1]])
    t = torch.ones(2, device=device)
    dist.all_reduce(t, group=half)
    assert t.tolist() == [1, 1]
    dist.new_group([0])
    dist.barrier()


BODIES = [all_reduce, all_gather_into_tensor, messages, sparse, one_step_of_ddp, split_group]


def worker(rank, store, body):
    import libcoll_torch  # noqa: F401

    device = torch.device("cuda", rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    dist.init_process_group("libcoll", init_method=f"file://{store}", rank=rank, world_size=RANKS, device_id=device)
    body(rank, device)
    torch.cuda.synchronize()
    dist.destroy_process_group()


@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
def test_on_gpus(body, tmp_path):
    mp.spawn(worker, (tmp_path / "store", body), nprocs=RANKS)
