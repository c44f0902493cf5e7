"""The example integrations/torch/examples/digits.py, with few steps: both backends learn alike, however it is started."""

import json
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("libcoll_torch")
pytest.importorskip("sklearn")
EXAMPLE = pathlib.Path(__file__).parents[2] / "integrations" / "torch" / "examples" / "digits.py"


def epochs_of(command, tmp_path, *more):
    file = tmp_path / "digits.json"
    done = subprocess.run([sys.executable, *command, "--epochs", "2", "--steps", "15", "--json", file, *more], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return json.loads(file.read_text())["epochs"], done.stdout


def losses(epochs, backend):
    return [e[f"loss_{backend}"] for e in epochs]


def test_two_ranks(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "digits.png"
    spawned, text = epochs_of([EXAMPLE, "--ranks", "2"], tmp_path, "--plot", picture)
    assert losses(spawned, "gloo") == losses(spawned, "libcoll")
    assert losses(spawned, "libcoll")[1] < losses(spawned, "libcoll")[0]
    assert "equal in every digit" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    launched, _ = epochs_of(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", EXAMPLE], tmp_path)
    assert losses(launched, "libcoll") == losses(spawned, "libcoll")


@pytest.mark.slow
def test_three_ranks(tmp_path):
    """Each backend adds in its own order: close, if not equal."""
    epochs, _ = epochs_of([EXAMPLE, "--ranks", "3"], tmp_path)
    assert losses(epochs, "libcoll") == pytest.approx(losses(epochs, "gloo"), rel=1e-4)
