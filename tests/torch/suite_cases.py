"""PyTorch's DistributedTest (torch.testing._internal.distributed, from the installed wheel), instantiated for one backend.

Its environment says which: BACKEND (libcoll or gloo), WORLD_SIZE, TEMP_DIR; DISGUISE: whose special tests libcoll runs (gloo or mpi).
distributed_suite.py runs it.
"""

import json
import os
import sys
import unittest

import torch
import torch.distributed as dist
from torch.testing._internal import common_distributed

WANTED = os.environ["BACKEND"]
DISGUISE = os.environ.get("DISGUISE", "gloo")
os.environ.setdefault("MASTER_ADDR", "127.0.0.1")


class Disguised(str):
    """Equal to DISGUISE too, also as a member of sets, so that the suite's tests for that backend alone run."""

    __hash__ = lambda self: hash(DISGUISE)  # noqa: E731

    def __eq__(self, other):
        return str(other) in (DISGUISE, WANTED)

    def __ne__(self, other):
        return not self == other


if WANTED == "libcoll":
    import conftest  # noqa: F401  (finds libcoll_torch)
    import libcoll_torch

    common_distributed.DistTestCases.backend_feature["plugin"].add(WANTED)
    dist.monitored_barrier = libcoll_torch.monitored_barrier  # torch's own refuses every backend but Gloo

import torch.testing._internal.distributed.distributed_test as suite  # noqa: E402

if WANTED == "libcoll":
    # Skips are decided while the module's body runs: once more, with the backend's name in disguise.
    source = open(suite.__file__).read().replace('BACKEND = os.environ["BACKEND"]', "BACKEND = Disguised(os.environ['BACKEND'])", 1)
    suite.Disguised = Disguised
    exec(compile(source, suite.__file__, "exec"), suite.__dict__)
    for names in (suite.PROFILING_SUPPORTED_BACKENDS, suite.SEND_RECV_PROFILING_SUPPORTED_BACKENDS):
        names.append(WANTED)


class TestDistBackendWithSpawn(suite.TestDistBackend, suite.DistributedTest._DistTestBase):
    def setUp(self):
        super().setUp()
        # Forked children need not import torch again; nothing has started a thread in this process.
        self._start_processes(torch.multiprocessing.get_context("fork").Process)


class Outcomes(unittest.TextTestResult):
    """Keeps one word and one reason per test."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.outcomes = {}

    def note(self, test, word, reason=""):
        self.outcomes[test.id().rsplit(".", 1)[-1]] = [word, reason]

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "passed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "failed", str(err[1])[-600:])

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "failed", str(err[1])[-600:])


def main():
    """suite_cases.py OUTPUT.json [pattern ...]: runs the tests whose names contain one of the patterns."""
    torch.set_num_threads(1)
    output, patterns = sys.argv[1], sys.argv[2:]
    names = [n for n in unittest.TestLoader().getTestCaseNames(TestDistBackendWithSpawn) if not patterns or any(p in n for p in patterns)]
    tests = unittest.TestSuite(TestDistBackendWithSpawn(n) for n in names)
    result = unittest.TextTestRunner(verbosity=2, resultclass=Outcomes).run(tests)
    with open(output, "w") as f:
        json.dump(result.outcomes, f, indent=1)


if __name__ == "__main__":
    main()
