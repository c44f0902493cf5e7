#!/usr/bin/env python3
"""Several hosts on one machine, for tests: network namespaces behind a bridge, each with a host name of its own.

  hosts.py run --ranks 2,2,1 [--placement block|round-robin|0,1,1,0,2] [--launcher env|openmpi] -- program args

Nothing can be left behind: all of it lives in a mount and a PID namespace of the run, and ends with the tool, however
that ends. Needs root, or user namespaces; exits with 77 (skipped) where it has neither, 124 after --timeout, 1 when a
rank fails, else 0. Ranks find HOSTS_ADDRESSES (one a host) and, from launcher env, HOSTS_OF_RANKS in their environment.
"""
import argparse
import ctypes
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid

SKIPPED, TIMED_OUT = 77, 124
NETWORK = "10.77.0"
INNER = "LIBCOLL_HOSTS_INNER"  # set in the run's namespaces: the pid of the tool outside


class Ended(Exception):
  """By a signal."""


def die_with_parent():
  ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def say(text):
  print(f"hosts: {text}", file=sys.stderr, flush=True)


def ints(text):
  return [int(x) for x in text.split(",")]


def parse_arguments():
  p = argparse.ArgumentParser(usage=__doc__)
  sub = p.add_subparsers(dest="command", required=True)
  run = sub.add_parser("run")
  run.add_argument("--ranks", type=ints, required=True, help="ranks of each host: 2,2,1")
  run.add_argument("--placement", default="block", help="block, round-robin, or the host of each rank: 0,1,1,0")
  run.add_argument("--launcher", choices=["env", "openmpi"], default="env")
  run.add_argument("--rate", help="of each host's link, both ways, as tc spells it: 1gbit")
  run.add_argument("--own-cpus", action="store_true", help="each host is a machine of its own: its share of the CPUs, its boot id")
  run.add_argument("--delay", help="added by each host's link to what it sends, as tc spells it: 100us (needs netem)")
  run.add_argument("--timeout", type=float, default=120, help="seconds")
  run.add_argument("--grace", type=float, default=5, help="seconds that ranks have to end after one failed")
  run.add_argument("--output", choices=["prefix", "rank0"], default="prefix",
                   help="launcher env: all ranks' lines with the rank before them, or standard output of rank 0 alone, as it is")
  run.add_argument("--mpirun-args", default="", help="launcher openmpi: '--mca btl tcp,self'")
  run.add_argument("program", nargs=argparse.REMAINDER)
  a = p.parse_args()
  if a.program[:1] == ["--"]:
    a.program = a.program[1:]
  if not a.program:
    p.error("no program")
  if not all(0 < n < 1000 for n in a.ranks) or len(a.ranks) > 200:
    p.error("--ranks: 1 to 200 hosts with at least one rank each")
  a.host_of = place(a.ranks, a.placement)
  if a.host_of is None:
    p.error("--placement does not give each host as many ranks as --ranks says")
  return a


def place(ranks, placement):
  """The host of each rank."""
  if placement == "block":
    return [h for h, n in enumerate(ranks) for _ in range(n)]
  if placement == "round-robin":
    return [h for turn in range(max(ranks)) for h, n in enumerate(ranks) if turn < n]
  try:
    hosts = ints(placement)
  except ValueError:
    return None
  return hosts if [hosts.count(h) for h in range(len(ranks))] == ranks and len(hosts) == sum(ranks) else None


# -- Outside: make the run's namespaces, and end them with this process.

def outside():
  unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
  if os.geteuid() != 0:
    unshare[1:1] = ["--user", "--map-root-user"]
  missing = [tool for tool in ("unshare", "nsenter", "ip", "mount") if shutil.which(tool) is None]
  if missing:
    say(f"skipped: no {', '.join(missing)} here")
    return SKIPPED
  probe = subprocess.run(unshare + ["--uts", "mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True, text=True)
  if probe.returncode != 0:
    say(f"skipped: this process may not make namespaces: {probe.stderr.strip()}")
    return SKIPPED
  environment = dict(os.environ, **{INNER: str(os.getpid())})
  ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

  def end(number, _):
    for n in ending:
      signal.signal(n, signal.SIG_IGN)
    raise Ended(number)
  for number in ending:
    signal.signal(number, end)
  child = None
  try:
    child = subprocess.Popen(unshare + [sys.executable, os.path.abspath(__file__)] + sys.argv[1:], env=environment,
                             preexec_fn=die_with_parent, start_new_session=True)
    code = child.wait()
  except Ended as e:
    if child is not None:
      child.kill()  # and with it, all that runs in its namespaces
      child.wait()
    code = -e.args[0]
  return code if code >= 0 else 128 - code


# -- Inside

class Hosts:
  def __init__(self, count, rate, delay, own_cpus):
    tool = os.environ.pop(INNER)
    self.names = [f"lch{tool}-{h}" for h in range(count)]
    self.addresses = [f"{NETWORK}.{h + 1}" for h in range(count)]
    sh("mount -t tmpfs tmpfs /run")
    os.makedirs("/run/uts")
    with open("/run/hosts", "w") as f:
      f.write("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for a, n in zip(self.addresses, self.names)))
    sh("mount --bind /run/hosts /etc/hosts")
    # A host sees its own network devices in /sys (UCX looks for them there), and the cgroups of all.
    os.makedirs("/run/cgroup")
    sh("mount --rbind /sys/fs/cgroup /run/cgroup")
    script("/run/enter", f'host=$1; shift; {choose_cpus(count) if own_cpus else ""} exec $pin nsenter --net=/run/netns/$host --uts=/run/uts/$host unshare --mount /run/enter2 $host "$@"')
    own_boot = 'mount --bind /run/boot/$host /proc/sys/kernel/random/boot_id; ' if own_cpus else ""
    script("/run/enter2", f'host=$1; shift; {own_boot}mount -t sysfs sysfs /sys && mount --rbind /run/cgroup /sys/fs/cgroup && exec "$@"')
    os.makedirs("/run/boot")
    sh("ip netns add switch")
    sh("ip -n switch link add bridge type bridge")
    sh("ip -n switch link set bridge up")
    for h, name in enumerate(self.names):
      self.make_host(h, name, rate, delay)
    os.environ["HOSTS_ADDRESSES"] = ",".join(self.addresses)

  def make_host(self, h, name, rate, delay):
    sh(f"ip netns add {name}")
    open(f"/run/uts/{name}", "w").close()
    with open(f"/run/boot/{name}", "w") as f:
      f.write(f"{uuid.uuid4()}\n")
    sh(f"unshare --uts=/run/uts/{name} hostname {name}")
    sh(f"ip -n switch link add port{h} type veth peer name eth0 netns {name}")
    sh(f"ip -n switch link set port{h} master bridge addrgenmode none up")
    # Where the machine's default paces what it sends (BBR), on one machine the estimate of the link, and with it every
    # time, has two values. This one is allowed everywhere and behaves as Debian's default (CUBIC) without losses.
    sh(f"ip netns exec {name} sysctl -q -w net.ipv4.tcp_congestion_control=reno", optional=True)
    sh(f"ip -n {name} link set lo up")
    sh(f"ip -n {name} link set eth0 addrgenmode none up")
    sh(f"ip -n {name} addr add {self.addresses[h]}/24 dev eth0")
    if rate:
      for where, device in ((name, "eth0"), ("switch", f"port{h}")):
        sh(f"ip netns exec {where} tc qdisc add dev {device} root handle 1: tbf rate {rate} burst 256kb latency 100ms", optional=True)
    if delay:
      parent = "parent 1:1" if rate else "root"
      sh(f"ip netns exec {name} tc qdisc add dev eth0 {parent} netem delay {delay}", optional=True)

  def inside(self, h):
    """What to put before a command that is to run on this host."""
    return ["/run/enter", self.names[h]]


def choose_cpus(hosts):
  """Shell text that sets $pin for $host: every host its share of the CPUs, or one of them by turns."""
  cpus = sorted(os.sched_getaffinity(0))
  shares = [cpus[h::hosts] if hosts <= len(cpus) else [cpus[h % len(cpus)]] for h in range(hosts)]
  cases = " ".join(f"*-{h}) pin=\"taskset -c {','.join(map(str, share))}\";;" for h, share in enumerate(shares))
  return f"case $host in {cases} esac;"


def script(path, text):
  with open(path, "w") as f:
    f.write(f"#!/bin/sh\n{text}\n")
  os.chmod(path, 0o755)


def sh(command, optional=False):
  done = subprocess.run(shlex.split(command), capture_output=True, text=True)
  if done.returncode == 0:
    return
  say(f"{'skipped: ' if optional else ''}{command}: {done.stderr.strip()}")
  sys.exit(SKIPPED if optional else 1)


def relay(stream, to, prefix):
  for line in stream:
    to.write(prefix + line)
    to.flush()


def run_env(hosts, a):
  size = len(a.host_of)
  common = dict(os.environ, LIBCOLL_SIZE=str(size), LIBCOLL_SECRET=secrets.token_hex(16),
                LIBCOLL_ROOT=f"{hosts.addresses[a.host_of[0]]}:19999", HOSTS_OF_RANKS=",".join(map(str, a.host_of)))
  ranks, relays = [], []
  for r, h in enumerate(a.host_of):
    quiet = a.output == "rank0" and r != 0
    p = subprocess.Popen(hosts.inside(h) + a.program, env=dict(common, LIBCOLL_RANK=str(r)), stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL if quiet else subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    ranks.append(p)
    prefix = f"[{r}] "
    for stream, to, before in ((p.stdout, sys.stdout, prefix if a.output == "prefix" else ""), (p.stderr, sys.stderr, prefix)):
      if stream is not None:
        relays.append(threading.Thread(target=relay, args=(stream, to, before), daemon=True))
        relays[-1].start()
  code = wait(ranks, a)
  for t in relays:
    t.join(2)
  return code


def wait(ranks, a):
  deadline, timed_out, told = time.monotonic() + a.timeout, False, set()
  while True:
    codes = [p.poll() for p in ranks]
    for r, c in enumerate(codes):
      if c not in (None, 0) and r not in told:
        say(f"rank {r} " + (f"was ended by signal {-c}" if c < 0 else f"exited with {c}"))
        if not told:
          deadline = min(deadline, time.monotonic() + a.grace)
        told.add(r)
    if None not in codes:
      return 1 if told else 0
    if time.monotonic() > deadline:
      break
    time.sleep(0.01)
  running = [str(r) for r, c in enumerate(codes) if c is None]
  say(f"ranks {', '.join(running)} still run " + (f"{a.grace:g} s after a rank failed" if told else f"after {a.timeout:g} s") + ": killed")
  for p in ranks:
    p.kill()
  for p in ranks:
    p.wait()
  return 1 if told else TIMED_OUT


def run_openmpi(hosts, a):
  """mpirun runs on host 0; what is ssh elsewhere is a script that enters a namespace."""
  script("/run/agent", 'host=$1; shift; exec /run/enter $host sh -c "$*"')
  with open("/run/hostfile", "w") as f:
    if a.placement in ("block", "round-robin"):
      f.writelines(f"{n} slots={r}\n" for n, r in zip(hosts.names, a.ranks))
    else:
      f.writelines(f"{hosts.names[h]}\n" for h in a.host_of)
  mapping = {"block": "slot", "round-robin": "node"}.get(a.placement, "seq")
  net = f"{NETWORK}.0/24"
  command = [os.environ.get("MPIRUN", shutil.which("mpirun.openmpi") or "mpirun"), "-n", str(len(a.host_of)), "--hostfile", "/run/hostfile",
             "--map-by", mapping, "--bind-to", "none", "--mca", "plm_rsh_agent", "/run/agent", "--mca", "oob_tcp_if_include", net,
             "--mca", "btl_tcp_if_include", net] + shlex.split(a.mpirun_args) + ["-x", "HOSTS_ADDRESSES"] + a.program
  # The user is root here in any case, if only of a user namespace.
  root = dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
  p = subprocess.Popen(hosts.inside(0) + command, stdin=subprocess.DEVNULL, env=dict(os.environ, **root))
  try:
    code = p.wait(a.timeout)
  except subprocess.TimeoutExpired:
    say(f"mpirun still runs after {a.timeout:g} s: killed")
    return TIMED_OUT
  return 0 if code == 0 else 1


def main():
  a = parse_arguments()
  if INNER not in os.environ:
    return outside()
  hosts = Hosts(len(a.ranks), a.rate, a.delay, a.own_cpus)
  return run_env(hosts, a) if a.launcher == "env" else run_openmpi(hosts, a)


if __name__ == "__main__":
  sys.exit(main())
