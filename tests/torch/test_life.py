"""Asynchronous work, threads, groups that come and go, and what happens when a rank does not play along."""

import datetime
import gc
import os
import signal
import threading
import time

import pytest
import torch
import torch.distributed as dist

from job import run


def futures(rank, ranks):
    seen = []
    ts = [torch.full((n,), float(rank + 1)) for n in (1, 1000, 300000)]
    works = [dist.all_reduce(t, async_op=True) for t in ts]
    doubled = [w.get_future().then(lambda f: seen.append(1) or f.value()[0] * 2) for w in works]
    total = ranks * (ranks + 1) / 2
    for w in reversed(works):  # any order
        w.wait()
    for d, t in zip(doubled, ts):
        assert torch.equal(d.wait(), torch.full_like(t, 2 * total))
    assert len(seen) == 3 and all(w.is_completed() and w.exception() is None for w in works)
    late = works[0].get_future()
    assert late.done() and torch.equal(late.value()[0], ts[0])
    w = dist.all_reduce(torch.ones(3), async_op=True)
    deadline = time.monotonic() + 20
    while not w.is_completed():  # nobody waits: the thread moves it on
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_futures_and_polling(ranks):
    run(futures, ranks)


def nested(rank, ranks):
    """Callbacks that wait for another future, as DDP's PowerSGD hook does."""
    def body(f):
        g = dist.all_reduce(f.value()[0] * 2, async_op=True).get_future()
        h = dist.all_reduce(torch.ones(3), async_op=True).get_future()
        return g.wait()[0] + h.wait()[0][0]

    works = [dist.all_reduce(torch.ones(5), async_op=True) for _ in range(3)]
    results = [w.get_future().then(body) for w in works[:1]]
    works[2].wait()
    for r in results:
        assert torch.equal(r.wait(), torch.full((5,), 2.0 * ranks * ranks + ranks))
    from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook

    torch.manual_seed(3)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(64, 64))
    model.register_comm_hook(powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=2), powerSGD_hook.powerSGD_hook)
    for _ in range(4):
        model(torch.ones(2, 64)).sum().backward()
    w = dist.all_reduce(torch.ones(3), async_op=True)
    f = w.get_future()
    w.wait()
    assert f.done() and f.value()[0][0] == ranks  # at once


def test_callbacks_may_wait():
    run(nested, 2)


def kept_alive(rank, ranks):
    works = [dist.all_reduce(torch.full((50000,), float(i)), async_op=True) for i in range(20)]
    results = [w.get_future() for w in works]
    del works
    gc.collect()
    for i, f in enumerate(results):
        assert torch.equal(f.wait()[0], torch.full((50000,), float(i * ranks)))


def test_tensors_live_as_long_as_their_work():
    run(kept_alive, 2)


def many(rank, ranks, n):
    ts = [torch.full((8,), float(i % 100)) for i in range(n)]
    works = []
    before = resident()
    for i, t in enumerate(ts):
        works.append(dist.all_reduce(t, async_op=True) if i % 3 else dist.broadcast(t, i % ranks, async_op=True))
    grown = resident() - before
    for w in works:
        w.wait()
    for i, t in enumerate(ts):
        assert t[0] == (i % 100) * (ranks if i % 3 else 1)
    return grown


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_ten_thousand_operations_in_flight():
    for grown in run(many, 2, 10000):
        assert grown < 100 << 20, f"{grown >> 20} MB for 10,000 operations"


def groups_by_turns(rank, ranks):
    """Different groups of the same ranks, used in different orders."""
    groups = [dist.new_group() for _ in range(3)]
    ts = [torch.ones(1000) * (i + 1) for i in range(3)]
    works = {}
    for i in range(3):
        g = (i + rank) % 3
        works[g] = dist.all_reduce(ts[g], group=groups[g], async_op=True)
    for w in works.values():
        w.wait()
    assert all(t[0] == (i + 1) * ranks for i, t in enumerate(ts))
    # And blocking, in threads.
    errors = []

    def body(i):
        try:
            for _ in range(50):
                t = torch.ones(100) * i
                dist.all_reduce(t, group=groups[i])
                assert t[0] == ranks * i
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors


@pytest.mark.parametrize("ranks", [2, 3])
def test_groups_in_any_order_and_threads(ranks):
    run(groups_by_turns, ranks)


def one_thousand_groups(rank, ranks):
    import libcoll_torch

    memory = []
    for i in range(1000):
        g = dist.new_group()
        t = torch.ones(10)
        dist.all_reduce(t, group=g)
        dist.destroy_process_group(g)
        if i % 100 == 99:
            dist.barrier()
            deadline = time.monotonic() + 20
            while libcoll_torch._C.retired() > 5 and time.monotonic() < deadline:
                time.sleep(0.01)
            gc.collect()
            memory.append((resident(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), libcoll_torch._C.retired()))
    return memory


def test_one_thousand_groups_leave_nothing():
    for memory in run(one_thousand_groups, 2):
        first, last = memory[2], memory[-1]
        assert last[0] - first[0] < 16 << 20, memory
        assert last[1] <= first[1] and last[2] <= first[2] and last[3] <= 5, memory


def again(rank, ranks, folder):
    for i in range(3):
        dist.init_process_group("libcoll", init_method=f"file://{folder}/{i}", rank=rank, world_size=ranks)
        t = torch.ones(5)
        dist.all_reduce(t)
        assert t[0] == ranks
        dist.destroy_process_group()


def test_init_and_destroy_over_and_over(tmp_path):
    def body(rank, ranks):
        import libcoll_torch  # noqa: F401

        again(rank, ranks, tmp_path)

    run(body, 2, backend=None)


def late_rank(rank, ranks):
    group = dist.new_group(timeout=datetime.timedelta(seconds=1))
    if rank == 1:
        time.sleep(4)
        return None
    begin = time.monotonic()
    with pytest.raises(dist.DistBackendError, match="all_reduce|allreduce") as e:
        dist.all_reduce(torch.ones(3), group=group)
    assert 0.5 < time.monotonic() - begin < 3 and "rank 1" in str(e.value), e.value
    with pytest.raises(dist.DistBackendError):
        dist.all_reduce(torch.ones(3), group=group)
    w = dist.all_reduce(torch.ones(3), group=group, async_op=True)
    with pytest.raises(dist.DistBackendError):
        w.wait()
    assert w.exception() is not None
    return True


def test_a_late_rank_is_named():
    run(late_rank, 2)


def waits_with_a_limit(rank, ranks):
    t = torch.ones(3)
    if rank == 1:
        time.sleep(1.5)
    w = dist.all_reduce(t, async_op=True)
    if rank == 0:
        with pytest.raises(dist.DistBackendError, match="timed out after 100 ms"):
            w.wait(datetime.timedelta(milliseconds=100))
    w.wait()  # it went on
    assert t[0] == 2


def test_wait_with_a_limit():
    run(waits_with_a_limit, 2)


def killed(rank, ranks, asynchronous):
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(200, 200))
    for step in range(1000):
        if rank == 1 and step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        begin = time.monotonic()
        try:
            model(torch.ones(4, 200)).sum().backward()
            if asynchronous:
                dist.all_reduce(torch.ones(100), async_op=True).wait()
        except RuntimeError as e:
            assert time.monotonic() - begin < 20
            os.write(2, f"{e}\n".encode())
            return str(e)
    raise AssertionError("nobody noticed")


@pytest.mark.parametrize("ranks,asynchronous", [(2, False), (4, False), (3, True)])
def test_a_killed_rank_is_named_on_all_survivors(ranks, asynchronous):
    # The others leave without destroying the group: they cannot.
    def body(rank, n, *args):
        text = killed(rank, n, *args)
        dist.group.WORLD._get_backend(torch.device("cpu")).abort()
        return text

    texts = run(body, ranks, asynchronous, allow_dead={1})
    for rank, text in enumerate(texts):
        assert rank == 1 or "rank 1" in text, (rank, text)
    assert not [n for n in os.listdir("/dev/shm") if "libcoll" in n]


def aborted(rank, ranks):
    group = dist.new_group()
    backend = group._get_backend(torch.device("cpu"))
    if rank == 0:
        w = dist.all_reduce(torch.ones(3), group=group, async_op=True)
        threading.Timer(0.3, backend.abort).start()
        with pytest.raises(dist.DistBackendError, match="abort"):
            w.wait()
    else:
        time.sleep(1)
        with pytest.raises(dist.DistBackendError):
            for _ in range(2):  # what rank 0 gave to the first was there before its abort
                dist.all_reduce(torch.ones(3), group=group)
    t = torch.ones(2)
    dist.all_reduce(t)  # other groups go on
    assert t[0] == ranks


def test_abort_ends_the_group_alone():
    run(aborted, 2)


def forked(rank, ranks):
    dist.all_reduce(torch.ones(2))
    import libcoll_torch

    under_way = dist.all_reduce(torch.ones(2), async_op=True) if rank == 0 else None  # cannot be done: rank 1 comes after the fork
    pid = os.fork()
    if pid == 0:
        refused = 0
        backend = dist.group.WORLD._get_backend(torch.device("cpu"))
        calls = [lambda: dist.all_reduce(torch.ones(2)), backend.abort, lambda: libcoll_torch.empty(3), libcoll_torch.describe, lambda: dist.new_group()]
        calls += [under_way.wait] if under_way else []
        for call in calls:
            try:
                call()
            except dist.DistBackendError as e:
                refused += "forked" in str(e)
        del under_way
        gc.collect()
        os._exit(0 if refused == len(calls) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    if under_way:
        under_way.wait()
    else:
        dist.all_reduce(torch.ones(2))
    t = torch.ones(2)
    dist.all_reduce(t)
    assert t[0] == ranks


def test_a_forked_child_is_refused():
    run(forked, 2)


def in_the_arena(rank, ranks):
    import libcoll_torch

    t = libcoll_torch.empty(1 << 18)
    t.fill_(rank + 1)
    before = libcoll_torch.lent_buffers()
    dist.all_reduce(t)
    assert t[0] == ranks * (ranks + 1) / 2 and libcoll_torch.lent_buffers() > before
    private = torch.ones(1 << 18)
    before = libcoll_torch.lent_buffers()
    dist.all_reduce(private)
    assert libcoll_torch.lent_buffers() == before
    with libcoll_torch.arena(at_least=1 << 16):
        u = torch.ones(1 << 18) * 2
    dist.all_reduce(u)
    assert u[5] == 2 * ranks and libcoll_torch.lent_buffers() > before
    # DDP's buckets and gradients.
    libcoll_torch.use_arena(1 << 16)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1200, 1200), gradient_as_bucket_view=True)
    before = libcoll_torch.lent_buffers()
    for _ in range(3):
        model(torch.ones(1, 1200)).sum().backward()
    assert libcoll_torch.lent_buffers() >= before + 3
    libcoll_torch.use_arena(None)
    made = dist.group.WORLD._get_backend(torch.device("cpu")).allocate_tensor(1000, dtype=torch.float32, device=torch.device("cpu"))
    made.fill_(1)
    dist.all_reduce(made)
    assert made.numel() == 1000 and made[0] == ranks
    # Such memory outlives its group.
    g = dist.new_group()
    kept = libcoll_torch.empty((300, 300), group=g)
    dist.destroy_process_group(g)
    kept.fill_(3)
    dist.all_reduce(kept)
    assert kept[0, 0] == 3 * ranks


def test_memory_of_the_arena_is_used_in_place():
    run(in_the_arena, 2)


EXITS = {
    "plain": "",
    "work in flight": "w = dist.all_reduce(torch.ones(1000), async_op=True)",
    "work nobody answers": "w = dist.all_reduce(torch.ones(1000), async_op=True) if rank == 0 else None",
    "callback": "dist.all_reduce(torch.ones(10), async_op=True).get_future().then(lambda f: f.value())",
    "destroyed": "dist.destroy_process_group()",
    "group in a cycle": "g = dist.new_group(); x = [g]; x.append(x); del g",
    "exception": "raise SystemExit(0)",
}


@pytest.mark.parametrize("how", EXITS)
def test_the_interpreter_ends(how, tmp_path):
    import subprocess
    import sys

    program = f"""
import sys; sys.path[:0] = {sys.path!r}
import torch, torch.distributed as dist, libcoll_torch
rank = int(sys.argv[1])
dist.init_process_group("libcoll", init_method="file://{tmp_path}/store", rank=rank, world_size=2)
dist.all_reduce(torch.ones(3))
{EXITS[how]}
"""
    ranks = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", program, str(r)], stderr=subprocess.PIPE, text=True) for r in range(2)]
    for p in ranks:
        _, err = p.communicate(timeout=60)
        assert p.returncode == 0, err
