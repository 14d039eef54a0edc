"""A folder in which one peer runs: its state, its namespace, its end.

A peer's programs expect their files below /usr and /etc. They are given a mount
namespace of their own in which the unpacked packages lie over the machine's
folders; no other process sees it. Without root a user namespace does the same.
"""

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 20


class PeerError(Exception):
    """Why a peer could not be brought up, in words for the person at the shell."""


def cache_folder():
    """Where fetched and unpacked things are kept between runs."""
    checkout = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("HIGHWATER_CACHE") or checkout / ".cache").resolve()


def free_port():
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Place:
    """One peer's folder."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = Path(folder or cache_folder() / "run" / name).resolve()
        self.state_file = self.folder / "state.json"

    def fresh(self):
        """An empty folder, after making sure that nothing runs in it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return self.folder

    def running(self):
        """The state of the peer that runs here, or None."""
        if not self.state_file.is_file():
            return None
        state = json.loads(self.state_file.read_text())
        return state if birth(state["pid"]) == state["birth"] else None

    def record(self, pid, listeners):
        """Remember a started peer; its birth time guards against a reused pid."""
        state = {"pid": pid, "birth": birth(pid), "listeners": listeners}
        self.state_file.write_text(json.dumps(state))
        return state

    def stop(self):
        """End the peer that runs here; tells whether there was one."""
        state = self.running()
        if state is None:
            return False
        os.kill(state["pid"], signal.SIGTERM)
        if not gone(state["pid"], state["birth"], STOP_SECONDS):
            os.kill(state["pid"], signal.SIGKILL)
            gone(state["pid"], state["birth"], STOP_SECONDS)
        self.state_file.unlink()
        return True

    def kill(self):
        """End the peer that runs here and all its children by SIGKILL, as a power cut would; its listeners."""
        state = self.running()
        if state is None:
            raise PeerError(f"{self.name} does not run in {self.folder}")
        os.kill(state["pid"], signal.SIGSTOP)  # so that it starts no more of them
        family = [state["pid"], *descendants(state["pid"])]
        births = {pid: birth(pid) for pid in family}
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        for pid, born in births.items():
            if born is not None:
                gone(pid, born, STOP_SECONDS)
        return state["listeners"]

    def launch(self, root, command, user=None, etc=None):
        """Start `command` with the packages in `root` laid over the machine.

        `user` (a name) drops root's rights; `etc` is a folder laid over /etc.
        """
        layers = ":".join(str(p) for p in (etc, root / "etc", "/etc") if p)
        script = (
            f"mount -t overlay overlay -o lowerdir={root}/usr:/usr /usr && "
            f"mount -t overlay overlay -o lowerdir={layers} /etc && "
            f"exec {drop_rights(user)} {shlex.join(command)}"
        )
        enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        log = open(self.folder / "start.log", "ab")
        return subprocess.Popen(
            [*enter, "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder,
        )

    def await_greeting(self, process, address, greeting):
        """Wait until `address` says `greeting`, or the process has ended."""
        host, port = address.rsplit(":", 1)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with socket.create_connection((host, int(port)), timeout=5) as probe:
                    if probe.recv(512).startswith(greeting):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise PeerError(f"{self.name} did not start:\n{self.logs()}")

    def logs(self):
        """The last lines of every log in the folder."""
        text = [f"{log.name}: {line}" for log in sorted(self.folder.glob("*.log"))
                for line in log.read_text(errors="replace").splitlines()[-15:]]
        return "\n".join(text) or "(no log)"


def service_user():
    """(name, uid, gid) that a peer without rights runs as."""
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
    else:
        entry = pwd.getpwnam("nobody")
    return entry.pw_name, entry.pw_uid, entry.pw_gid


def own(folder):
    """Give `folder` and all in it to the service user, and let it come in."""
    _, uid, gid = service_user()
    if os.geteuid() != 0:
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, uid, gid, follow_symlinks=False)
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            raise PeerError(f"{parent} is closed to other users; choose --dir elsewhere")


def drop_rights(user):
    """The command prefix that goes on as `user`."""
    if user is None:
        return ""
    entry = pwd.getpwnam(user)
    if os.geteuid() == 0:
        return f"setpriv --reuid={entry.pw_uid} --regid={entry.pw_gid} --clear-groups"
    return f"unshare --user --map-user={entry.pw_uid} --map-group={entry.pw_gid}"


def birth(pid):
    """When process `pid` was started, in the kernel's ticks; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def descendants(pid):
    """The children of process `pid`, their children, and so on."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, open_ones = [], [pid]
    while open_ones:
        children = parents.get(open_ones.pop(), [])
        found += children
        open_ones += children
    return found


def gone(pid, born, seconds):
    """Wait for the end of the process; False when it is still there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if birth(pid) != born:
            return True
        time.sleep(0.02)
    return False
