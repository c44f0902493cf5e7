"""One rank of mpi4py's own test suite: mpi4py_rank.py TEST_FOLDER LOG_FOLDER ARGUMENTS_OF_main.py...

Writes a line when each test starts and ends to LOG_FOLDER/RANK, so that what hangs or crashes is known by name.
"""
import sys
import time
import unittest

testdir, logdir = sys.argv[1:3]
sys.path.insert(0, testdir)
sys.dont_write_bytecode = True


class Result(unittest.TestResult):
  def __init__(self, log):
    super().__init__()
    self.log = log

  def write(self, what, test, detail=""):
    line = " ".join(str(detail).split())
    self.log.write(f"{what}\t{test.id()}\t{time.time():.2f}\t{line}\n")
    self.log.flush()

  def startTest(self, test):
    super().startTest(test)
    self.write("start", test)

  def addSuccess(self, test):
    super().addSuccess(test)
    self.write("ok", test)

  def failed(self, test, err):
    self.write("fail", test, f"{err[0].__name__}: {err[1]}")

  def addFailure(self, test, err):
    super().addFailure(test, err)
    self.failed(test, err)

  def addError(self, test, err):
    super().addError(test, err)
    self.failed(test, err)

  def addSubTest(self, test, subtest, err):
    super().addSubTest(test, subtest, err)
    if err is not None:
      self.failed(test, err)

  def addSkip(self, test, reason):
    super().addSkip(test, reason)
    self.write("skip", test, reason)

  def addExpectedFailure(self, test, err):
    super().addExpectedFailure(test, err)
    self.write("expected", test)

  def addUnexpectedSuccess(self, test):
    super().addUnexpectedSuccess(test)
    self.write("unexpected", test)


class Runner:
  def __init__(self, *_, **__):
    pass

  def run(self, test):
    from mpi4py import MPI

    with open(f"{logdir}/{MPI.COMM_WORLD.Get_rank()}", "w", encoding="utf-8") as log:
      result = Result(log)
      test(result)
      log.write("end\t\t\t\n")
    return result


import main  # noqa: E402  mpi4py's

try:
  main.main(module=None, argv=["main.py", *sys.argv[3:]], testRunner=Runner)
except SystemExit:
  pass  # failures are in the log
