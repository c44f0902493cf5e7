"""Runs a function as the ranks of a job, each in a process of its own, and gives back what they return."""

import datetime
import faulthandler
import multiprocessing
import os
import signal
import tempfile
import time
import traceback

import torch
import torch.distributed as dist


class Dead(Exception):
    """A rank ended without a result: text says how."""


def _rank(function, rank, ranks, backend, store, timeout, pipe, args):
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    torch.set_num_threads(1)
    try:
        if backend is not None:
            import libcoll_torch  # noqa: F401

            dist.init_process_group(backend, init_method=f"file://{store}", rank=rank, world_size=ranks, timeout=datetime.timedelta(seconds=timeout))
        pipe.send(("ok", function(rank, ranks, *args)))
        if dist.is_initialized():
            dist.destroy_process_group()
    except BaseException:
        pipe.send(("error", traceback.format_exc()))
    finally:
        pipe.close()


def run(function, ranks, *args, backend="libcoll", timeout=30, limit=120, allow_dead=()):
    """[function(rank, ranks, *args) of each rank]. A rank that fails or hangs for `limit` seconds fails the caller; of ranks in
    `allow_dead` the result is None if they die. Children are forked: nothing in this process may have used torch's threads."""
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "store")
        started = []
        for rank in range(ranks):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_rank, args=(function, rank, ranks, backend, store, timeout, there, args))
            process.start()
            there.close()
            started.append((process, here))
        deadline = time.monotonic() + limit
        results, failures = [None] * ranks, []
        for rank, (process, pipe) in enumerate(started):
            try:
                if not pipe.poll(max(0, deadline - time.monotonic())):
                    for p, _ in started:
                        if p.is_alive():
                            os.kill(p.pid, signal.SIGUSR1)  # stacks, to stderr
                    time.sleep(1)
                    raise Dead(f"no answer within {limit} s")
                word, value = pipe.recv()
                if word == "error":
                    raise Dead(value)
                results[rank] = value
            except (Dead, EOFError) as e:
                if rank not in allow_dead:
                    failures.append(f"rank {rank}: {e or 'died'}")
        for process, pipe in started:
            process.join(max(0.1, deadline + 10 - time.monotonic()) if not failures else 0.1)
            if process.is_alive():
                if not failures:
                    failures.append(f"process {process.pid} does not end")
                process.kill()
                process.join()
            pipe.close()
        assert not failures, "\n".join(failures)
        return results
