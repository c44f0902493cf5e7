"""The workers of test_training.py as people start them: torchrun, mpirun, and on two hosts (network namespaces) of two ranks each.

Also: that the harness ends what hangs, and tells where it hung.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

pytest.importorskip("libcoll_torch")
import ranks  # noqa: E402

ranks.preload()
import group_workers  # noqa: E402
import train_workers  # noqa: E402

HERE = pathlib.Path(__file__).parent
HOSTS = HERE.parent / "support" / "hosts" / "hosts.py"
SCRIPT = str(HERE / "ranks.py")
F32 = 2e-5
SKIPPED = 77


def launch(command, limit_s=120, **environment):
    """Runs it; ends all of it after the limit."""
    settings = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", **environment)
    p = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        output, _ = p.communicate(timeout=limit_s)
        return p.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        return None, p.communicate()[0]


def results_of(folder, size, command, **environment):
    code, output = launch(command, **environment)
    if code == SKIPPED:
        pytest.skip(output.strip())
    assert code == 0, f"{' '.join(map(str, command))}: exit {code}\n{output[-8000:]}"
    return ranks.load(folder, size)


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def compare_launched(tmp_path, names, size, bound, command_of, **environment):
    results = {}
    for backend in ranks.BACKENDS:
        folder = tmp_path / backend
        folder.mkdir()
        results[backend] = results_of(folder, size, command_of([SCRIPT, names, backend, str(folder)]), **environment)
    ranks.require_equal(f"{names}, {size} ranks", results["gloo"], results["libcoll"], bound)
    return results["libcoll"]


def test_torchrun(tmp_path):
    def command(rest):
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] + rest

    launched = compare_launched(tmp_path, "train_workers.ddp_plain", 2, 0.0, command)
    ranks.require_equal("torchrun's ranks and forked ones", [r["ddp_plain"] for r in launched], ranks.run(train_workers.ddp_plain, "libcoll", 2), 0.0)


def test_mpirun(tmp_path):
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        pytest.skip("no mpirun here")

    def command(rest):
        return [mpirun, "-n", "2", "--oversubscribe", "--bind-to", "none", sys.executable] + rest

    compare_launched(tmp_path, "train_workers.fsdp_sum", 2, 0.0, command, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))


ON_HOSTS = ["train_workers.ddp_plain", "train_workers.fsdp_average", "train_workers.fsdp_in_arena", "train_workers.hsdp", "tensor_workers.redistribute",
            "tensor_workers.tensor_parallel", "tensor_workers.functional", "tensor_workers.mesh_groups", "group_workers.hosts_seen",
            "group_workers.subgroups", "group_workers.checkpoint", "group_workers.checkpoint_resharded"]
MESSAGES = ["group_workers.neighbours", "group_workers.any_source", "group_workers.pipeline_1f1b"]


@pytest.mark.slow
def test_two_hosts(tmp_path):
    """The first host's address is MASTER_ADDR; Gloo has to be told its interface, libcoll finds its own."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")

    def command(rest):
        return [sys.executable, HOSTS, "run", "--ranks", "2,2", "--timeout", "100", "--", sys.executable] + rest

    messages = ranks.run(group_workers.point_to_point_probe, "libcoll", 2) == [1, 1]
    names = ",".join(ON_HOSTS + MESSAGES * messages)
    results = compare_launched(tmp_path, names, 4, F32, command, MASTER_ADDR="10.77.0.1", MASTER_PORT="29511", GLOO_SOCKET_IFNAME="eth0")
    for r in results:
        assert r["hosts_seen"] == 2
        ranks.require_equal("after loading", r["checkpoint"]["straight on"], r["checkpoint"]["after loading"], 0.0)


def test_hang_is_ended_with_stacks(monkeypatch):
    monkeypatch.setattr(ranks, "TIMEOUT_S", 3)
    with pytest.raises(ranks.Failed, match="waits_for_nothing"):
        ranks.run(group_workers.hangs, "gloo", 2)


def test_failure_is_told():
    with pytest.raises(ranks.Failed, match="on purpose"):
        ranks.run(group_workers.fails, "libcoll", 2)


def test_difference_is_told():
    with pytest.raises(AssertionError, match="x: .* apart"):
        ranks.same(group_workers.differs, 2)
    ranks.same(group_workers.differs, 2, 1e-5)
