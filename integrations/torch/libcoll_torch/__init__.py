"""libcoll as a backend of torch.distributed.

    import torch.distributed as dist
    import libcoll_torch
    dist.init_process_group("libcoll")

See docs/pytorch.md.
"""

import atexit
import contextlib
import datetime

import torch
import torch.distributed as dist

from . import _build

if torch.__version__.split("+")[0].rsplit(".", 1)[0] != _build.TORCH_MINOR:
    raise ImportError(
        f"libcoll_torch was built for torch {_build.TORCH_MINOR}, but this is torch {torch.__version__}. "
        "The interface of c10d changes with every release: install the libcoll_torch that was built for this torch."
    )

from . import _C  # noqa: E402  (after the check: another torch makes loading it undefined)

__version__ = _build.VERSION
NAME = "libcoll"


def _create(options, pg_options):
    """What init_process_group and new_group call on every rank of the group."""
    if pg_options is not None:
        raise TypeError(f"libcoll: pg_options is a {type(pg_options).__name__}; this backend has none (a timeout goes to timeout=)")
    timeout = options.timeout
    if not isinstance(timeout, datetime.timedelta):
        timeout = datetime.timedelta(seconds=timeout)
    ranks = list(options.global_ranks_in_group) or list(range(options.group_size))
    return _C.create(options.store, options.group_rank, options.group_size, timeout, options.group_id or "", ranks)


def _register():
    if NAME.upper() not in dist.Backend._plugins:
        devices = ["cpu", "cuda"] if torch.version.cuda else ["cpu"]
        dist.Backend.register_backend(NAME, _create, extended_api=True, devices=devices)
        atexit.register(_C.stop)


_register()


def _backend(group=None):
    group = group if group is not None else dist.group.WORLD
    if group is None:
        raise ValueError("libcoll: there is no process group yet")
    backend = group._get_backend(torch.device("cpu"))
    while hasattr(backend, "wrapped_pg"):  # TORCH_DISTRIBUTED_DEBUG=DETAIL
        backend = backend.wrapped_pg
    return backend


def empty(*size, dtype=None, group=None):
    """A tensor in the host's shared memory: collectives of `group` read and write it where it lies, without copies.

    Args: size as of torch.empty; dtype: torch's default if None; group: a libcoll group, by default the world.
    Raises RuntimeError if the arena has no room (LIBCOLL_ARENA_BYTES). Not collective; any thread may call it.
    """
    if len(size) == 1 and not isinstance(size[0], int):
        size = tuple(size[0])
    return _C.empty(_backend(group), list(size), dtype or torch.get_default_dtype())


_served = (None, None)  # the last use_arena()


def use_arena(at_least=64 * 1024, group=None):
    """From now on CPU tensors of at least so many bytes are allocated in the host's shared memory (see empty()), whoever allocates
    them: DistributedDataParallel's buckets, gradients, FSDP's flat parameters. What finds no room there is allocated as before.
    Process-wide. `use_arena(None)` ends it; tensors stay valid."""
    global _served
    if at_least is None:
        _C.stop_serving_allocations()
    else:
        _C.serve_allocations(_backend(group), at_least)
    _served = (at_least, group)


@contextlib.contextmanager
def arena(at_least=64 * 1024, group=None):
    """use_arena() for the body of a `with` statement."""
    before = _served
    use_arena(at_least, group)
    try:
        yield
    finally:
        use_arena(*before)


def describe(group=None):
    """What calls of the group run on, in one line: hosts, link costs, transports."""
    return _C.describe(_backend(group))


def lent_buffers(group=None):
    """How many buffers of this rank's calls its neighbours read or wrote in place so far."""
    return _C.lent_buffers(_backend(group))


def monitored_barrier(group=None, timeout=None, wait_all_ranks=False):
    """torch.distributed.monitored_barrier for libcoll groups (torch's own takes Gloo's alone): rank 0 waits for all others, and
    raises DistBackendError, on itself and on them, naming the first that does not come within `timeout` (a timedelta; the group's
    if None), or all of those with wait_all_ranks."""
    group = group if group is not None else dist.group.WORLD
    if group == dist.GroupMember.NON_GROUP_MEMBER:
        return None
    if timeout is None:
        return group.monitored_barrier(wait_all_ranks=wait_all_ranks)
    return group.monitored_barrier(timeout, wait_all_ranks)
