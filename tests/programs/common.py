"""What the program runners share: launching ranks, with and without the interposer, and reading its reports."""
import collections
import os
import pathlib
import re
import subprocess

# Ranks outnumber CPUs on small machines.
OPEN_MPI_OPTIONS = ["--oversubscribe", "--mca", "mpi_yield_when_idle", "1"]


def environment():
  return dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", LIBCOLL_MPI="report")


def considerate_environment(work):
  """For Debian's MPICH, whose waiting ranks never yield (considerate.c)."""
  source, library = pathlib.Path(__file__).resolve().parent / "considerate.c", work / "considerate.so"
  subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
  return {"LD_PRELOAD": str(library)}


def preload(build):
  """What stands before a program to run it under the interposer."""
  return [str(build / "bin/coll-preload")]


def sum_reports(text):
  """(collective, where) -> calls, of all the reports in a program's output."""
  sums = collections.Counter()
  for m in re.finditer(r"(MPI_\w+) +(\S.*?) {2,}(\d+) +\d+ +[\d.]+", text):
    sums[m[1], m[2]] += int(m[3])
  return sums


def print_reports(sums):
  for (name, where), calls in sorted(sums.items()):
    print(f"  {name:26} {where:34} {calls:10}")
