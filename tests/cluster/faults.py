#!/usr/bin/env python3
"""Nodes, connections and the database fail while many clients claim the same messages.

Three nodes share a PostgreSQL; clients spread over them send conditional STOREs all
the time, each on what it has last seen. At seeded moments, with at least eight of
them on their way, something fails:

    node       kill -9 of a node, which is started again
    backend    pg_terminate_backend of some of the nodes' connections
    restart    PostgreSQL crashes and is started again
    failover   the primary is killed, its synchronous standby takes its place
    patroni    the same under Patroni and etcd, or a switchover (see division.py)
    partition  Patroni's primary is cut off, with some of the nodes, or kept from etcd

What every client was told is one history, with the operations whose answer was lost
as such, and checker.py judges it. `--planted-async` loses acknowledged commits on
purpose instead: an asynchronous standby that lacks them is promoted. Then the nodes
must end, and once they are started anew UIDVALIDITY must be another.
"""

import argparse
import functools
import random
import re
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

import division  # noqa: E402
from checker import FAILED, LOST, READ, UNKNOWN, WON, Op, check, in_doubt_that_happened  # noqa: E402
from kit import patroni, postgres, report, server, wire  # noqa: E402

NODES = 3
CLIENTS = 24
MESSAGES = 6
OUTSTANDING = 8
SECONDS = 90
RESTART = 9
KINDS = ("node", "backend", "restart", "failover")
PATRONI = ("patroni", "partition")


class Load:
    """What all clients share: the history, who waits for an answer, when to stop."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.lock = threading.Condition()
        self.history = []
        self.waiting = 0
        self.answered = 0
        self.stop = False
        self.failure = None

    def note(self, op):
        """One more operation; those that were answered count as progress."""
        with self.lock:
            self.history.append(op)
            self.answered += op.kind in (WON, LOST)
            self.lock.notify_all()

    def wait(self, until, what):
        """Wait for something, but not for ever."""
        with self.lock:
            if not self.lock.wait_for(lambda: self.failure or until(), timeout=SECONDS):
                raise TimeoutError(f"not within {SECONDS} s: {what}")
            if self.failure:
                raise self.failure


class Client(threading.Thread):
    """One client. It sets a keyword of its own, another one than is there, so that each STORE changes something."""

    def __init__(self, load, number, seed):
        super().__init__(daemon=True)
        self.load, self.number = load, number
        self.chance = random.Random(seed * 1000 + number)
        self.mine = {}

    def run(self):
        try:
            while not self.load.stop:
                try:
                    self.connected()
                except (OSError, ValueError, wire.WireError):
                    time.sleep(0.05)  # the node is down, or its database
        except Exception as error:  # noqa: BLE001 – told to the main thread, which ends the test
            with self.load.lock:
                self.load.failure = error
                self.load.lock.notify_all()

    def connected(self):
        """Claims until the connection is lost."""
        connection = wire.Connection(self.chance.choice(self.load.addresses), "user1", timeout=60)
        try:
            connection.must("SELECT INBOX (CONDSTORE)")
            known = {uid: self.read(connection, uid) for uid in range(1, MESSAGES + 1)}
            while not self.load.stop:
                uid = self.chance.randrange(MESSAGES) + 1
                if self.store(connection, uid, known[uid]) in (LOST, FAILED):
                    known[uid] = self.read(connection, uid)
                else:
                    known[uid] = self.value
        finally:
            connection.close()

    def read(self, connection, uid):
        """The message's mod-sequence as it is now."""
        start = time.monotonic()
        untagged = connection.must(f"UID FETCH {uid} (FLAGS MODSEQ)")
        for response in reversed(untagged):
            fields = wire.fetch_fields(response)
            if fields and fields[1] == uid and fields[2] is not None and wire.modseq(response):
                value = wire.modseq(response)
                self.mine[uid] = fields[2]
                self.load.note(Op(uid, owner_of(fields[2]), READ, None, value, start, time.monotonic()))
                return value
        raise wire.WireError(f"no FETCH of {uid} in {untagged}")

    def store(self, connection, uid, since):
        """One claim; answers how it went."""
        first, second = f"$c{self.number}x0", f"$c{self.number}x1"
        keyword = second if first in self.mine[uid] else first
        start, kind, self.value = time.monotonic(), UNKNOWN, None
        with self.load.lock:
            self.load.waiting += 1
            self.load.lock.notify_all()
        try:
            tagged, untagged = connection.command(f"UID STORE {uid} (UNCHANGEDSINCE {since}) FLAGS ({keyword})")
            if re.match(r"(OK|NO) \[MODIFIED ", tagged):
                kind = LOST
            elif tagged.startswith("NO"):
                kind = FAILED
            elif tagged.startswith("OK"):
                kind, self.value = WON, told(untagged, uid, keyword)
                self.mine[uid] = {keyword}
        finally:
            with self.load.lock:
                self.load.waiting -= 1
            self.load.note(Op(uid, self.number, kind, since, self.value, start, time.monotonic()))
        return kind


def told(untagged, uid, keyword):
    """The mod-sequence that a winner was told."""
    for response in reversed(untagged):
        fields = wire.fetch_fields(response)
        if fields and fields[1] == uid and fields[2] and keyword in fields[2] and wire.modseq(response):
            return wire.modseq(response)
    raise AssertionError(f"the winner of {uid} with {keyword} was told {untagged}")


def owner_of(flags):
    """The client that set these flags; None for the message as it came."""
    owners = [int(re.match(r"\$c(\d+)x", flag).group(1)) for flag in flags if flag.startswith("$c")]
    if len(owners) > 1:
        raise AssertionError(f"the flags of several clients are set: {sorted(flags)}")
    return owners[0] if owners else None


def fail(kind, running, chance, load):
    """The fault, and what brings things back; answers what it was in particular, and what was wrong."""
    faults = []
    if kind == "patroni":
        kind = division.lose_primary(running.database, chance)
        running.database.wait_whole()
    elif kind == "partition":
        kind, faults = division.divide(running, chance, load)
        running.database.wait_whole()
    elif kind == "node":
        node = chance.choice(running.nodes)
        node.kill()
        node.run()
    elif kind == "backend":
        running.database.terminate(chance.randint(1, 12))
    elif kind == "restart":
        running.database.crash()
    else:
        running.database.fail_over()
    return kind, faults


def begin(running):
    """The messages that are claimed."""
    connection = wire.Connection(running.imap, "user1")
    for number in range(MESSAGES):
        connection.append("INBOX", f"Subject: job {number}\r\n\r\nx\r\n".encode())
    connection.close()


def faults(outcome, arguments):
    """Load, faults, and what the history says."""
    chance = random.Random(arguments.seed)
    made = {"failover": postgres.Pair, **dict.fromkeys(PATRONI, functools.partial(patroni.Cluster, NODES))}
    database = made.get(arguments.kind, postgres.Server)()
    with server.OnPostgres(NODES, database=database, users=1) as running:
        begin(running)
        doubt = Doubt(running)
        load = Load(running.addresses)
        clients = [Client(load, number, arguments.seed) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        outstanding, begun, wrong = [], [], []
        for _ in range(arguments.times):
            target = load.answered + chance.randint(CLIENTS, 6 * CLIENTS)
            load.wait(lambda: load.answered >= target, "claims go on")  # noqa: B023
            load.wait(lambda: load.waiting >= OUTSTANDING, f"{OUTSTANDING} claims on their way")
            outstanding.append(load.waiting)
            at = time.monotonic()
            what, faults = fail(arguments.kind, running, chance, load)
            begun.append((what, at))
            wrong += faults
            if arguments.kind in PATRONI:
                outcome.note(f"{len(begun)}: {what}, all is back after {time.monotonic() - at:.1f} s")
        target = load.answered + 4 * CLIENTS
        load.wait(lambda: load.answered >= target, "claims go on after the last fault")
        load.stop = True
        for client in clients:
            client.join(SECONDS)
        control = Client(load, CLIENTS, 0)
        connection = wire.Connection(running.imap, "user1")
        connection.must("SELECT INBOX (CONDSTORE)")
        for uid in range(1, MESSAGES + 1):
            control.read(connection, uid)
        validity = wire.code_number(connection.must("SELECT INBOX"), "UIDVALIDITY")
        connection.close()
        done, undone = doubt.counts()
    outcome.note(f"of {done + undone} commits whose answer a node had lost, it found {done} done")
    outages(outcome, load.history, begun)
    if arguments.kind == "partition":
        outcome.check(not wrong, "no node that was cut off with the old primary answered any more", "; ".join(wrong[:5]))
    judge(outcome, arguments, load.history, outstanding, validity)


def outages(outcome, history, begun):
    """For how long after each fault no claim at all was won."""
    wins = sorted(op.end for op in history if op.kind == WON)
    by_what = {}
    for (what, at), (_, end) in zip(begun, [*begun[1:], (None, wins[-1])]):
        times = [at, *(win for win in wins if at < win <= end)]
        by_what.setdefault(what, []).append(max(later - earlier for earlier, later in zip(times, times[1:])))
    for what, seconds in sorted(by_what.items()):
        outcome.note(f"{what}, {len(seconds)} times: no claim was won for {statistics.median(seconds):.1f} s (median), "
                     f"{max(seconds):.1f} s (at most)")


class Doubt:
    """Counts in the database the commits whose answer a node has lost: it looks for each by trying to add its row, not done."""

    def __init__(self, running):
        self.database = running.database
        self.name = running.store[1].split("?")[0].rsplit("/", 1)[1]
        for statement in (
            "CREATE TABLE doubt(account bigint, id bigint, PRIMARY KEY(account, id))",
            f"ALTER TABLE doubt OWNER TO {self.name}",
            """CREATE FUNCTION doubted() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN INSERT INTO public.doubt VALUES(NEW.account, NEW.id) ON CONFLICT DO NOTHING; RETURN NEW; END'""",
            """CREATE TRIGGER doubted BEFORE INSERT ON highwater.batch FOR EACH ROW WHEN (NOT NEW.done)
               EXECUTE FUNCTION doubted()""",
        ):
            self.database.sql(statement, self.name)

    def counts(self):
        """How many were done, and how many were not."""
        sql = "SELECT count(*) FILTER (WHERE done), count(*) FILTER (WHERE NOT done) FROM doubt JOIN highwater.batch USING (account, id)"
        return [int(number) for number in self.database.sql(sql, self.name).split("|")]


def judge(outcome, arguments, history, outstanding, validity):
    """The history, and figures about it."""
    counts = {kind: sum(op.kind == kind for op in history) for kind in (WON, LOST, FAILED, UNKNOWN, READ)}
    outcome.note(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    outcome.note(f"of {counts[UNKNOWN]} claims whose answer was lost, {in_doubt_that_happened(history)} were seen to have been done")
    outcome.check(min(outstanding) >= OUTSTANDING,
                  f"{len(outstanding)} × {arguments.kind}, each with at least {min(outstanding)} claims on their way")
    found = check(history)
    outcome.check(not found, f"the history of {len(history)} operations is linearizable", "; ".join(found[:5]))
    outcome.check(validity, f"UIDVALIDITY {validity} has stood")


def planted(outcome):
    """Acknowledged commits are lost on purpose."""
    with server.OnPostgres(2, database=postgres.Pair(synchronous=False), users=1) as running:
        begin(running)
        connection = wire.Connection(running.imap, "user1")
        before = wire.code_number(connection.must("SELECT INBOX (CONDSTORE)"), "UIDVALIDITY")
        pair = running.database
        time.sleep(0.5)  # the standby has what there is so far
        pair.standby.kill()
        for turn in range(20):
            connection.must(f"UID STORE 1 FLAGS ($lost{turn % 2})")
        lost = wire.modseq(connection.must("UID FETCH 1 (MODSEQ)")[-1])
        pair.primary.kill()
        pair.standby.start()
        pair.standby.promote()
        ended = []
        for node in running.nodes:
            ended.append(node.process.wait(SECONDS))
            node.process.stdout.close()
        outcome.equal(ended, [RESTART] * 2, "both nodes find that commits are missing, and end to be started anew")
        for node in running.nodes:
            node.run()
        for node in running.nodes:
            connection = wire.Connection(node.imap, "user1")
            after = wire.code_number(connection.must("SELECT INBOX (CONDSTORE)"), "UIDVALIDITY")
            outcome.check(after > before, f"UIDVALIDITY {before} is {after} now (mod-sequence {lost} was lost)")
            connection.close()


def main():
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS + PATRONI, help="one of them; without it all, but for those with Patroni")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--planted-async", action="store_true", help="and what a standby that lags loses")
    arguments = parser.parse_args()
    outcome = report.Report("faults")
    if arguments.planted_async:
        planted(outcome)
    for kind in [arguments.kind] if arguments.kind else KINDS:
        arguments.kind = kind
        print(f"faults: {arguments.times} × {kind}, {CLIENTS} clients on {NODES} nodes, seed {arguments.seed}")
        faults(outcome, arguments)
    outcome.finish()


if __name__ == "__main__":
    main()
