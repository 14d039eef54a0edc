#!/usr/bin/env python3
"""`highwater bench` reports figures of what was really done, and an error for anything else.

- On Highwater every workload has figures, and no mailbox is left behind; on Debian's
  Dovecot and Cyrus no row is an error: what they lack is said to be lacking.
- Behind a proxy that tells one thing wrong, drops it, ends or falls silent, the workload
  that is about it is an error that says what was wrong, without figures. The others have
  theirs as long as the server is there, and the exit code says that something failed.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import bench, proxy, report, server, wire  # noqa: E402

SMALL = {"messages": 1000, "idlers": 20, "jobs": 32, "mailboxes": 20, "seconds": 0.05, "clients": 4}
FIGURES = {"operations", "per_second", "median_us", "cpu_us"}
SOME, FAILED = 5, 1
WAIT_SECONDS = 120


class Honest:
    """One connection on which nothing is changed; lies are told by others of its kind."""

    def asked(self, line):
        """What the server gets."""
        return line

    def told(self, line):
        """What the client gets."""
        return line


def told(pattern, change, since=1):
    """Tells lines that match otherwise, from the `since`th of a connection on."""

    class Told(Honest):
        seen = 0

        def told(self, line):
            found = re.match(pattern, line)
            self.seen += found is not None
            return change(line, found) if found and self.seen >= since else line

    return Told


def one_less(line, found):
    """The first number of the pattern less by one."""
    begin, end = found.span(1)
    return line[:begin] + b"%d" % (int(found[1]) - 1) + line[end:]


class NotStored(Honest):
    """A conditional STORE is not done, but told as if: with a greater mod-sequence, and OK."""

    def __init__(self):
        self.forged = {}

    def asked(self, line):
        store = re.fullmatch(rb"(\S+) STORE (\d+) \(UNCHANGEDSINCE (\d+)\) .*\r\n", line)
        if not store:
            return line
        self.forged[store[1]] = b"* %b FETCH (MODSEQ (%d))\r\n" % (store[2], int(store[3]) + 1)
        return store[1] + b" NOOP\r\n"

    def told(self, line):
        return self.forged.pop(line.split(b" ", 1)[0], b"") + line


class NotWon(NotStored):
    """A conditional STORE is not done, and told to have lost, although nobody else changes anything."""

    def told(self, line):
        tag = line.split(b" ", 1)[0]
        return tag + b" OK [MODIFIED 1] no\r\n" if self.forged.pop(tag, None) else line


class Silent(Honest):
    """Answers to STATUS are kept back."""

    def __init__(self):
        self.kept = set()

    def asked(self, line):
        if b" STATUS " in line:
            self.kept.add(line.split(b" ", 1)[0])
        return line

    def told(self, line):
        return b"" if line.split(b" ", 1)[0] in self.kept else line


FETCH = rb"\* (\d+) FETCH \("
# What is told, workloads, the first of which fails, what is said of it, whether the server is there after that.
LIES = [
    ("EXISTS is one less", told(rb"\* (1000) EXISTS", one_less, 2), ["select"], "999, and 1000 is right", True),
    ("STATUS has one less", told(rb".*\(MESSAGES (1000)", one_less), ["status", "login"], "1000 messages were appended, 999 are there", True),
    ("a FETCH is left out", told(rb"\* 500 FETCH", lambda *_: b""), ["fetch-flags", "login"], "501, and 500 is right", True),
    ("the last FETCH is left out", told(rb"\* 1000 FETCH", lambda *_: b""), ["fetch-flags"], "999, and 1000 is right", True),
    ("a FETCH comes twice", told(rb"\* 7 FETCH", lambda line, _: line * 2), ["fetch-modseq"], "7, and 8 is right", True),
    ("a flag is another", told(rb"\* 500 FETCH", lambda line, _: line.replace(rb"\Seen", rb"\Draft")),
     ["fetch-flags"], r"without \Seen", True),
    ("MODSEQ is 0", told(FETCH, lambda line, _: re.sub(rb"MODSEQ \(\d+", b"MODSEQ (0", line)),
     ["fetch-modseq", "login"], "lacks what was asked for", True),
    ("CHANGEDSINCE tells an old mod-sequence", told(FETCH, lambda line, _: re.sub(rb"MODSEQ \(\d+", b"MODSEQ (1", line)),
     ["changedsince", "status"], "lacks what was asked for", True),
    ("a vanished UID is not told", told(rb"\* VANISHED \(EARLIER\) (\d+),", lambda line, found: line.replace(found[1] + b",", b"", 1)),
     ["resync", "status"], "9 messages vanished, and 10", True),
    ("a conditional STORE is told and not done", NotStored, ["conditional", "login"], "after the last conditional STORE", True),
    ("a conditional STORE is told to have lost", NotWon, ["conditional"], "nobody changed it", True),
    ("SEARCH leaves one out", told(rb"\* SEARCH (.*) \d+\r\n", lambda _, found: b"* SEARCH " + found[1] + b"\r\n"),
     ["search-unseen", "login"], "are right", True),
    ("SEARCH finds another", told(rb"\* SEARCH (\d+)", one_less), ["search-since", "login"], "others than are right", True),
    ("a literal is short", told(rb".*BODY\[\] \{(30720)\}", one_less), ["body"], "", True),
    ("a body is another", told(rb"Subject: ", lambda line, _: line.replace(b"Subject", b"Subjekt")), ["body"], "not what was appended", True),
    ("SELECT is answered NO", told(rb"(\S+) OK \[READ-WRITE\]", lambda _, found: found[1] + b" NO not now\r\n", 2),
     ["select", "login"], "NO not now", True),
    ("the connection ends in a FETCH", told(rb"\* 500 FETCH", lambda *_: None), ["fetch-flags", "login"], "", True),
    ("STATUS is never answered", Silent, ["status", "login"], "did not answer in time", True),
    ("LIST leaves one out", told(rb'\* LIST .*/7"?\r\n', lambda *_: b""), ["list", "login"], "right", True),
]


def main():
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="Dovecot and Cyrus with more than a few messages")
    arguments = parser.parse_args()
    outcome = report.Report("bench")
    with server.Highwater(users=8) as running:
        honest(outcome, running)
        for lie in LIES:
            behind(outcome, running, *lie)
        nobody(outcome)
        mute(outcome)
        outcome.equal(left(running), [], "no mailbox is left behind")
    for name in ("dovecot", "cyrus"):
        with server.Peer(name) as running:
            honest(outcome, running, messages=20_000, idlers=300) if arguments.long else honest(outcome, running)
    outcome.finish()


def honest(outcome, running, **more):
    """All workloads have figures, or the server lacks what they need."""
    rows = bench.rows(bench.measure(running, **{**SMALL, **more}))
    wrong = [f"{name}: {row.get('why')}" for name, row in rows.items() if row["state"] == "error"]
    outcome.check(not wrong, f"{running.name}: no row of {len(rows)} is an error", "; ".join(wrong))
    bare = [name for name, row in rows.items() if row["state"] == "ok" and not (FIGURES <= row.keys() and row["per_second"] > 0)]
    outcome.equal(bare, [], f"{running.name}: every other row has figures")
    lacks = [f"{name} ({row['why']})" for name, row in rows.items() if row["state"] == "n/a"]
    outcome.note(f"{running.name} lacks: " + (", ".join(lacks) or "nothing"))
    if running.name == "highwater":
        outcome.equal(lacks, [], "highwater lacks nothing")
        outcome.equal(left(running), [], "no mailbox is left behind")


def left(running):
    """Mailboxes that a run has left."""
    connection = wire.Connection(running.imap, "user1")
    found = [line for line in connection.must('LIST "" "highwater-bench-*"') if b"highwater-bench" in line]
    connection.close()
    return found


def run(address, workloads):
    """The exit code and the report of a run, and what it says to people."""
    folder = server.Scratch("bench-")
    try:
        file = folder.path / "report.json"
        words = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
        command = [str(server.binary()), "bench", f"imap://user1@{address}", *workloads, *words, "--patience", "1",
                   "--json", str(file)]
        environment = {**os.environ, "HIGHWATER_PASSWORD": server.PASSWORD}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=WAIT_SECONDS)
        return done.returncode, json.loads(file.read_text()) if file.is_file() else None, done.stdout + done.stderr
    finally:
        folder.remove()


def behind(outcome, running, what, conversation, workloads, said, goes_on):
    """One lie, and what the rows say of it."""
    with proxy.Lines(running.imap, conversation) as lying:
        code, figures, text = run(lying.here, workloads)
    rows = bench.rows(figures) if figures else {}
    first, *others = (rows.get(name, {}) for name in workloads)
    outcome.check(
        first.get("state") == "error" and said in first["why"] and not FIGURES & first.keys(),
        f"{what}: {workloads[0]} is an error, {first.get('why')}", text,
    )
    fine = all(row.get("state") == "ok" for row in others)
    outcome.check(fine or not goes_on, f"{what}: others have figures", text)
    outcome.equal(code, SOME if others and fine else FAILED, f"{what}: the exit code")


def nobody(outcome):
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    code, _, text = run(address, ["login"])
    outcome.check(code == FAILED and address in text and "per_second" not in text, "nobody listens: it fails and says where", text)


def mute(outcome):
    """Somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        code, _, text = run(address, ["login"])
    outcome.check(code == FAILED and "did not answer in time" in text, "there is no greeting: it fails in time", text)


if __name__ == "__main__":
    main()
