"""Start the server under test and end it, whichever it is.

Highwater unless PEER names another one (dovecot, cyrus): then the same program
runs against that, which tests the program. With STORE=postgres Highwater's mail is in a
PostgreSQL of the test's own, and NODES of it share that. Only processes started here
are ever ended, by their process id.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import postgres

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
USERS = [f"user{number}" for number in range(1, 33)]
PASSWORD = "secret"


class ServerError(Exception):
    """The server did not start or stop as it should."""


def binary():
    """The highwater binary: HIGHWATER_BIN, or the release build of this checkout."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target")
    path = Path(os.environ.get("HIGHWATER_BIN") or target / "release" / "highwater")
    if not path.is_file():
        raise ServerError(f"{path} is missing; build it with: cargo build --release")
    return path


def start(**options):
    """A running server: Highwater, or the one that PEER names."""
    peer = os.environ.get("PEER", "highwater")
    if peer != "highwater":
        return Peer(peer, **options)
    store = os.environ.get("STORE", "directory")
    if store not in ("directory", "postgres"):
        raise ServerError(f"STORE={store}: there are directory and postgres")
    nodes = int(os.environ.get("NODES", "1"))
    return OnPostgres(nodes, **options) if store == "postgres" else Highwater(**options)


class Scratch:
    """A folder that goes away with the server, on a real disk."""

    def __init__(self, prefix):
        cache = Path(os.environ.get("HIGHWATER_CACHE") or CHECKOUT / ".cache")
        base = cache / "scratch"
        base.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        self.path.chmod(0o755)

    def remove(self):
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


class Highwater:
    """Highwater on a scratch data directory, with the users user1 … user32."""

    name = "highwater"

    def __init__(self, users=32, arguments=(), wrapper=(), data=None, store=(), host=None):
        self.scratch = None if data else Scratch("highwater-")
        self.data = Path(data) if data else self.scratch.path / "data"
        self.log = (self.scratch.path if self.scratch else self.data.parent) / "server.log"
        self.place = ["--data", str(self.data), *store]
        self.arguments = list(arguments)
        self.wrapper = list(wrapper)
        self.host = host
        self.imap = self.imaps = self.lmtp = None
        self.process = None
        self.start_seconds = None
        if users:
            self.add_users(USERS[:users])
        self.run()

    def add_users(self, names):
        """Create accounts with the one test password."""
        self.administer("user", "add", *names, "--password-stdin", text=(PASSWORD + "\n") * len(names))

    def administer(self, *words, text="", place=None):
        """Give a command, with this on its standard input; answers what it prints."""
        command = [str(binary()), *words, *(place or self.place)]
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise ServerError(f"{' '.join(words)} failed: {done.stderr.strip()}")
        return done.stdout

    def run(self):
        """Start the process; a restart listens where the first start did."""
        enter = self.host.enter if self.host else []
        imap, lmtp = (place.split("@")[0] if place else "127.0.0.1:0" for place in (self.imap, self.lmtp))
        command = [
            *enter, *self.wrapper, str(binary()), "serve", *self.place, "--no-demo",
            "--imap", imap, "--imaps", "127.0.0.1:0", "--lmtp", lmtp, *self.arguments,
        ]
        begun = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        for line in self.process.stdout:
            words = line.decode().split()
            if words and words[0] == "ready":
                where = f"@{self.host.namespace}" if self.host else ""
                places = dict((word + where).split("=", 1) for word in words[1:])
                self.imap, self.imaps, self.lmtp = places["imap"], places["imaps"], places["lmtp"]
                self.certificate = self.data / "certificate.pem"
                self.start_seconds = time.monotonic() - begun
                return
        tail = self.log.read_text(errors="replace")[-2000:]
        raise ServerError(f"serve ended with {self.process.wait()} before it was ready:\n{tail}")

    @property
    def addresses(self):
        """Where IMAP is spoken: one place, or several that have the same mail."""
        return [self.imap]

    @property
    def nodes(self):
        """All servers of this mail: this one alone, or several."""
        return [self]

    @property
    def pid(self):
        """The server's own process id, also below a wrapper such as strace."""
        if not self.wrapper:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def kill(self):
        """End it as a power cut would: SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(START_SECONDS)
        self.process.stdout.close()

    def crash(self):
        """End it as a power cut would, and start it again on its data."""
        self.kill()
        self.run()

    def stop(self):
        """Ask it to end and wait; a bad exit code is an error."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        code = self.process.wait(START_SECONDS)
        self.process.stdout.close()
        if code != 0:
            raise ServerError(f"serve ended with {code}:\n{self.log.read_text(errors='replace')[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            if self.process.poll() is None:
                self.kill() if kind else self.stop()
        finally:
            if kind and self.log.is_file():
                print(self.log.read_text(errors="replace")[-3000:])
            if self.scratch:
                self.scratch.remove()


class OnPostgres(Highwater):
    """Highwater on a PostgreSQL of its own; beside this node there may be others."""

    def __init__(self, nodes=1, database=None, bodies=(), **options):
        self.others = []
        self.database = database or postgres.Server()
        try:
            alone = not getattr(self.database, "synchronous", False)
            url = self.database.database()
            self.name_of_database = url.rsplit("/", 1)[1]
            self.store = ["--store", url, *(["--single-database"] if alone else []), *bodies]
            hosts = getattr(self.database, "node_hosts", [None] * nodes)
            super().__init__(store=self.store, host=hosts[0], **options)
            for host in hosts[1:nodes]:
                arguments = options.get("arguments", ())
                self.others.append(Highwater(users=0, store=self.store, arguments=arguments, host=host))
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    @property
    def nodes(self):
        """All of them, this one first."""
        return [self, *self.others]

    @property
    def addresses(self):
        return [node.imap for node in self.nodes]

    def __exit__(self, kind, error, trace):
        try:
            for other in self.others:
                other.__exit__(kind, error, trace)
            if getattr(self, "process", None):
                super().__exit__(kind, error, trace)
            if kind and hasattr(self.database, "said"):
                print(self.database.said())
        finally:
            self.database.remove()


class Peer:
    """Another server, brought up by tools/peers in a scratch folder."""

    def __init__(self, name, settings=(), **_ignored):
        self.name = name
        self.scratch = Scratch(f"{name}-")
        self.folder = self.scratch.path / "peer"
        pairs = [word for pair in settings for word in ("--set", pair)]
        words = self.peers("up", *pairs).split()
        places = dict(word.split("=", 1) for word in words[1:])
        self.imap, self.imaps, self.lmtp = places.get("imap"), places.get("imaps"), places.get("lmtp")
        self.certificate = self.folder / "certificate.pem"
        self.smtp = places.get("smtp")
        self.addresses = [self.imap]
        self.pid = int(places["pid"])

    def crash(self):
        """End it as a power cut would, and start it again on its files."""
        self.pid = int(self.peers("crash").split("pid=")[1])

    def peers(self, verb, *more):
        """Run tools/peers for this folder."""
        command = [str(CHECKOUT / "tools" / "peers"), verb, self.name, "--dir", str(self.folder), *more]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise ServerError(done.stderr.strip())
        return done.stdout

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.peers("down")
        if kind:
            for log in self.folder.glob("*.log"):
                print(log.read_text(errors="replace")[-3000:])
        self.scratch.remove()
