"""Every entry point of the backend, against what torch computes locally."""

import itertools

import pytest
import torch
import torch.distributed as dist

from job import run

RANKS = [1, 2, 3, 4]
REAL = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
COMPLEX = [torch.complex64, torch.complex128]
SIZES = [0, 1, 7, 1000, 40000]


def values(rank, n, dtype, offset=0):
    """Small numbers, so that no sum of four ranks' overflows or rounds."""
    v = (torch.arange(n, dtype=torch.int64) * 7 + rank * 3 + offset) % 5 + 1
    if dtype.is_complex:
        return torch.complex(v.to(torch.float64), (v % 3).to(torch.float64)).to(dtype)
    return (v % 2 == 0) if dtype == torch.bool else v.to(dtype)


def wide(dtype):
    return torch.complex128 if dtype.is_complex else torch.float64 if dtype.is_floating_point else torch.int64


def reduced(op, parts, dtype):
    stack = torch.stack([p.to(wide(dtype)) for p in parts])
    if op == dist.ReduceOp.SUM:
        r = stack.sum(0)
    elif op == dist.ReduceOp.AVG:
        r = stack.sum(0) / len(parts)
    elif op == dist.ReduceOp.PRODUCT:
        r = stack.prod(0)
    elif op == dist.ReduceOp.MIN:
        r = stack.amin(0)
    elif op == dist.ReduceOp.MAX:
        r = stack.amax(0)
    else:
        f = {dist.ReduceOp.BAND: torch.bitwise_and, dist.ReduceOp.BOR: torch.bitwise_or, dist.ReduceOp.BXOR: torch.bitwise_xor}[op]
        r = stack[0]
        for s in stack[1:]:
            r = f(r, s)
    return r.to(dtype)


def same(a, b):
    return torch.equal(a.to(wide(a.dtype)), b.to(wide(b.dtype)))


def cases():
    R = dist.ReduceOp
    for dtype in REAL:
        ops = [R.SUM, R.PRODUCT, R.MIN, R.MAX]
        ops += [R.AVG] if dtype.is_floating_point else [R.BAND, R.BOR, R.BXOR]
        yield from itertools.product([dtype], ops)
    for dtype in COMPLEX:
        yield from itertools.product([dtype], [R.SUM, R.AVG])


def reductions(rank, ranks):
    for dtype, op in cases():
        # Products of four ranks' numbers and averages of fp8 round; one is enough there.
        for n in SIZES if dtype.itemsize > 1 and op != dist.ReduceOp.PRODUCT else [7]:
            if dtype.itemsize == 1 and op in (dist.ReduceOp.PRODUCT, dist.ReduceOp.AVG):
                part = lambda r: torch.ones(n).to(dtype)  # noqa: E731
            else:
                part = lambda r: values(r, n, dtype)  # noqa: E731
            parts = [part(r) for r in range(ranks)]
            t = part(rank)
            dist.all_reduce(t, op)
            want = reduced(op, parts, dtype)
            if op == dist.ReduceOp.AVG:
                close = 0.01 if dtype.itemsize <= 2 else 1e-6
                assert torch.allclose(t.to(wide(dtype)), want.to(wide(dtype)), rtol=close), (dtype, op, n)
            else:
                assert same(t, want), ("all_reduce", dtype, op, n, t, want)
        root = ranks - 1
        t = part(rank)
        before = t.clone()
        dist.reduce(t, root, op)
        if rank != root:
            assert same(t, before), "only the root's tensor changes"
        elif op == dist.ReduceOp.AVG:
            assert torch.allclose(t.to(wide(dtype)), want.to(wide(dtype)), rtol=0.01), ("reduce", dtype, op)
        else:
            assert same(t, want), ("reduce", dtype, op)
        if op == dist.ReduceOp.AVG:
            continue
        blocks = [[values(r, 5, dtype, offset=b) if dtype.itemsize > 1 and op != dist.ReduceOp.PRODUCT else torch.ones(5).to(dtype)
                   for b in range(ranks)] for r in range(ranks)]
        want = reduced(op, [blocks[r][rank] for r in range(ranks)], dtype)
        out = torch.empty(5, dtype=dtype)
        dist.reduce_scatter(out, blocks[rank], op)
        assert same(out, want), ("reduce_scatter", dtype, op)
        out = torch.empty(5, dtype=dtype)
        flat = torch.stack([b.to(wide(dtype)) for b in blocks[rank]]).to(dtype)
        dist.reduce_scatter_tensor(out, flat, op)
        assert same(out, want), ("reduce_scatter_tensor", dtype, op)


@pytest.mark.parametrize("ranks", RANKS)
def test_reductions(ranks):
    run(reductions, ranks)


def booleans(rank, ranks):
    parts = [torch.tensor([r == 0, r == ranks - 1, True, False]) for r in range(ranks)]
    every, some = torch.stack(parts).all(0), torch.stack(parts).any(0)
    for op, want in [(dist.ReduceOp.SUM, some), (dist.ReduceOp.MAX, some), (dist.ReduceOp.PRODUCT, every), (dist.ReduceOp.MIN, every),
                     (dist.ReduceOp.BAND, every), (dist.ReduceOp.BOR, some)]:
        t = parts[rank].clone()
        dist.all_reduce(t, op)
        assert torch.equal(t, want), op
    factor = dist._make_nccl_premul_sum(0.5)
    t = torch.full((9,), float(rank + 1))
    dist.all_reduce(t, factor)
    assert torch.equal(t, torch.full((9,), ranks * (ranks + 1) / 4))


def test_booleans_and_premultiplied_sums():
    run(booleans, 3)


def movements(rank, ranks):
    for dtype in [*REAL, *COMPLEX, torch.bool]:
        for n in SIZES if dtype in (torch.float32, torch.uint8) else [7]:
            root = ranks // 2
            t = values(rank, n, dtype)
            dist.broadcast(t, root)
            assert torch.equal(t.view(torch.uint8) if n else t, values(root, n, dtype).view(torch.uint8) if n else t)
            all_parts = [values(r, n, dtype) for r in range(ranks)]
            outs = [torch.empty(n, dtype=dtype) for _ in range(ranks)]
            dist.all_gather(outs, all_parts[rank])
            assert all(same(a, b) for a, b in zip(outs, all_parts))
            out = torch.empty(n * ranks, dtype=dtype)
            dist.all_gather_into_tensor(out, all_parts[rank])
            assert all(same(a, b) for a, b in zip(out.view(ranks, n), all_parts))
            outs = [torch.empty(n, dtype=dtype) for _ in range(ranks)] if rank == root else None
            dist.gather(all_parts[rank], outs, root)
            assert rank != root or all(same(a, b) for a, b in zip(outs, all_parts))
            got = torch.empty(n, dtype=dtype)
            dist.scatter(got, [values(r, n, dtype, offset=1) for r in range(ranks)] if rank == root else None, root)
            assert same(got, values(rank, n, dtype, offset=1))
            sent = [values(rank, n, dtype, offset=r) for r in range(ranks)]
            outs = [torch.empty(n, dtype=dtype) for _ in range(ranks)]
            dist.all_to_all(outs, sent)
            assert all(same(a, values(r, n, dtype, offset=rank)) for r, a in enumerate(outs))
            out = torch.empty(n * ranks, dtype=dtype)
            dist.all_to_all_single(out, torch.stack([s.to(wide(dtype)) for s in sent]).to(dtype).view(-1))
            assert all(same(a, b) for a, b in zip(out.view(ranks, n), outs))


@pytest.mark.parametrize("ranks", RANKS)
def test_movements(ranks):
    run(movements, ranks)


def uneven(rank, ranks):
    # Rank r gives r + 1 elements.
    outs = [torch.empty(r + 1) for r in range(ranks)]
    dist.all_gather(outs, torch.full((rank + 1,), float(rank)))
    assert all(torch.equal(o, torch.full((r + 1,), float(r))) for r, o in enumerate(outs))
    out = torch.empty(rank + 1)
    dist.reduce_scatter(out, [torch.full((r + 1,), float(rank + r)) for r in range(ranks)])
    assert torch.equal(out, torch.full((rank + 1,), float(sum(range(ranks)) + ranks * rank)))
    # Rank r sends (r + to) rows of two to rank `to`; some send none.
    rows = [rank + to for to in range(ranks)]
    data = torch.cat([torch.full((n, 2), float(10 * rank + to)) for to, n in enumerate(rows)])
    got = torch.empty(sum(rows), 2)
    dist.all_to_all_single(got, data, [r + rank for r in range(ranks)], rows)
    want = torch.cat([torch.full((r + rank, 2), float(10 * r + rank)) for r in range(ranks)])
    assert torch.equal(got, want)


@pytest.mark.parametrize("ranks", [2, 3])
def test_uneven_parts(ranks):
    run(uneven, ranks)


def strided(rank, ranks):
    base = torch.zeros(6, 8)
    t = base[::2, ::4]  # 3 x 2, neither dimension dense
    t.fill_(rank + 1)
    dist.all_reduce(t)
    assert torch.equal(t, torch.full((3, 2), ranks * (ranks + 1) / 2)) and base.sum() == t.sum()
    t = torch.arange(6.0).view(2, 3).t() + rank
    dist.broadcast(t, 0)
    assert torch.equal(t, torch.arange(6.0).view(2, 3).t())
    outs = [torch.zeros(4, 3).t() for _ in range(ranks)]
    dist.all_gather(outs, torch.full((4, 3), float(rank)).t())
    assert all(torch.equal(o, torch.full((3, 4), float(r))) for r, o in enumerate(outs))
    channels = torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last)
    dist.all_reduce(channels)
    assert torch.equal(channels, torch.full((2, 3, 4, 5), float(ranks))) and channels.is_contiguous(memory_format=torch.channels_last)
    out = torch.zeros(3, 2 * ranks).t()
    dist.all_gather_into_tensor(out, torch.full((2, 3), float(rank)))
    assert torch.equal(out, torch.arange(ranks).repeat_interleave(2).view(-1, 1).expand(-1, 3).float())


    leaf = torch.zeros(4, 3).t().requires_grad_()
    with torch.no_grad():
        dist.broadcast(leaf, 0)
        dist.all_reduce(leaf, async_op=True).wait()
    with torch.inference_mode():
        t = torch.ones(4, 3).t()
        dist.all_reduce(t, async_op=True).wait()
        assert torch.equal(t, torch.full((3, 4), float(ranks)))


def test_strided_tensors():
    run(strided, 3)


def overlapping(rank, ranks):
    """Outputs that share memory with inputs, and conjugated views."""
    t = torch.arange(ranks * 2.0) + 10 * rank
    dist.all_to_all_single(t, t, [2] * ranks, [2] * ranks)
    want = torch.cat([torch.arange(2.0) + 2 * rank + 10 * r for r in range(ranks)])
    assert torch.equal(t, want)
    parts = list((torch.arange(ranks * 2.0) + 10 * rank).chunk(ranks))
    dist.all_to_all(parts, parts)
    assert torch.equal(torch.cat(parts), want)
    out = torch.zeros(ranks * 3)
    mine = out[3 * ((rank + 1) % ranks):][:3].fill_(rank)  # another rank's place
    dist.all_gather(list(out.chunk(ranks)), mine)
    assert torch.equal(out, torch.arange(ranks).repeat_interleave(3).float())
    out = torch.zeros(ranks * 3)
    out[3 * rank:][:3].fill_(rank)
    dist.all_gather_into_tensor(out, out[3 * rank:][:3])
    assert torch.equal(out, torch.arange(ranks).repeat_interleave(3).float())
    source = torch.arange(ranks * 2.0)
    got = source[:2] if rank == ranks - 1 else torch.empty(2)
    dist.scatter(got, list(source.chunk(ranks)) if rank == ranks - 1 else None, ranks - 1)
    assert torch.equal(got, torch.arange(2.0) + 2 * rank)
    c = torch.tensor([1 + 2j, 3 - 1j])
    t = c.conj() if rank == 0 else torch.zeros(2, dtype=torch.complex64)
    dist.group.WORLD.broadcast(t, 0).wait()  # torch.distributed itself refuses them
    assert torch.equal(t.resolve_conj(), c.conj().resolve_conj())


@pytest.mark.parametrize("ranks", [2, 3])
def test_overlapping_tensors(ranks):
    run(overlapping, ranks)


def sparse(rank, ranks):
    i, v = torch.tensor([[rank, 3], [0, 1]]), torch.tensor([1.0, 2.0])
    t = torch.sparse_coo_tensor(i, v, (5, 2))
    dist.all_reduce(t)
    want = sum(torch.sparse_coo_tensor(torch.tensor([[r, 3], [0, 1]]), v, (5, 2)).to_dense() for r in range(ranks))
    assert torch.equal(t.to_dense(), want)


def test_sparse_tensors():
    run(sparse, 3)


def coalesced(rank, ranks):
    ts = [torch.full((n,), float(rank + n)) for n in (1, 10, 5000)]
    dist.all_reduce_coalesced(ts)
    assert all(torch.equal(t, torch.full_like(t, sum(r + t.numel() for r in range(ranks)))) for t in ts)
    with dist._coalescing_manager(async_ops=True) as manager:
        a, b = torch.ones(3), torch.ones(4, 2)
        dist.all_reduce(a)
        dist.all_reduce(b)
    manager.wait()
    assert a[0] == ranks and b[0, 0] == ranks
    pg = dist.group.WORLD
    pg._start_coalescing(torch.device("cpu"))
    works = [dist.all_reduce(a, async_op=True), dist.broadcast(b, 0, async_op=True)]
    done = pg._end_coalescing(torch.device("cpu"))
    done.wait()
    assert all(w.is_completed() for w in works) and a[0] == ranks * ranks


def test_coalesced_calls():
    run(coalesced, 2)


def wrong_arguments(rank, ranks):
    t = torch.ones(4)
    for call, text in [
        (lambda: dist.all_reduce(torch.ones(2), dist.ReduceOp.BAND), "BAND is not defined on Float"),
        (lambda: dist.all_gather_into_tensor(torch.empty(3), t), "output has 3 elements"),
        (lambda: dist.reduce_scatter_tensor(torch.empty(3), t), "input has 4 elements"),
        (lambda: dist.all_to_all_single(torch.empty(4), torch.ones(4), [1] * (ranks + 1), None), "splits have"),
        (lambda: dist.all_to_all_single(torch.empty(4), torch.ones(4), [-1, 5], [2, 2]), "split of rank 0 is -1"),
        (lambda: dist.all_reduce(torch.ones(2, dtype=torch.float8_e4m3fnuz)), "not defined on"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
        dist.all_reduce(t)  # and the group goes on
    with pytest.raises(ValueError, match="arguments|differ|count"):
        dist.all_reduce(torch.ones(4 + rank))
    dist.all_reduce(t)


def test_wrong_arguments_leave_the_group_usable():
    run(wrong_arguments, 2)
