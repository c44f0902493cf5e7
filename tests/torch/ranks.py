"""Runs a worker function on N ranks of this machine under one backend of torch.distributed, and compares what two backends gave.

A worker takes no arguments, finds the default group ready, and returns nested dicts and lists of tensors and numbers. Its ranks
are forked from the test's process, which has imported torch and started none of its threads: that takes milliseconds. A rank
that outlives its time, or another rank's failure, says where it is in all of its threads and is ended; the run then fails.
"""

import datetime
import faulthandler
import importlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings

import torch
import torch.distributed as dist

sys.path.insert(0, str(pathlib.Path(__file__).parent))
BACKENDS = ("gloo", "libcoll")
TIMEOUT_S = 60  # of a worker; one takes about a second
GRACE_S = 5     # that ranks have to end after one failed
SHARED = "LIBCOLL_TEST_SHARED_FOLDER"


class Failed(AssertionError):
    """A rank failed or hung; the text says which, and holds its traceback."""


def preload():
    """Imports, once and before ranks are forked, what workers need; without a thread of torch."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's own, of what it imports
    importlib.import_module("libcoll_torch")
    for name in ("distributed.tensor.parallel", "distributed.fsdp", "distributed.checkpoint._fsspec_filesystem", "distributed.optim",
                 "distributed.pipelining", "distributed.algorithms.join", "_inductor.compile_fx"):
        importlib.import_module(f"torch.{name}")


def shared_folder():
    """A folder that all ranks of the run see, empty at first."""
    return pathlib.Path(os.environ[SHARED])


def as_values(result):
    """What a worker returned, as plain tensors that nothing of the process group is needed to load."""
    if isinstance(result, dict):
        return {k: as_values(v) for k, v in result.items()}
    if isinstance(result, (list, tuple)):
        return [as_values(v) for v in result]
    if hasattr(result, "full_tensor"):
        result = result.full_tensor()
    if hasattr(result, "wait") and isinstance(result, torch.Tensor):
        result = result.wait()
    return result.detach().clone() if isinstance(result, torch.Tensor) else result


def body(workers, backend, rank, size, folder, init):
    """One rank: makes the group, runs the workers, leaves their results in the folder, by name."""
    warnings.simplefilter("ignore")
    dist.set_debug_level_from_env()
    dist.init_process_group(backend, init_method=init, rank=rank, world_size=size, timeout=datetime.timedelta(seconds=TIMEOUT_S))
    results = {}
    for worker in workers:
        shared = folder / f"shared-{worker.__name__}"
        shared.mkdir(exist_ok=True)
        os.environ[SHARED] = str(shared)
        torch.manual_seed(7)
        results[worker.__name__] = as_values(worker())
    torch.save(results, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def forked(worker, backend, rank, size, folder):
    """The child of fork: never returns."""
    code = 1
    try:
        os.setpgid(0, 0)  # with what it starts: compilers
        log = os.open(folder / f"{rank}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        faulthandler.enable(file=2, all_threads=True)
        faulthandler.dump_traceback_later(TIMEOUT_S, exit=True, file=2)
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
        body([worker], backend, rank, size, folder, f"file://{folder}/store")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_all(pids):
    """Exit codes by rank; None: it had to be killed. Ranks that are still there a while after one failed say their stacks."""
    codes, deadline, asked = {}, time.monotonic() + TIMEOUT_S + GRACE_S, False
    while len(codes) < len(pids):
        for rank, pid in enumerate(pids):
            if rank not in codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[rank] = os.waitstatus_to_exitcode(status)
                    if codes[rank]:
                        deadline = min(deadline, time.monotonic() + GRACE_S)
        if time.monotonic() > deadline:
            left = [r for r in range(len(pids)) if r not in codes]
            for rank in left:
                os.kill(pids[rank], signal.SIGKILL if asked else signal.SIGUSR1)
                if asked:
                    os.waitpid(pids[rank], 0)
                    codes[rank] = None
            asked, deadline = True, time.monotonic() + 1
        time.sleep(0.003)
    return codes


def run(worker, backend, size):
    """What the worker returned, by rank. Raises Failed."""
    preload()
    sys.stdout.flush()
    sys.stderr.flush()
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"libcoll-{worker.__name__}-"))
    pids = []
    try:
        for rank in range(size):
            pid = os.fork()
            if pid == 0:
                forked(worker, backend, rank, size, folder)
            pids.append(pid)
        codes = wait_all(pids)
        if any(code != 0 for code in codes.values()):
            logs = "\n".join(f"--- rank {r} of {size}, {backend}, exit {codes[r]}\n{tail(folder / f'{r}.log')}" for r in range(size))
            raise Failed(f"{worker.__name__} under {backend}:\n{logs}")
        return [r[worker.__name__] for r in load(folder, size)]
    finally:
        end_groups(pids)
        shutil.rmtree(folder, ignore_errors=True)


def end_groups(pids):
    for pid in pids:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def tail(path, chars=16000):
    return path.read_text(errors="replace")[-chars:] if path.exists() else "(no output)"


def load(folder, size):
    return [torch.load(folder / f"{r}.pt", weights_only=True) for r in range(size)]


def differences(a, b, bound, path=""):
    """Where a and b differ by more than `bound` times the largest magnitude of the tensor; bound 0: in any bit."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [d for k in a for d in differences(a[k], b[k], bound, f"{path}/{k}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for i in range(len(a)) for d in differences(a[i], b[i], bound, f"{path}/{i}")]
    if isinstance(a, float) and isinstance(b, float):
        a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return [] if type(a) is type(b) and a == b else [f"{path}: {a!r} and {b!r}"]
    if a.shape != b.shape or a.dtype != b.dtype:
        return [f"{path}: {a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}"]
    if torch.equal(a, b):
        return []
    if not a.is_floating_point():
        return [f"{path}: {a.flatten()[:8].tolist()} and {b.flatten()[:8].tolist()}"]
    largest = a.abs().max().item()
    apart = (a.double() - b.double()).abs().max().item()
    return [] if apart <= bound * largest else [f"{path}: {apart:g} apart, of at most {largest:g}; the bound is {bound:g}"]


def same(worker, size, bound=0.0, backends=BACKENDS):
    """Fails unless the worker's numbers under the one backend are the other's, within the bound. Returns the second's."""
    first, second = (run(worker, backend, size) for backend in backends)
    require_equal(f"{worker.__name__}, {size} ranks, {' and '.join(backends)}", first, second, bound)
    return second


def require_equal(what, first, second, bound):
    apart = differences(first, second, bound)
    assert not apart, f"{what}:\n" + "\n".join(apart[:20])


def main():
    """ranks.py MODULE.WORKER,... BACKEND FOLDER: one rank of a launcher (torchrun; mpirun; RANK, WORLD_SIZE, MASTER_ADDR set)."""
    for ours, theirs in (("RANK", "OMPI_COMM_WORLD_RANK"), ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"), ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
                         ("RANK", "LIBCOLL_RANK"), ("WORLD_SIZE", "LIBCOLL_SIZE")):  # the last two: of tests/support/hosts
        if theirs in os.environ:
            os.environ.setdefault(ours, os.environ[theirs])
    faulthandler.dump_traceback_later(TIMEOUT_S, exit=True)
    torch.set_num_threads(1)
    importlib.import_module("libcoll_torch")
    names, backend, folder = sys.argv[1:]
    workers = [getattr(importlib.import_module(module), worker) for module, worker in (name.split(".") for name in names.split(","))]
    body(workers, backend, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), pathlib.Path(folder), "env://")


if __name__ == "__main__":
    main()
