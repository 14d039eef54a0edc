#!/usr/bin/env python3
"""A change on one node is seen on another: by who idles within a second, by commands at once; also with every notice lost.

Notices are hints (docs/cluster.md). Here they are lost all together: the nodes' role may no longer call pg_notify,
so none is ever sent, and a listener on the channel of the test's own proves it.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import postgres, report, server, wire  # noqa: E402

NODES = 3
MESSAGES = 20
# A mailbox in which somebody idles is asked for every 0.8 s; the question and the answer take their time too.
WITHIN = 1.0
SLACK = 0.25


class Listener:
    """Hears what nodes tell each other, by psql."""

    def __init__(self, database, name):
        self.process = subprocess.Popen(
            [str(postgres.programs() / "psql"), "-X", "-q", "-d", database.connection(name, "admin")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        self.process.stdin.write("LISTEN highwater;\n")
        self.process.stdin.flush()

    def heard(self):
        """How many notices there were. It ends."""
        said, _ = self.process.communicate("SELECT 1;\n", timeout=30)
        return said.count("Asynchronous notification")


def changes(outcome, running, count, what):
    """Changes by a client of one node, and when one that idles at another is told of each."""
    writer, idler = wire.Connection(running.nodes[0].imap, "user1"), wire.Connection(running.nodes[1].imap, "user1")
    writer.must("SELECT INBOX (CONDSTORE)")
    idler.must("SELECT INBOX (CONDSTORE)")
    idler.send("i IDLE")
    while not idler.response().startswith(b"+"):
        pass
    seconds = []
    for turn in range(count):
        uid = turn % MESSAGES + 1
        # Not in step with the questions that are asked all the time.
        time.sleep(turn % 10 * 0.1)
        value = wire.modseq(writer.must(f"UID STORE {uid} FLAGS ($t{len(what)}x{turn // MESSAGES})")[-1])
        done = time.monotonic()
        while wire.modseq(idler.response()) != value:
            pass
        seconds.append(time.monotonic() - done)
    idler.send("DONE")
    idler.until("i")
    for connection in (writer, idler):
        connection.close()
    outcome.check(max(seconds) <= WITHIN + SLACK,
                  f"{what}: {count} changes on one node were told to who idles on another after "
                  f"{statistics.median(seconds) * 1000:.0f} ms (median), {max(seconds) * 1000:.0f} ms (at most)")
    return seconds


def commands(outcome, running, turns):
    """Each command on another node shows what was acknowledged before it was given."""
    writer, other = wire.Connection(running.nodes[0].imap, "user1"), wire.Connection(running.nodes[2].imap, "user1")
    writer.must("SELECT INBOX (CONDSTORE)")
    counts = dict.fromkeys(("STATUS", "SELECT", "NOOP", "FETCH", "SEARCH"), 0)
    for turn in range(turns):
        for number, name in enumerate(counts):
            uid, keyword = number + 1, f"$n{turn}x{number}"
            other.must("SELECT INBOX (CONDSTORE)")
            value = wire.modseq(writer.must(f"UID STORE {uid} FLAGS ({keyword})")[-1])
            counts[name] += shown(other, name, uid, keyword, value)
    for connection in (writer, other):
        connection.close()
    for name, count in counts.items():
        outcome.equal(count, turns, f"{name} on another node showed each change at once")


def shown(other, name, uid, keyword, value):
    """Whether the command shows it."""
    if name == "STATUS":
        other.must("UNSELECT")
        untagged = other.must("STATUS INBOX (HIGHESTMODSEQ)")
        return any(f"HIGHESTMODSEQ {value})".encode() in line for line in untagged)
    if name == "SELECT":
        return wire.code_number(other.must("SELECT INBOX (CONDSTORE)"), "HIGHESTMODSEQ") == value
    if name == "NOOP":
        return value in map(wire.modseq, other.must("NOOP"))
    if name == "FETCH":
        return value in map(wire.modseq, other.must(f"UID FETCH {uid} (FLAGS MODSEQ)"))
    return any(line.startswith(f"* SEARCH {uid}".encode()) for line in other.must(f"UID SEARCH KEYWORD {keyword}"))


def main():
    """With notices, and with all of them lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=100)
    arguments = parser.parse_args()
    outcome = report.Report("idle")
    with server.OnPostgres(NODES, users=1) as running:
        connection = wire.Connection(running.imap, "user1")
        for number in range(MESSAGES):
            connection.append("INBOX", f"Subject: {number}\r\n\r\nx\r\n".encode())
        connection.close()
        name = running.store[1].rsplit("/", 1)[1]
        listener = Listener(running.database, name)
        changes(outcome, running, arguments.changes, "with notices")
        heard = listener.heard()
        outcome.check(heard >= arguments.changes, f"{heard} notices were heard")
        running.database.sql("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC", name)
        listener = Listener(running.database, name)
        changes(outcome, running, arguments.changes, "with every notice lost")
        commands(outcome, running, max(1, arguments.changes // 5))
        outcome.equal(listener.heard(), 0, "not one notice was heard")
    outcome.finish()


if __name__ == "__main__":
    main()
