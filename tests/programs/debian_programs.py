#!/usr/bin/env python3
"""Debian's MPI programs without and with the interposer: both must come to the end with the same verdicts.

  debian_programs.py [--only REGEX] [--np 4] [--list] [--build build/release]     (apt-get install of PACKAGES first)

Verdicts are the lines in which a program says what passed and failed, without times and other fractions; of LAMMPS, its
table of energies, to half a unit of the fifth digit. Prints a line per program and the sums of the interposer's reports; exits with 1
if anything differs, other than in programs whose verdicts vary by themselves.
"""
import argparse
import collections
import dataclasses
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import common

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = "scalapack-mpi-test hpcc lammps lammps-examples"
SCALAPACK = pathlib.Path("/usr/lib/x86_64-linux-gnu/scalapack")
LAMMPS = pathlib.Path("/usr/share/lammps/examples")
HPCC_INPUT = pathlib.Path("/usr/share/doc/hpcc/examples/_hpccinf.txt")

HANGS = ["no end within the limit"]


@dataclasses.dataclass
class Program:
  name: str
  mpi: str
  ranks: int
  command: list
  folder: pathlib.Path = None   # what it is run in a copy of
  files: dict = dataclasses.field(default_factory=dict)  # more files: name -> text
  output: str = None            # where it writes what it finds, if not to stdout
  verdicts: object = None       # text -> what must be the same
  tolerance: float = 0          # relative, of numbers with a fraction in verdicts


def lines_of_tests(text):
  lines = [re.sub(r"[-+]?\d*\.\d+([EeDd][-+]?\d+)?|\bNaN\b", "", x) for x in text.splitlines() if re.search(r"pass|fail|success|error|tests", x, re.I)]
  return [" ".join(x.split()) for x in lines]


def lammps_energies(text):
  """The tables between `Step` and `Loop time`, and energies in `Name = number` style: sums of many numbers, in another order."""
  rows, inside = [], False
  for line in text.splitlines():
    inside = line.split()[:1] == ["Step"] or (inside and not line.startswith("Loop time"))
    if inside:
      rows.append(line)
    rows += [f"{name} {x}" for name, x in re.findall(r"(\w+) += +(\S+)", line) if name != "CPU"]
  return rows


def agree(program, ours, theirs):
  """Whether verdicts are the same, numbers with a fraction as far as the program's tolerance."""
  def same(x, y):
    if x == y:
      return True
    try:
      return "." in x + y and math.isclose(float(x), float(y), rel_tol=program.tolerance)
    except ValueError:
      return False

  words = [[line.split() for line in side] for side in (ours, theirs)]
  return [len(w) for w in words[0]] == [len(w) for w in words[1]] and all(same(x, y) for a, b in zip(*words) for x, y in zip(a, b))


def scalapack(mpi):
  for folder in (SCALAPACK / f"{mpi}-tests", *sorted((SCALAPACK / f"{mpi}-tests").glob("*/"))):
    tests = re.findall(r'^add_test\((\w+) .*"-n" "(\d+)".*"(\./\S+)"\)', (folder / "CTestTestfile.cmake").read_text(), re.M)
    if folder.name == "BLACS":  # a script of CMake runs these
      tests = [(name, 4, f"./{name}") for name in ("xFbtest", "xCbtest")]
    for name, ranks, program in tests:
      yield Program(f"scalapack-{mpi}/{folder.name}/{name}", mpi, int(ranks), [program], folder, verdicts=lines_of_tests)


def programs(np):
  for mpi in ("openmpi", "mpich"):
    if (SCALAPACK / f"{mpi}-tests").exists():
      yield from scalapack(mpi)
  if HPCC_INPUT.exists():
    text = HPCC_INPUT.read_text()
    grid = re.sub(r"^\d+( +Ps)", r"1\1", text, flags=re.M)
    grid = re.sub(r"^\d+( +Qs)", rf"{np}\1", grid, flags=re.M)
    yield Program("hpcc", "openmpi", np, ["hpcc"], files={"hpccinf.txt": grid}, output="hpccoutf.txt", verdicts=lines_of_tests)
  for example in ("melt", "peptide", "rigid", "min"):
    folder = LAMMPS / example
    if folder.exists():
      yield Program(f"lammps/{example}", "openmpi", np, ["lmp", "-in", f"in.{example}"], folder, verdicts=lammps_energies, tolerance=5e-5)


def run(program, build, limit, mode="report"):
  """One run: what it found, its whole output, seconds. build: of the interposer, or None for a run without; mode: LIBCOLL_MPI."""
  with tempfile.TemporaryDirectory() as scratch:
    work = pathlib.Path(scratch) / "work"
    if program.folder:
      shutil.copytree(program.folder, work, ignore=lambda d, names: [n for n in names if (pathlib.Path(d) / n).is_dir()])
    work.mkdir(exist_ok=True)
    for name, text in program.files.items():
      (work / name).write_text(text)
    options = common.OPEN_MPI_OPTIONS if program.mpi == "openmpi" else []
    environment = dict(common.environment(), LIBCOLL_MPI=mode)
    if program.mpi == "mpich":
      environment.update(common.considerate_environment(pathlib.Path(scratch)))
    command = [f"mpirun.{program.mpi}", *options, "-n", str(program.ranks), *(common.preload(build) if build else []), *program.command]
    begun = time.time()
    try:
      done = subprocess.run(command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit)
      code, text = done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
      return HANGS, (e.stdout or b"").decode(errors="replace"), limit
    found = (work / program.output).read_text() if program.output and (work / program.output).exists() else text
    said = re.sub(r"libcoll report.*\n(collective .*\n)?(MPI_\w+ .*\n)*", "", found, flags=re.M)
    return [f"exit code {code}", *program.verdicts(said)], text, time.time() - begun


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--only", default="", metavar="REGEX")
  parser.add_argument("--np", type=int, default=4, help="ranks of hpcc and LAMMPS")
  parser.add_argument("--list", action="store_true")
  parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build/release")
  parser.add_argument("--limit", type=float, default=60, help="seconds a run may take; what takes longer without the interposer is left out")
  parser.add_argument("--keep", type=pathlib.Path, help="a folder for the outputs")
  args = parser.parse_args()
  chosen = [p for p in programs(args.np) if re.search(args.only, p.name)]
  if not chosen:
    sys.exit(f"debian_programs: none; apt-get install {PACKAGES}")
  if args.list:
    print("\n".join(f"{p.name} ({p.ranks} ranks)" for p in chosen))
    return 0
  same, sums = True, collections.Counter()
  for p in chosen:
    base, base_text, base_s = run(p, None, args.limit)
    if base == HANGS:
      print(f"left out  {p.name} -n {p.ranks}: no end within {args.limit:.0f} s without the interposer", flush=True)
      continue
    ours, text, ours_s = run(p, args.build.resolve(), args.limit)
    if args.keep:
      args.keep.mkdir(parents=True, exist_ok=True)
      for side, t in (("without", base_text), ("with", text)):
        (args.keep / f"{p.name.replace('/', '-')}.{side}").write_text(t)
    report = common.sum_reports(text)
    sums += report
    # What ends in MPI_Abort prints no report.
    used = ours[0] != "exit code 0" or sum(n for (_, where), n in report.items() if where == "libcoll") > 0
    word = "same" if agree(p, base, ours) and used else "DIFFERENT"
    if word == "DIFFERENT" and used and not all(agree(p, base, run(p, None, args.limit)[0]) for _ in range(3)):
      word = "varies"  # by itself
    same &= word != "DIFFERENT"
    print(f"{word:9} {p.name} -n {p.ranks}: {len(base)} lines of verdicts, {base[0]}, {base_s:.1f} s without, {ours_s:.1f} s with", flush=True)
    if word == "DIFFERENT":
      print(f"  with LIBCOLL_MPI=off: {'the same' if agree(p, base, run(p, args.build.resolve(), args.limit, 'off')[0]) else 'different, too'}")
    if word != "same":
      missing, extra = [x for x in base if x not in ours], [x for x in ours if x not in base]
      print(f"  only without: {missing[:5]}\n  only with: {extra[:5]}\n  libcoll: {dict(report)}", flush=True)
  print("reports, sums over all programs and ranks:")
  common.print_reports(sums)
  return 0 if same else 1


if __name__ == "__main__":
  sys.exit(main())
