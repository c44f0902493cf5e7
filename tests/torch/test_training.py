"""What torch builds on c10d gives the same numbers with libcoll as with Gloo, on 2 and 4 ranks of one machine.

With 2 ranks every sum has two terms and one result, whoever adds: results are equal in every bit. With 4, Gloo adds in another
order; then the bound is relative to the largest value of a tensor, some steps of training behind the differing sums.
"""

import functools

import pytest

pytest.importorskip("libcoll_torch")
import ranks  # noqa: E402

ranks.preload()

import group_workers as groups  # noqa: E402  (they import much: once, before the first fork)
import tensor_workers as tensors  # noqa: E402
import train_workers as trains  # noqa: E402

F32 = 2e-5   # a few steps on sums in f32 that differ in their last bits
BF16 = 0.03  # and of bf16 gradients: 2^-8 per sum

slow = pytest.mark.slow
both_sizes = pytest.mark.parametrize("size", [2, pytest.param(4, marks=slow)])


def at(size, bound):
    return 0.0 if size == 2 else bound


@functools.cache
def point_to_point():
    return all(r == 1 for r in ranks.run(groups.point_to_point_probe, "libcoll", 2))


def named(*workers):
    return pytest.mark.parametrize("worker", workers, ids=lambda w: w.__name__)


@both_sizes
@named(trains.ddp_plain, trains.ddp_with_buffers, trains.ddp_sync_free_buckets, trains.ddp_in_arena, trains.ddp_find_unused, trains.ddp_static_graph,
       trains.ddp_accumulation, trains.ddp_join, trains.zero_redundancy)
def test_ddp(worker, size):
    ranks.same(worker, size, at(size, F32))


@both_sizes
@named(trains.ddp_bf16_hook, trains.ddp_fp16_hook)
def test_ddp_compressed(worker, size):
    ranks.same(worker, size, at(size, BF16))


@both_sizes
@named(trains.fsdp_sum, trains.fsdp_average, trains.fsdp_accumulation, trains.fsdp_own_memory, trains.fsdp_in_arena, trains.fsdp_clipped)
def test_fsdp(worker, size):
    ranks.same(worker, size, at(size, F32))


@both_sizes
def test_fsdp_divide_factor(size):
    """libcoll multiplies by 1/3 before adding, the sum is divided by 3 afterwards: not the same bits."""
    ranks.same(trains.fsdp_factor, size, F32)


@both_sizes
@named(trains.fsdp_bf16, trains.fsdp_bf16_reduced_in_f32)
def test_fsdp_bf16(worker, size):
    ranks.same(worker, size, at(size, BF16))


def test_hsdp():
    ranks.same(trains.hsdp, 4, F32)


@both_sizes
@named(tensors.redistribute, tensors.matmul, tensors.functional, tensors.functional_in_flight,
       tensors.functional_autograd, tensors.coalescing, tensors.arena_kernels, tensors.compiled)
def test_exact(worker, size):
    """Sums of small multiples of a power of two, in any order."""
    ranks.same(worker, size)


@slow
def test_inductor():
    ranks.same(tensors.compiled_by_inductor, 2)


@named(tensors.redistribute_2d, tensors.mesh_groups)
def test_square_mesh(worker):
    ranks.same(worker, 4)


@both_sizes
@named(tensors.tensor_parallel, tensors.data_parallel_by_dtensor, tensors.sequence_parallel)
def test_tensor_parallel(worker, size):
    ranks.same(worker, size, at(size, F32))


@both_sizes
@named(groups.objects, groups.subgroups, groups.local_synchronization, groups.two_backends)
def test_groups(worker, size):
    ranks.same(worker, size)


@pytest.mark.parametrize("backends", [("cpu:gloo", "cpu:libcoll"), ("cpu:gloo,cuda:gloo", "cpu:libcoll,cuda:gloo")],
                         ids=lambda b: b[1])
@named(trains.ddp_plain, tensors.functional, groups.objects, groups.subgroups)
def test_backends_by_device(worker, backends):
    ranks.same(worker, 2, backends=backends)
    assert ranks.run(groups.backend_of_cpu, backends[1], 2) == ["libcoll", "libcoll"]


@slow
@named(trains.fsdp_sum, tensors.functional, tensors.coalescing, groups.objects, groups.subgroups)
def test_debug_detail(worker, monkeypatch):
    """torch then puts a layer before each backend that compares the calls of all ranks. (DDP crashes under it in torch 2.13, with Gloo too.)"""
    monkeypatch.setenv("TORCH_DISTRIBUTED_DEBUG", "DETAIL")
    ranks.same(worker, 2)


@both_sizes
@named(groups.checkpoint, groups.checkpoint_resharded, groups.checkpoint_async)
def test_checkpoint(worker, size):
    results = ranks.same(worker, size, at(size, F32))
    for r in results if worker is not groups.checkpoint_resharded else []:
        before, after = ("straight on", "after loading") if worker is groups.checkpoint else ("saved", "loaded")
        assert not ranks.differences(r[before], r[after], 0.0)


@both_sizes
@named(groups.neighbours, groups.any_source, groups.pipeline_gpipe, groups.pipeline_1f1b)
def test_point_to_point(worker, size):
    if not point_to_point():
        pytest.skip("this libcoll_torch has no send and recv")
    ranks.same(worker, size)
