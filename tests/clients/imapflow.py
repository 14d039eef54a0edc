#!/usr/bin/env python3
"""imapflow (npm) with CONDSTORE and QRESYNC: catches up and loses conflicts.

The package is fetched by name into the cache; `imapflow.cjs` beside this file
drives it and prints what it saw as lines of JSON, which are judged here.
"""

import json
import os
from pathlib import Path

from client import begin, mailboxes, need, run, server, wire

HERE = Path(__file__).resolve().parent


def main():
    """Fill, let imapflow sync twice with changes in between, compare."""
    need("node", "nodejs")
    with server.start(users=1) as running:
        outcome, home = begin("imapflow", running)
        modules = package(outcome, home)
        taken = mailboxes.fill(running.imap)
        first = drive(outcome, running, home, modules, {"box": "INBOX"}, "opens INBOX with CONDSTORE")
        outcome.equal(first.get("messages"), len(taken["INBOX"]), "imapflow sees every message of INBOX")
        expected = {k: sorted(v) for k, v in taken["INBOX"].items()}
        found = {hash_: sorted(set(flags) - {"\\Recent"}) for hash_, flags in first.get("content", {}).items()}
        outcome.equal(found, expected, "imapflow reads the same octets and flags")
        catch_up(outcome, running, home, modules, first)
        conditional(outcome, running, home, modules)
    outcome.finish()


def package(outcome, home):
    """The folder that holds imapflow, fetched once."""
    cache = Path(os.environ.get("HIGHWATER_CACHE") or HERE.parents[1] / ".cache")
    place = (cache / "npm").resolve()
    if not (place / "node_modules" / "imapflow").is_dir():
        place.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", place, "imapflow"]
        run(command, home, outcome, "npm fetches imapflow")
    return place / "node_modules"


def drive(outcome, running, home, modules, task, what):
    """Run imapflow for one task; gives what it reports."""
    host, port = running.imap.rsplit(":", 1)
    task = {"host": host, "port": int(port), "modules": str(modules), **task}
    output = run(["node", HERE / "imapflow.cjs", json.dumps(task)], home, outcome, f"imapflow {what}")
    lines = [line for line in output.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


def catch_up(outcome, running, home, modules, first):
    """Flags and expunges that happened meanwhile are exactly what it is told."""
    connection = wire.Connection(running.imap, "user1")
    uids = [uid for uid, _, _ in mailboxes.fetch_all(connection, "INBOX")]
    connection.must("SELECT INBOX")
    flagged, gone = uids[30:40], uids[50:55]
    connection.must(f"UID STORE {','.join(map(str, flagged))} +FLAGS.SILENT ($Later)")
    connection.must(rf"UID STORE {','.join(map(str, gone))} +FLAGS.SILENT (\Deleted)")
    connection.must("EXPUNGE")
    task = {"box": "INBOX", "changedSince": first["highestModseq"]}
    told = drive(outcome, running, home, modules, task, "asks CHANGEDSINCE its last HIGHESTMODSEQ")
    outcome.equal(sorted(told.get("changed", [])), flagged, f"CHANGEDSINCE names exactly the {len(flagged)} changed")
    outcome.check(int(told.get("highestModseq", 0)) > int(first["highestModseq"]), "HIGHESTMODSEQ has grown")
    if " QRESYNC" not in capabilities(connection):
        outcome.note("the server does not offer QRESYNC, so vanished messages are not asked for")
        return
    task = {"box": "INBOX", "qresync": first["highestModseq"], "uidValidity": first["uidValidity"]}
    told = drive(outcome, running, home, modules, task, "opens INBOX with QRESYNC")
    outcome.equal(sorted(told.get("vanished", [])), gone, f"VANISHED names exactly the {len(gone)} expunged")
    outcome.equal(sorted(told.get("changed", [])), flagged, f"QRESYNC names exactly the {len(flagged)} changed")


def conditional(outcome, running, home, modules):
    """A stale conditional STORE changes nothing; a fresh one does."""
    connection = wire.Connection(running.imap, "user1")
    connection.must("SELECT INBOX (CONDSTORE)")
    response = next(r for r in connection.must("FETCH 1 (UID MODSEQ)") if wire.modseq(r))
    uid, stale = wire.fetch_fields(response)[1], wire.modseq(response)
    connection.must(f"UID STORE {uid} +FLAGS ($Winner)")
    for since, keyword, kept in ((stale, "$Loser", False), (None, "$Fresh", True)):
        response = next(r for r in connection.must(f"UID FETCH {uid} (FLAGS MODSEQ)") if wire.modseq(r))
        task = {"box": "INBOX", "store": uid, "flag": keyword, "unchangedSince": str(since or wire.modseq(response))}
        drive(outcome, running, home, modules, task, f"stores {keyword} with unchangedSince")
        response = next(r for r in connection.must(f"UID FETCH {uid} (FLAGS)") if wire.fetch_fields(r))
        flags = wire.fetch_fields(response)[2]
        outcome.check((keyword in flags) == kept, f"{keyword} is {'kept' if kept else 'refused'}", sorted(flags))


def capabilities(connection):
    """The capability line after login."""
    return " ".join(r.decode() for r in connection.must("CAPABILITY"))


if __name__ == "__main__":
    main()
