"""The package itself: for which torch it is, and what it takes."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from job import run


def test_another_torch_is_refused():
    program = f"import sys; sys.path[:0] = {sys.path!r}; import torch; torch.__version__ = '2.99.1+cpu'; import libcoll_torch"
    p = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60)
    built_for = ".".join(torch.__version__.split(".")[:2])
    assert p.returncode != 0 and f"built for torch {built_for}" in p.stderr and "2.99.1" in p.stderr, p.stderr


def functions(rank, ranks):
    import libcoll_torch

    assert f"rank {rank} of {ranks}" in libcoll_torch.describe()
    assert libcoll_torch.empty(3, 4).shape == (3, 4) and libcoll_torch.empty((2,), dtype=torch.int8).dtype == torch.int8
    assert libcoll_torch.empty(0).numel() == 0
    gloo = dist.new_group(backend="gloo")
    with pytest.raises(TypeError, match="not a backend of libcoll"):
        libcoll_torch.describe(gloo)
    with pytest.raises(TypeError, match="pg_options"):
        dist.new_group(backend="libcoll", pg_options=3)
    backend = dist.group.WORLD._get_backend(torch.device("cpu"))
    assert backend.name() == "libcoll" and backend.rank() == rank and backend.size() == ranks and backend.supports_coalescing


def test_functions_of_the_package():
    run(functions, 2)
