"""PostgreSQL under Patroni and etcd, each on a host of its own, and hosts for the nodes.

Patroni and etcd are Debian's packages, unpacked into the cache folder. As in
docs/cluster.md a commit waits for a standby always (`synchronous_mode_strict`), and
only a standby that was waited for is promoted. pg_hba.conf is written by Patroni before
each start: one that only initdb's leader got can be lost in a pg_rewind that was cut off.
"""

import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import hosts, postgres

SERVERS = 3
SECONDS = 90
LOG = 20_000 # octets of each log that are shown when something failed
# How long a dead primary holds its place. Demoted it is earlier: after loop_wait + retry_timeout.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 8, 1, 3

CONFIGURATION = """\
scope: mail
name: {name}
restapi:
  listen: {address}:8008
  connect_address: {address}:8008
etcd3:
  hosts: {etcd}:2379
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: {loop_wait}
    retry_timeout: {retry_timeout}
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 100
        shared_buffers: 64MB
        wal_keep_size: 256MB
  initdb:
    - encoding: UTF8
    - data-checksums
postgresql:
  listen: {address}:5432
  connect_address: {address}:5432
  data_dir: {folder}/data
  bin_dir: {programs}
  pgpass: {folder}/pgpass
  pg_hba:
    - host replication replicator {net}.0/24 scram-sha-256
    - host all all {net}.0/24 scram-sha-256
  authentication:
    superuser: {{username: admin, password: {password}}}
    replication: {{username: replicator, password: {password}}}
  parameters:
    unix_socket_directories: ''
"""


class Member:
    """One PostgreSQL and its Patroni."""

    def __init__(self, name, host, etcd, root, folder, password):
        self.name, self.host, self.root = name, host, root
        self.folder = folder / name
        self.folder.mkdir(mode=0o700)
        os.chown(self.folder, postgres.NOBODY, postgres.NOBODY)
        self.file = self.folder / "patroni.yml"
        self.file.write_text(CONFIGURATION.format(
            name=name, address=host.address, etcd=etcd.address, net=hosts.NET, folder=self.folder,
            programs=postgres.programs(), password=password,
            ttl=TTL, loop_wait=LOOP_WAIT, retry_timeout=RETRY_TIMEOUT,
        ))
        os.chown(self.file, postgres.NOBODY, postgres.NOBODY)
        self.log = self.folder / "log"
        self.process = None

    def start(self):
        """Start Patroni, which starts PostgreSQL."""
        environment = environment_of(self.root) | {"PYTHONPATH": str(self.root / "usr/lib/python3/dist-packages")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.host.enter_as_nobody, "/usr/bin/python3", "-B", str(self.root / "usr/bin/patroni"), str(self.file)],
                cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def kill(self):
        """SIGKILL to Patroni and to PostgreSQL with its children."""
        processes = [] if self.process is None else [self.process.pid]
        try:
            postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
            processes += [postmaster, *map(int, children)]
        except (FileNotFoundError, IndexError):
            pass  # PostgreSQL does not run
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()
        deadline = time.monotonic() + SECONDS
        while any(map(postgres.lives, processes)) and time.monotonic() < deadline:
            time.sleep(0.02)

    def ask(self, path, body=None):
        """Patroni's answer over HTTP, or None when there is none."""
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(f"http://{self.host.address}:8008{path}", data, timeout=2 if data is None else SECONDS) as answer:
                text = answer.read().decode()
        except (OSError, urllib.error.HTTPError):
            return None
        return json.loads(text) if text.startswith("{") else text


def environment_of(root):
    """For programs that were unpacked there."""
    return {**os.environ, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": ":".join(map(str, root.glob("usr/lib/*-linux-gnu")))}


class Cluster:
    """etcd, the members, and hosts for as many nodes as are asked for."""

    synchronous = True

    def __init__(self, nodes):
        root = postgres.packages.unpacked("patroni", ["patroni", "python3-etcd", "etcd-server"])
        postgres.programs()
        self.folder = Path(tempfile.mkdtemp(prefix="highwater-patroni-"))
        self.folder.chmod(0o711)
        self.password = secrets.token_hex(8)
        self.members, self.etcd, self.network = [], None, None
        try:
            self.network = hosts.Network(1 + SERVERS + nodes)
            self.etcd_host, *rest = self.network.hosts
            self.node_hosts = rest[SERVERS:]
            self.start_etcd(root)
            for number, host in enumerate(rest[:SERVERS]):
                self.members.append(Member(f"db{number + 1}", host, self.etcd_host, root, self.folder, self.password))
            for member in self.members:
                member.start()
            self.wait_whole()
        except BaseException:
            print(self.said())
            self.remove()
            raise

    def start_etcd(self, root):
        """One etcd; more would test etcd."""
        data = self.folder / "etcd"
        data.mkdir(mode=0o700)
        os.chown(data, postgres.NOBODY, postgres.NOBODY)
        client, peer = f"http://{self.etcd_host.address}:2379", f"http://{self.etcd_host.address}:2380"
        with open(self.folder / "etcd.log", "ab") as log:
            self.etcd = subprocess.Popen(
                [*self.etcd_host.enter_as_nobody, str(root / "usr/bin/etcd"), "--name", "one", "--data-dir", str(data),
                 "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                 "--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}"],
                env=environment_of(root), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def roles(self, among=None):
        """What each member is, in the words of one that answers."""
        for member in among or self.members:
            answer = member.ask("/cluster")
            if answer:
                return {one["name"]: (one["role"], one["state"]) for one in answer["members"]}
        return {}

    def leader(self, among=None):
        """The member that is the primary, by the word of these."""
        roles = self.roles(among)
        leading = [member for member in self.members if roles.get(member.name) == ("leader", "running")]
        return leading[0] if leading else None

    def synchronous_standby(self):
        """The member that commits wait for."""
        roles = self.roles()
        waited = [member for member in self.members if roles.get(member.name, [""])[0] == "sync_standby"]
        return waited[0] if waited else None

    def within(self, what, condition):
        """Wait for something, but not for ever."""
        deadline = time.monotonic() + SECONDS
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise postgres.PostgresError(f"not within {SECONDS} s: {what}; the members are {self.roles()}\n{self.said()}")
            time.sleep(0.1)
        return found

    def wait_whole(self):
        """Wait until there is a primary, a standby that commits wait for, and all others follow."""
        def whole():
            roles = sorted(self.roles().values())
            states = [state in ("running", "streaming") for _, state in roles]
            return [role for role, _ in roles] == ["leader", *["replica"] * (SERVERS - 2), "sync_standby"] and all(states)
        self.within("all of the cluster runs", whole)

    def wait_other(self, old, among=None):
        """Wait until another than this one is the primary."""
        self.within(f"another than {old.name} is the primary", lambda: self.leader(among) not in (None, old))

    def hand_over(self):
        """An ordered switchover, as `patronictl switchover` asks for it."""
        old, candidate = self.leader(), self.synchronous_standby()
        answer = old.ask("/switchover", {"leader": old.name, "candidate": candidate.name})
        if answer is None:
            raise postgres.PostgresError(f"Patroni refused the switchover to {candidate.name}\n{self.said()}")
        self.wait_other(old)

    def lose_primary(self):
        """The primary and its Patroni are killed, and are back once another has taken the place."""
        old = self.leader()
        old.kill()
        self.wait_other(old, [member for member in self.members if member is not old])
        old.start()

    def database(self):
        """A new database of an ordinary role's own; answers the URL for `highwater serve --store`."""
        name = f"mail{secrets.token_hex(4)}"
        for statement in (f"CREATE ROLE {name} LOGIN PASSWORD '{name}'", f"CREATE DATABASE {name} OWNER {name}"):
            self.sql(statement)
        places = ",".join(f"{member.host.address}:5432" for member in self.members)
        return f"postgres://{name}:{name}@{places}/{name}?sslmode=disable"

    def sql(self, statement, database="postgres"):
        """A statement on the primary, as the superuser."""
        place = f"host={self.leader().host.address} port=5432 user=admin password={self.password} dbname={database}"
        command = [str(postgres.programs() / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, place]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise postgres.PostgresError(f"{statement.split()[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def said(self):
        """What the members are by each one's word, and the ends of the logs."""
        roles = [f"-- {member.name} says: {self.roles([member])}" for member in self.members]
        logs = [self.folder / "etcd.log", *(member.log for member in self.members)]
        ends = [f"-- {log}\n{log.read_text(errors='replace')[-LOG:]}" for log in logs if log.is_file()]
        return "\n".join(roles + ends)

    def remove(self):
        """End everything, and delete it."""
        for member in self.members:
            member.kill()
        if self.etcd:
            self.etcd.kill()
            self.etcd.wait()
        if self.network:
            self.network.end()
        subprocess.run(["rm", "-rf", "--", str(self.folder)], check=False)
