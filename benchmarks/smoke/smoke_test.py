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

    def run(self, *arguments, ranks, env=None):
        # One rank needs no launcher, and then the exit code is our own.
        launcher = [self.mpirun, *(["--oversubscribe"] if "mpich" not in self.mpirun else []), "-n", str(ranks)] if ranks > 1 else []
        return subprocess.run([*launcher, self.binary, *arguments], env=dict(self.env, **(env or {})), capture_output=True, text=True, timeout=60, check=False)

    def good(self, *arguments, env=None):
        done = self.run(*arguments, ranks=self.ranks, env=env)
        assert done.returncode == 0, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def bad(self, code, text, *arguments, ranks=1, env=None):
        done = self.run(*arguments, ranks=ranks, env=env)
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

    def results(self, where, *arguments, env=None):
        """What a run says and what its JSON file holds."""
        path = os.path.join(where, "results.json")
        text = self.good(*arguments, "-i", "2", "-x", "1", "--repetitions", "2", "-c", "--json", path, env=env)
        assert "FAILED" not in text and "ERROR" not in text, text
        with open(path, encoding="utf-8") as file:
            return text, json.load(file)

    def check_ways(self, where):
        """Every algorithm of every collective is right, and a tuning file is written, merged and followed."""
        tuning, network = os.path.join(where, "tuning.json"), {"LIBCOLL_NETWORK": "on"}
        text, results = self.results(where, "all", "-m", "512:1024", "--all-algorithms", "--tune", tuning, env=network)
        assert {c["collective"] for c in results["cells"]} == set(COLLECTIVES)
        for cell in results["cells"]:
            ways = cell["ways"]
            assert len(ways) > 1 and [w["recipe"] for w in ways if w["chosen"]] == [""] and cell["regret"] >= 1, cell
            assert all(w["correct"] and w["predicted_us"] > 0 for w in ways), cell
            times = [w["avg_us"] for w in ways]
            assert times == sorted(times) and cell["libcoll"]["avg_us"] == next(w["avg_us"] for w in ways if w["chosen"]), cell
        assert {r["collective"] for r in results["regret"]} == set(COLLECTIVES) and "# regret: " in text
        assert len(re.findall(r"^\d+ .* \* \(native step\) ", text, re.MULTILINE)) == len(results["cells"]), text
        with open(tuning, encoding="utf-8") as file:
            job, = json.load(file)["jobs"]
        assert {r["collective"] for r in job["rules"]} == {c.replace("reduce_scatter", "reduce_scatter_block") for c in COLLECTIVES}, job
        # What was best was a matter of luck; what a file says is followed, and stays if another collective is tuned.
        job["rules"] = [{"collective": "allreduce", "up_to_bytes": 64, "recipe": "default"}, {"collective": "allreduce", "up_to_bytes": 128, "recipe": "ring"}]
        with open(tuning, "w", encoding="utf-8") as file:
            json.dump({"libcoll_tuning": 1, "jobs": [job, {"fingerprint": "1000", "rules": job["rules"]}]}, file)
        self.results(where, "bcast", "-m", "64:128", "--all-algorithms", "--tune", tuning, env=network)
        with open(tuning, encoding="utf-8") as file:
            merged = {j["fingerprint"]: j["rules"] for j in json.load(file)["jobs"]}
        assert [r for r in merged[job["fingerprint"]] if r["collective"] == "allreduce"] == job["rules"] and len(merged) == 2, merged
        assert any(r["collective"] == "bcast" for r in merged[job["fingerprint"]]), merged
        use = dict(network, LIBCOLL_TUNING=tuning)
        _, results = self.results(where, "allreduce", "-m", "64:256", "--all-algorithms", env=use)
        assert [[w["recipe"] for w in c["ways"] if w["chosen"]] for c in results["cells"]] == [[""], ["ring"], [""]], results
        self.bad(2, "unset LIBCOLL_TUNING", "allreduce", "--all-algorithms", "--tune", tuning, env=use)
        self.bad(2, "unset LIBCOLL_SCAN", "allreduce", "--all-algorithms", "--tune", tuning, env={"LIBCOLL_SCAN": "linear"})
        self.bad(2, "--all-algorithms", "allreduce", "--tune", tuning)

    def check_forms(self, where):
        for env, state in (({}, "off"), ({"LIBCOLL_PROGRESS_THREAD": "on"}, "on"), ({"LIBCOLL_NETWORK": "on", "LIBCOLL_ALLREDUCE": "ring"}, "off")):
            text, results = self.results(where, "all", "-m", "64:128", "--nonblocking", "--tests", "3", env=env)
            assert text.count(f"Progress thread {state}.") == len(COLLECTIVES), text
            assert len(re.findall(r"^\d+(\s+\d+\.\d+){6}\s+3$", text, re.MULTILINE)) == len(results["cells"]), text
            for cell in results["cells"]:
                n = cell["nonblocking"]
                assert 0 <= n["overlap_percent"] <= 100 and n["overall_us"] >= n["compute_us"] > 0 and n["communication_us"] > 0, cell
        for buffers in ("hot", "cold"):
            text, results = self.results(where, "all", "-m", "64:128", "--persistent", "--buffers", buffers)
            assert "persistent(us)" in text and "blocking call's time / persistent" in text, text
            assert all(c["libcoll"]["correct"] and c["blocking"]["correct"] and c["ratio"] > 0 for c in results["cells"])
            text, _ = self.results(where, "all", "-m", "64:128", "--started", "--buffers", buffers)
            assert "started(us)" in text and "blocking call's time / started" in text, text
        for pair in (["--vs", "mpi", "--persistent"], ["--started", "--persistent"], ["--vs", "mpi", "--nonblocking"], ["--persistent", "--nonblocking"], ["--all-algorithms", "--nonblocking"]):
            self.bad(2, "one at a time", "allreduce", *pair)
        self.bad(2, "--nonblocking", "allreduce", "--tests", "3")

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
        self.bad(1, "has no algorithm \"magic\"", "allreduce", "-m", "8:8", "-i", "1", "--algorithm", "magic", ranks=2)


def main():
    binary, mpirun, benchmarks, ranks = sys.argv[1:5]
    smoke = Smoke(binary, mpirun, benchmarks, int(ranks))
    smoke.check_osu_format()
    with tempfile.TemporaryDirectory() as where:
        smoke.check_all(where)
        smoke.check_ways(where)
        smoke.check_forms(where)
    smoke.check_variants()
    smoke.check_mistakes()
    print("coll-bench smoke test: all well")


if __name__ == "__main__":
    main()
