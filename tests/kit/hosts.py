"""Hosts on one machine: network namespaces on a switch of the test's own, which can be divided.

The test's process goes into a namespace of its own that has the switch, so nothing of
this is visible outside of it, and all of it ends with the processes. Needs root.
"""

import contextlib
import ctypes
import os
import subprocess

NEW_NETWORK = 0x40000000
NET = "10.77.0"
LIBC = ctypes.CDLL(None, use_errno=True)


def system(call, *words):
    """A call that Python 3.11 has no name for."""
    if call(*words) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def inside(namespace):
    """Within it this thread's new sockets are in the namespace with this file."""
    here, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(namespace, os.O_RDONLY)
    try:
        system(LIBC.setns, there, NEW_NETWORK)
        yield
    finally:
        system(LIBC.setns, here, NEW_NETWORK)
        os.close(here)
        os.close(there)


def ip(words, enter=()):
    """One command of ip(8), in a host perhaps."""
    done = subprocess.run([*enter, "ip", *words.split()], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"ip {words}: {done.stderr.strip()} (hosts need root and Debian's iproute2)")


class Host:
    """One of them. `enter` goes before a command that is to run there, as root or as an ordinary user."""

    def __init__(self, number):
        self.port = f"port{number}"
        self.address = f"{NET}.{number}"
        self.keeper = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.keeper.stdout.readline()
        self.namespace = f"/proc/{self.keeper.pid}/ns/net"
        self.enter = ["nsenter", f"--net={self.namespace}"]
        self.enter_as_nobody = [*self.enter, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        ip(f"link add {self.port} type veth peer name eth0 netns {self.keeper.pid}")
        ip(f"link set {self.port} up master switch")
        for words in ("link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            ip(words, self.enter)

    def away_from(self, other):
        """Nothing from here reaches one other host."""
        ip(f"route add blackhole {other.address}/32", self.enter)

    def back_to(self, other):
        """It does again."""
        ip(f"route del blackhole {other.address}/32", self.enter)

    def end(self):
        """The namespace ends with its last process."""
        self.keeper.kill()
        self.keeper.wait()
        self.keeper.stdout.close()


class Network:
    """Some hosts, and the switch between them: `switch`, and `island` for those that are cut off together."""

    def __init__(self, count):
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        system(LIBC.unshare, NEW_NETWORK)
        self.hosts = []
        try:
            ip("link set lo up")
            for name in ("switch", "island"):
                ip(f"link add {name} type bridge")
                ip(f"link set {name} up")
            ip(f"addr add {NET}.1/24 dev switch")
            for number in range(count):
                self.hosts.append(Host(10 + number))
        except BaseException:
            self.end()
            raise

    def cut_off(self, hosts):
        """These reach each other and nobody else."""
        for host in hosts:
            ip(f"link set {host.port} master island")

    def heal(self, hosts):
        """They reach everybody again."""
        for host in hosts:
            ip(f"link set {host.port} master switch")

    def end(self):
        """All hosts end, and this thread is where it was before."""
        for host in self.hosts:
            host.end()
        system(LIBC.setns, self.before, NEW_NETWORK)
        os.close(self.before)
