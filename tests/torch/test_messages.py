"""send, recv, recv from any source, batches of them, and the monitored barrier."""

import datetime
import threading
import time

import pytest
import torch
import torch.distributed as dist

from job import run

SIZES = [0, 1, 12, 300, 5000, 300000]


def ring(rank, ranks):
    right, left = (rank + 1) % ranks, (rank - 1) % ranks
    for dtype in (torch.float32, torch.uint8, torch.bool, torch.complex64):
        for n in SIZES:
            t, got = (torch.arange(n) % 7 + rank).to(dtype), torch.empty(n, dtype=dtype)
            sends = dist.isend(t, right)
            dist.recv(got, left)
            sends.wait()
            assert torch.equal(got, (torch.arange(n) % 7 + left).to(dtype))
    strided = torch.zeros(4, 6)[:, ::2]
    w = dist.isend(torch.full((3, 4), float(rank)).t(), right)
    dist.recv(strided, left)
    w.wait()
    assert torch.equal(strided, torch.full((4, 3), float(left)))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ring(ranks):
    run(ring, ranks)


def tags(rank, ranks):
    n = 50
    if rank == 0:
        works = [dist.isend(torch.full((10,), float(i)), 1, tag=i) for i in range(n)]
    else:
        ts = [torch.empty(10) for _ in range(n)]
        works = [dist.irecv(ts[i], 0, tag=i) for i in reversed(range(n))]
    for w in works:
        w.wait()
    assert rank == 0 or all(t[0] == i for i, t in enumerate(ts))


def test_tags_in_any_order():
    run(tags, 2)


def any_source(rank, ranks):
    if rank != 0:
        for i in range(20):
            dist.send(torch.tensor([rank, i]), 0)
        return
    last = {}
    for _ in range(20 * (ranks - 1)):
        t = torch.empty(2, dtype=torch.int64)
        source = dist.recv(t)
        assert source == t[0] and t[1] == last.get(source, -1) + 1
        last[source] = t[1]
    w = dist.irecv(torch.empty(1), tag=9)
    assert not w.is_completed()


def test_from_any_source():
    run(any_source, 4)


def batches(rank, ranks):
    right, left = (rank + 1) % ranks, (rank - 1) % ranks
    for _ in range(10):
        a, b = torch.empty(1000), torch.empty(5, dtype=torch.int32)
        works = dist.batch_isend_irecv([dist.P2POp(dist.irecv, a, left), dist.P2POp(dist.isend, torch.full((1000,), float(rank)), right),
                                        dist.P2POp(dist.isend, torch.full((5,), rank, dtype=torch.int32), left), dist.P2POp(dist.irecv, b, right)])
        for w in works:
            w.wait()
        assert a[0] == left and b[0] == right


def test_batches():
    run(batches, 3)


def beside_collectives(rank, ranks):
    """A thread sends what the peer waits for before it comes to the collective."""
    t = torch.ones(3)
    if rank == 0:
        threading.Timer(0.2, lambda: dist.send(torch.ones(2), 1)).start()
    else:
        dist.recv(torch.empty(2), 0)
    dist.all_reduce(t)
    assert t[0] == ranks
    # And in one thread: a collective and a barrier under way do not hold messages up.
    works = [dist.all_reduce(t, async_op=True), dist.barrier(async_op=True)] if rank == 0 else []
    got = torch.empty(1)
    if rank == 0:
        dist.send(torch.ones(1), 1)
    else:
        dist.recv(got, 0)
        works = [dist.all_reduce(t, async_op=True), dist.barrier(async_op=True)]
    for w in works:
        w.wait()


def test_messages_and_collectives_do_not_order_each_other():
    run(beside_collectives, 2)


def mistakes(rank, ranks):
    group = dist.new_group(timeout=datetime.timedelta(seconds=1))
    if rank == 0:
        with pytest.raises(dist.DistBackendError, match="rank 1") as e:
            dist.recv(torch.empty(1), 1, group=group)
        assert "Timed out" in str(e.value)
        dist.send(torch.ones(3), 1, group=group)
    else:
        time.sleep(2)
        with pytest.raises(ValueError, match="bytes"):
            dist.recv(torch.empty(2), 0, group=group)
    t = torch.ones(2)
    dist.all_reduce(t, group=group)
    assert t[0] == ranks


def test_mistakes_leave_the_group_usable():
    run(mistakes, 2)


def monitored(rank, ranks):
    group = dist.new_group()
    quick = datetime.timedelta(seconds=1)
    group.monitored_barrier(quick)
    group.monitored_barrier(quick, True)
    if rank in (1, 3):
        time.sleep(2)
        return
    text = "Ranks 1, 3 failed to pass monitoredBarrier" if rank == 0 else "Rank 2 successfully reached monitoredBarrier"
    with pytest.raises(RuntimeError, match=text):
        group.monitored_barrier(quick, True)


def test_monitored_barrier():
    run(monitored, 4)


def late_for_the_first(rank, ranks):
    """Who comes late for one barrier has not come to the next."""
    group = dist.new_group()
    second = datetime.timedelta(seconds=1)
    if rank == 1:
        time.sleep(1.5)
        with pytest.raises(RuntimeError, match="Rank 1 successfully reached monitoredBarrier"):
            group.monitored_barrier(second)
        return
    for _ in range(2):
        with pytest.raises(RuntimeError, match="Rank 1 failed to pass monitoredBarrier"):
            group.monitored_barrier(datetime.timedelta(seconds=1.2))


def test_a_late_rank_does_not_count_for_the_next_barrier():
    run(late_for_the_first, 2)
