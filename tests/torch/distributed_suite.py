#!/usr/bin/env python3
"""PyTorch's own distributed tests with libcoll, and with Gloo: whatever passes with Gloo has to pass with libcoll.

    distributed_suite.py [--sizes 2,3,4] [--tests part-of-name ...]

Prints what passed, and each test that only one of the two ran or passed. Fails if there is one that is not in EXPLAINED.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
EXPLAINED = {
    "test_ddp_logging_data_cpu": "wants the group's own name in DDP's log; torch calls every backend that is not its own 'custom'",
}
# torch runs these for MPI alone, which its wheels do not have: nothing to compare with, but they have to pass.
ONLY_MPI = ["test_all_to_all"]


def outcomes(backend, size, tests, disguise="gloo", limit=1500):
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "outcomes.json")
        environment = dict(os.environ, BACKEND=backend, DISGUISE=disguise, WORLD_SIZE=str(size), TEMP_DIR=folder, INIT_METHOD=f"file://{folder}/init",
                           DISTRIBUTED_TESTS_DEFAULT_TIMEOUT="120", PYTORCH_PRINT_REPRO_ON_FAILURE="0", OMP_NUM_THREADS="1")
        log = os.path.join(folder, "log")
        with open(log, "w") as f:
            subprocess.run([sys.executable, str(HERE / "suite_cases.py"), output, *tests], env=environment, stdout=f, stderr=f, timeout=limit)
        if not os.path.exists(output):
            sys.exit(f"{backend}, {size} ranks: the suite did not run:\n" + open(log).read()[-3000:])
        with open(output) as f:
            return json.load(f)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="2,3,4")
    parser.add_argument("--tests", nargs="*", default=[])
    args = parser.parse_args()
    bad = 0
    for size in map(int, args.sizes.split(",")):
        gloo, ours = outcomes("gloo", size, args.tests), outcomes("libcoll", size, args.tests)
        count = collections.Counter(word for word, _ in ours.values())
        print(f"{size} ranks: libcoll passed {count['passed']}, skipped {count['skipped']}, failed {count['failed']};",
              f"Gloo passed {sum(word == 'passed' for word, _ in gloo.values())}", flush=True)
        if not count["passed"]:
            bad += 1
            print("  nothing ran: do the names of --tests exist?")
        for name, (word, _) in gloo.items():
            mine, reason = ours.get(name, ["not run", ""])
            if word != "passed" or mine == "passed":
                continue
            known = EXPLAINED.get(name)
            bad += known is None
            print(f"  {name}: {mine}: {known or reason}")
        for name, (word, reason) in ours.items():
            if word == "failed" and gloo.get(name, [""])[0] != "passed":
                bad += 1
                print(f"  {name}: failed (Gloo: {gloo.get(name, ['not run'])[0]}): {reason}")
        if not args.tests:
            more = outcomes("libcoll", size, ONLY_MPI, disguise="mpi")
            failed = {name: reason for name, (word, reason) in more.items() if word == "failed"}
            bad += len(failed)
            print(f"{size} ranks, tests for MPI alone: passed {sum(word == 'passed' for word, _ in more.values())}, failed {len(failed)}", *failed.items(), sep="\n  ")
            reasons = collections.Counter(reason for name, (word, reason) in ours.items() if word == "skipped" and more.get(name, ["skipped"])[0] == "skipped")
            print(f"{size} ranks, skipped with libcoll (and, but for the above, with Gloo), by reason:")
            for reason, n in reasons.most_common():
                print(f"  {n:3} {reason}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
