"""A PostgreSQL of a test's own: a temporary directory, a free port on loopback, ended with the test.

The programs are those that HIGHWATER_POSTGRES_BIN names, those that are installed,
or Debian's package, unpacked into the cache folder; no system service is ever
started. The server refuses to run as root, so there it runs as nobody.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from peerlib import packages  # noqa: E402

NOBODY = 65534
START_SECONDS = 60
VERSION = "15"


class PostgresError(Exception):
    """PostgreSQL did not do as it should."""


def programs():
    """The folder of initdb, postgres and the others."""
    named = os.environ.get("HIGHWATER_POSTGRES_BIN")
    if named:
        return Path(named)
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if installed:
        return installed[-1].parent
    root = packages.unpacked("postgresql", [f"postgresql-{VERSION}"])
    return root / "usr" / "lib" / "postgresql" / VERSION / "bin"


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lives(process):
    """Whether a process runs, and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


class Server:
    """One server. `settings` are lines of postgresql.conf."""

    def __init__(self, settings=(), of=None, port=None):
        self.bin = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="highwater-postgres-"))
        self.data = self.folder / "data"
        self.port = port or free_port()
        self.settings = [
            f"port = {self.port}", "listen_addresses = '127.0.0.1'", "unix_socket_directories = ''",
            "max_connections = 100", "shared_buffers = 64MB", *settings,
        ]
        self.own(self.folder)
        try:
            self.make(of)
            self.start()
        except BaseException:
            self.remove()
            raise

    def make(self, of):
        """Its data: new, or a copy of another server's."""
        if of is None:
            self.call("initdb", "-D", self.data, "-U", "admin", "-A", "trust", "-E", "UTF8")
        else:
            whence = f"{of.connection('postgres', 'admin')} application_name=standby"
            self.call("pg_basebackup", "-D", self.data, "-d", whence, "-R", "-X", "stream", "-c", "fast")

    def own(self, path):
        """Give a folder to the user that the server runs as."""
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def call(self, program, *words, check=True):
        """Run one of PostgreSQL's programs; answers what it prints."""
        as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        environment = {**os.environ, "LC_ALL": "C"}
        root = self.bin.parents[4]
        if root != Path("/"):
            environment["LD_LIBRARY_PATH"] = ":".join(map(str, root.glob("usr/lib/*-linux-gnu")))
        done = subprocess.run(
            [str(self.bin / program), *map(str, words)], cwd=self.folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **as_nobody,
        )
        if check and done.returncode != 0:
            raise PostgresError(f"{program} failed:\n{done.stdout[-2000:]}{self.said()}")
        return done.stdout

    def said(self):
        """The end of the server's log."""
        log = self.folder / "log"
        return log.read_text(errors="replace")[-2000:] if log.is_file() else ""

    def start(self):
        """Start it, again perhaps, and wait until it answers."""
        (self.data / "highwater.conf").write_text("\n".join(self.settings) + "\n")
        self.own(self.data / "highwater.conf")
        main = self.data / "postgresql.conf"
        if "highwater.conf" not in main.read_text():
            with open(main, "a") as file:
                file.write("include 'highwater.conf'\n")
        self.call("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", START_SECONDS, "start")

    def set(self, *lines):
        """More lines for its configuration, in force at once."""
        self.settings += lines
        (self.data / "highwater.conf").write_text("\n".join(self.settings) + "\n")
        self.sql("SELECT pg_reload_conf()")

    @property
    def pid(self):
        """The process id of the postmaster."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def kill(self):
        """End it as a crash does: the postmaster and its children at once."""
        postmaster = self.pid
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        processes = [postmaster, *map(int, children)]
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + START_SECONDS
        while any(map(lives, processes)) and time.monotonic() < deadline:
            time.sleep(0.02)
        # One that is dead and that nobody has waited for would keep the next from starting.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def crash(self):
        """End it as a crash does, and start it again."""
        self.kill()
        self.start()

    def stop(self):
        """End it in order."""
        self.call("pg_ctl", "-D", self.data, "-m", "fast", "-w", "-t", START_SECONDS, "stop", check=False)

    def connection(self, database, user):
        """What psql connects to."""
        return f"host=127.0.0.1 port={self.port} user={user} dbname={database}"

    def sql(self, statement, database="postgres"):
        """Run a statement as the superuser; answers what it prints."""
        return self.call(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement,
            "-d", self.connection(database, "admin"),
        ).strip()

    def database(self):
        """A new database of an ordinary role's own; answers the URL for `highwater serve --store`."""
        name = f"mail{secrets.token_hex(4)}"
        self.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        self.sql(f"CREATE DATABASE {name} OWNER {name}")
        return f"postgres://{name}:{name}@127.0.0.1:{self.port}/{name}"

    def terminate(self, how_many=1000, like="highwater%"):
        """End connections of nodes from inside the server; answers how many there were."""
        return int(self.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity "
            f"WHERE application_name LIKE '{like}' ORDER BY random() LIMIT {how_many}) AS chosen"
        ))

    def promote(self):
        """Make a standby the primary."""
        self.call("pg_ctl", "-D", self.data, "-w", "-t", START_SECONDS, "promote")

    def remove(self):
        """End it at once, and delete everything."""
        self.call("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop", check=False)
        subprocess.run(["rm", "-rf", "--", str(self.folder)], check=False)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind:
            print(self.said())
        self.remove()


class Pair:
    """A primary and its standby, synchronous unless said otherwise."""

    def __init__(self, synchronous=True):
        self.synchronous = synchronous
        self.primary = Server()
        self.standby = None
        try:
            self.follow(None)
        except BaseException:
            self.remove()
            raise

    def follow(self, port):
        """Make a standby, and have the primary wait for it."""
        self.standby = Server(of=self.primary, port=port)
        if self.synchronous:
            self.primary.set("synchronous_standby_names = 'standby'")
        self.wait_for("sync" if self.synchronous else "async")

    def wait_for(self, state):
        """Wait until the standby follows in this way."""
        deadline = time.monotonic() + START_SECONDS
        while self.primary.sql("SELECT sync_state FROM pg_stat_replication") != state:
            if time.monotonic() > deadline:
                raise PostgresError(f"the standby does not follow as {state}:\n{self.standby.said()}")
            time.sleep(0.1)

    def sql(self, statement, database="postgres"):
        """As [Server.sql], on the primary."""
        return self.primary.sql(statement, database)

    def database(self):
        """As [Server.database], of both hosts."""
        url = self.primary.database()
        return url.replace(f"127.0.0.1:{self.primary.port}", self.hosts())

    def remove(self):
        """End both, and delete everything."""
        for server in filter(None, (self.standby, self.primary)):
            server.remove()

    def hosts(self):
        """Both, as they stand in a URL."""
        return f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"

    def fail_over(self):
        """The primary dies, the standby takes its place, and a new one follows it where the dead one was."""
        dead = self.primary
        dead.kill()
        self.standby.promote()
        self.primary = self.standby
        dead.remove()
        self.follow(dead.port)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind:
            print(self.primary.said())
        self.remove()
