#!/usr/bin/env python3
"""Tests hosts.py. Usage: hosts_test.py [case...]; a case is a function test_CASE below. Exits with 77 where hosts.py skips."""
import os
import re
import signal
import socket
import subprocess
import sys
import time

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hosts.py")


def run(*arguments, **more):
  return subprocess.run([sys.executable, TOOL, "run", *arguments], capture_output=True, text=True, timeout=100, **more)


def me(*arguments):
  return ["--", sys.executable, os.path.abspath(__file__), *arguments]


def expect(yes, text):
  if not yes:
    sys.exit(f"FAILED: {text}")


def network_namespaces():
  found = set()
  for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
      found.add(os.readlink(f"/proc/{pid}/ns/net"))
    except OSError:
      pass
  return found


def traces():
  """What a run could leave: namespaces, devices, host names."""
  named = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
  mounts = {l.split()[1] for l in open("/proc/self/mounts") if "netns" in l or "/run/uts" in l}
  return named | mounts | {n for _, n in socket.if_nameindex()} | {socket.gethostname()}


def nothing_left(before, spaces):
  for _ in range(500):  # processes take a moment to die
    if traces() == before and not network_namespaces() - spaces:
      return
    time.sleep(0.01)
  sys.exit(f"FAILED: left behind: {traces() ^ before} {network_namespaces() - spaces}")


def rank_body():
  """A rank: meets every other rank over the addresses of the hosts, and says where it is."""
  rank, host_of = int(os.environ["LIBCOLL_RANK"]), [int(h) for h in os.environ["HOSTS_OF_RANKS"].split(",")]
  addresses = os.environ["HOSTS_ADDRESSES"].split(",")
  server = socket.create_server((addresses[host_of[rank]], 20000 + rank), backlog=64)
  for r, h in enumerate(host_of):
    for attempt in range(1000):
      try:
        socket.create_connection((addresses[h], 20000 + r), timeout=5).sendall(b"x")
        break
      except ConnectionRefusedError:
        time.sleep(0.01)
    else:
      sys.exit(f"rank {rank}: rank {r} at {addresses[h]} does not answer")
  for _ in host_of:
    connection, _ = server.accept()
    expect(connection.recv(1) == b"x", "a peer sent nothing")
  expect(sorted(os.listdir("/sys/class/net")) == ["eth0", "lo"], "the devices in /sys are another host's")
  print("host", socket.gethostname(), "uts", os.readlink("/proc/self/ns/uts"), "net", os.readlink("/proc/self/ns/net"), flush=True)


def test_ping():
  for placement, host_of in (("block", [0, 0, 1, 1]), ("round-robin", [0, 1, 0, 1]), ("1,0,0,1", [1, 0, 0, 1])):
    done = run("--ranks", "2,2", "--placement", placement, *me("rank_body"))
    expect(done.returncode == 0, f"{placement}: {done.returncode}: {done.stdout}{done.stderr}")
    where = {int(r): (name, uts, net) for r, name, uts, net in re.findall(r"\[(\d)\] host (\S+) uts (\S+) net (\S+)", done.stdout)}
    expect(sorted(where) == [0, 1, 2, 3], f"{placement}: {done.stdout}")
    for r in range(4):
      expect(where[r][0].endswith(f"-{host_of[r]}"), f"{placement}: rank {r} is on {where[r]}")
      for s in range(4):
        same = [a == b for a, b in zip(where[r], where[s])]
        expect(same == [host_of[r] == host_of[s]] * 3, f"{placement}: ranks {r} and {s}: {where[r]} {where[s]}")


def test_failures():
  started = time.monotonic()
  done = run("--ranks", "1,1", "--grace", "0.5", "--", "sh", "-c", '[ "$LIBCOLL_RANK" = 1 ] && exit 3; sleep 1000')
  expect(done.returncode == 1 and "rank 1 exited with 3" in done.stderr, f"{done.returncode} {done.stderr}")
  done = run("--ranks", "1,1", "--timeout", "0.5", "--", "sleep", "1000")
  expect(done.returncode == 124, f"{done.returncode} {done.stderr}")
  expect(time.monotonic() - started < 90, "a rank was waited for")
  expect(run("--ranks", "2,2", "--placement", "0,0,0,1", "--", "true").returncode == 2, "a wrong placement was accepted")
  done = run("--ranks", "1,1", "--output", "rank0", "--", "sh", "-c", "echo $LIBCOLL_RANK")
  expect(done.stdout == "0\n", done.stdout)


def test_killed():
  """However the tool ends, what it started ends."""
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
    tool = subprocess.Popen([sys.executable, TOOL, "run", "--ranks", "2,2", "--", "sh", "-c", "echo up; sleep 1000"],
                            stdout=subprocess.PIPE, text=True)
    for _ in range(4):
      expect("up" in tool.stdout.readline(), "ranks do not start")
    tool.send_signal(number)
    tool.wait(30)
    expect(tool.stdout.read() == "", "output after the end")  # ends once all writers are dead


def test_rate():
  done = run("--ranks", "1,1", "--rate", "1gbit", "--", "sh", "-c", "tc qdisc show dev eth0")
  if done.returncode == 77:
    return
  expect(done.returncode == 0 and done.stdout.count("rate 1Gbit") == 2, done.stdout + done.stderr)


def test_ring(program):
  for arguments, ranks, counts in ((["--ranks", "2,2"], 4, "2 2"), (["--ranks", "2,1", "--placement", "round-robin"], 3, "2 1")):
    done = run(*arguments, "--output", "rank0", "--", program, "2")
    expect(done.returncode == 0, f"{done.returncode} {done.stdout}{done.stderr}")
    expect(f"ring: {ranks} ranks on 2 hosts ({counts}), UCX" in done.stdout and "tcp/eth0" in done.stdout, done.stdout)


def test_openmpi(program):
  for placement, counts in (("block", "2 2"), ("round-robin", "2 2"), ("0,1,1,0", "2 2")):
    done = run("--ranks", "2,2", "--placement", placement, "--launcher", "openmpi", "--", program, "2")
    expect(done.returncode == 0, f"{done.returncode} {done.stdout}{done.stderr}")
    expect(f"ring: 4 ranks on 2 hosts ({counts}), UCX" in done.stdout, done.stdout + done.stderr)


def test_vanish(program):
  """The loss of a host whose network fails without a word is noticed by keepalive."""
  done = run("--ranks", "1,1", "--grace", "0", "--timeout", "60", "--", program, "2", "vanish")
  expect(done.returncode == 1 and "peer lost: rank 1 was lost" in done.stderr, f"{done.returncode} {done.stdout}{done.stderr}")


def main():
  case, *arguments = sys.argv[1:]
  if case == "rank_body":
    return rank_body()
  probe = run("--ranks", "1", "--", "true")
  if probe.returncode == 77:
    print(probe.stderr)
    sys.exit(77)
  before, spaces = traces(), network_namespaces()
  if case == "tool":
    for test in (test_ping, test_failures, test_killed, test_rate):
      test()
      nothing_left(before, spaces)
  else:
    globals()[f"test_{case}"](*arguments)
    nothing_left(before, spaces)
  print("hosts: passed")


if __name__ == "__main__":
  main()
