#!/usr/bin/env python3
"""Runs coll-bench for all collectives with tiny counts and checks what it prints and writes.

smoke_test.py COLL_BENCH MPIRUN BENCHMARKS_DIR RANKS
"""
import csv
import json
import os
import re
import subprocess
import sys
import tempfile

COLLECTIVES = ("barrier bcast reduce allreduce reduce_scatter allgather gather scatter alltoall scan exscan "
               "allgatherv gatherv scatterv alltoallv").split()


class Smoke:
    def __init__(self, binary, mpirun, benchmarks, ranks):
        self.binary, self.mpirun, self.benchmarks, self.ranks = binary, mpirun, benchmarks, ranks
        self.env = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", PMIX_MCA_gds="hash")

    def run(self, *arguments, ranks):
        # One rank needs no launcher, and then the exit code is our own.
        launcher = [self.mpirun, *(["--oversubscribe"] if "mpich" not in self.mpirun else []), "-n", str(ranks)] if ranks > 1 else []
        return subprocess.run([*launcher, self.binary, *arguments], env=self.env, capture_output=True, text=True, timeout=60, check=False)

    def good(self, *arguments):
        done = self.run(*arguments, ranks=self.ranks)
        assert done.returncode == 0, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def bad(self, code, text, *arguments, ranks=1):
        done = self.run(*arguments, ranks=ranks)
        assert done.returncode != 0, f"{arguments} was accepted"
        if ranks == 1:
            assert done.returncode == code, f"{arguments}: exit code {done.returncode}"
        assert text in done.stderr + done.stdout, f"{arguments}: no {text!r} in:\n{done.stderr}\n{done.stdout}"

    def check_osu_format(self):
        """A parser of OSU's two columns understands the default output."""
        text = self.good("allreduce", "barrier", "-m", "4:4096", "-i", "3", "-x", "1", "--repetitions", "1", "-c")
        assert "# libcoll Allreduce Latency Test v" in text and "# Datatype: float" in text, text
        rows = re.findall(r"^(\d+)\s+(\d+\.\d+)$", text, re.MULTILINE)
        assert [int(size) for size, _ in rows] == [4 << i for i in range(11)], text
        assert re.search(r"^#   Avg Latency\(us\)\n\s+\d+\.\d+$", text, re.MULTILINE), text

    def check_all(self, where):
        names = [os.path.join(where, n) for n in ("all.json", "all.csv", "all.png")]
        text = self.good("all", "-m", "1:20K", "-i", "2", "-x", "1", "--repetitions", "2", "-c", "--memory", "both", "--vs", "mpi",
                         "--json", names[0], "--csv", names[1], "--plot", names[2])
        assert "FAILED" not in text and "ERROR" not in text, text
        with open(names[0], encoding="utf-8") as file:
            results = json.load(file)
        assert {c["collective"] for c in results["cells"]} == set(COLLECTIVES)
        assert {c["memory"] for c in results["cells"]} == {"private", "shared"}
        for cell in results["cells"]:
            for library in ("libcoll", "mpi"):
                assert cell[library]["correct"] and cell[library]["min_us"] <= cell[library]["avg_us"] <= cell[library]["max_us"], cell
                assert len(cell[library]["repetitions_us"]) == 2, cell
        assert results["machine"]["ranks"] == self.ranks and results["options"]["checked"]
        with open(names[1], encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(results["cells"]) and float(rows[-1]["libcoll_us"]) > 0
        with open(names[2], "rb") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"
        self.check_compare(names[0], len(rows))

    def check_compare(self, path, cells):
        compare = [sys.executable, os.path.join(self.benchmarks, "compare.py")]
        done = subprocess.run([*compare, path, path], capture_output=True, text=True, check=True)
        assert f"{cells} same, 0 faster, 0 slower" in done.stdout, done.stdout

    def check_variants(self):
        for extra in (["--buffers", "hot", "-T", "bf16"], ["--buffers", "cold", "-T", "double", "-O", "max"], ["-f", "-r", "1", "-T", "char"]):
            text = self.good("bcast", "reduce", "allreduce", "-m", "64:256", "-i", "2", "-x", "1", "--repetitions", "1", "-c", *extra)
            assert "FAILED" not in text and "ERROR" not in text, text

        sliced = ["-m", "64:256", "-i", "2", "-x", "1", "--repetitions", "1", "--algorithm", "sliced"]
        self.good("reduce", "allreduce", "-c", *sliced)
        self.bad(1, "algorithm sliced is not available for this call", "bcast", *sliced)

    def check_mistakes(self):
        self.bad(2, "no collective \"allredcue\"", "allredcue")
        self.bad(2, "which collective?")
        self.bad(2, "no size in bytes", "allreduce", "-m", "8:xyz")
        self.bad(2, "above the largest", "allreduce", "-m", "64:8")
        self.bad(2, "not defined on float", "allreduce", "-O", "band")
        self.bad(2, "one of: bf16", "allreduce", "-T", "quad")
        self.bad(2, "there are 1 ranks", "bcast", "-r", "5")
        self.bad(2, "--nonsense", "allreduce", "--nonsense")
        self.bad(1, "cannot write /nonexistent/x.json", "barrier", "-i", "1", "--json", "/nonexistent/x.json")
        self.bad(1, "\"magic\" is unknown", "allreduce", "-m", "8:8", "-i", "1", "--algorithm", "magic", ranks=2)


def main():
    binary, mpirun, benchmarks, ranks = sys.argv[1:5]
    smoke = Smoke(binary, mpirun, benchmarks, int(ranks))
    smoke.check_osu_format()
    with tempfile.TemporaryDirectory() as where:
        smoke.check_all(where)
    smoke.check_variants()
    smoke.check_mistakes()
    print("coll-bench smoke test: all well")


if __name__ == "__main__":
    main()
