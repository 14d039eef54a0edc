#!/usr/bin/env python3
"""interimap (Debian) keeps two servers in step by QRESYNC while both are changed at random.

It runs between two Highwaters, and between Highwater and Dovecot in either role.
Each side has an author who flags, adds, expunges, moves and copies messages and
makes mailboxes, while interimap first runs again and again and then stays as a
daemon, over lines that are a little slow. A third of the messages belong to each
author, the rest to both. When all is quiet both sides must hold the same, and every
message that one author alone touched must be where that author put it, with that
author's flags. interimap writes flags with UNCHANGEDSINCE; of the messages that
both touch it may only lose to the later change, and says so.
"""

import argparse
import collections
import contextlib
import functools
import re
import sqlite3
import subprocess
import time

from client import SECONDS, corpus, mailboxes, need, report, server, wire
from kit import author, proxy

PAIRS = [("highwater", "highwater"), ("highwater", "dovecot"), ("dovecot", "highwater")]
SIDES = ["local", "remote"]
BOXES = mailboxes.BOXES[:5]
# Half of the messages are in INBOX, so that the server keeps it as a tree and not as one leaf.
SHARES = ["INBOX"] * len(BOXES[1:]) + BOXES[1:]
FRESH_PER_SECOND = 6
DELAY = 0.005
QUIET_SECONDS = 60
CONFIGURATION = """
database = {home}/pairs.db

[local]
{local}

[remote]
{remote}
"""
ACCOUNT = """type = imap
host = 127.0.0.1
port = {port}
username = user1
password = secret
{security}"""
COMPLAINT = re.compile(r"WARNING|ERROR|PANIC|BUG|at /usr/\S+ line \d+", re.I)
# Of one message: both sides changed it; one changed it while the other removed it; it came and went unseen.
USUAL = re.compile(r"WARNING: (Conflicting flag update|No match for modified|No match for \d+ vanished|Can't delete)")
# Dovecot sends an empty body for a message that is expunged while it is fetched.
USUAL_OF_DOVECOT = re.compile(r"WARNING: Ignoring new 0-length message")


def main():
    """Every pair, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300, help="on both sides together, to begin with")
    parser.add_argument("--seconds", type=float, default=6, help="of changes, for each pair")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--pair", nargs=2, action="append", metavar=("LOCAL", "REMOTE"), help="highwater or dovecot")
    arguments = parser.parse_args()
    need("interimap", "interimap")
    outcome = report.Report("interimap")
    print(f"interimap: {corpus.describe(arguments.messages)}, {arguments.seconds:g} s of changes to each pair, "
          f"seed {arguments.seed}")
    for names in arguments.pair or PAIRS:
        print(f"  {names[0]} (local) and {names[1]} (remote)")
        pair(outcome, arguments, names)
    outcome.finish()


def pair(outcome, arguments, names):
    """Fill, join, change, quieten, compare."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server.start(users=1) if name == "highwater" else server.Peer(name))
                   for name in names]
        lines = [stack.enter_context(proxy.Proxy(running.imap, delay=DELAY)) for running in servers]
        sync = Interimap(servers, lines)
        taken, fresh = fill(arguments, servers)
        sync.run()
        outcome.equal(contents(servers[0]), counted(taken), "joined: the local side holds what both held")
        outcome.equal(contents(servers[1]), counted(taken), "joined: so does the remote side")
        authors = [
            author.Author(side, running.imap, arguments.seed, taken, fresh, functools.partial(belongs, side))
            for side, running in zip(SIDES, servers)
        ]
        change(outcome, arguments.seconds, servers, sync, authors)
        judge(outcome, servers, sync, authors)


class Interimap:
    """interimap with its configuration and its database in a folder, and all that it said."""

    def __init__(self, servers, lines):
        self.home = servers[0].scratch.path / "home"
        self.home.mkdir()
        accounts = dict(zip(SIDES, map(account, servers, lines)))
        (self.home / "config").write_text(CONFIGURATION.format(home=self.home, **accounts))
        self.command = ["interimap", f"--config={self.home}/config"]
        self.lines = []
        self.failures = []
        self.runs = 0

    def run(self, *more):
        """One run to its end; gives what it said about messages."""
        done = subprocess.run([*self.command, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=SECONDS)
        return self.note(done.returncode, done.stdout + done.stderr)

    @contextlib.contextmanager
    def daemon(self):
        """interimap that looks again every second, until the block ends."""
        with open(self.home / "daemon.log", "w+", errors="replace") as output:
            process = subprocess.Popen([*self.command, "--watch=1"], stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output)
            try:
                yield
            finally:
                process.terminate()
                code = process.wait(SECONDS)
                output.seek(0)
                self.note(code, output.read())

    def note(self, code, output):
        """Count a run, which has to end well, and keep what it said."""
        self.runs += 1
        if code != 0:
            self.failures.append(f"exit {code}: {output[-500:]}")
        said = [line for line in output.splitlines() if "IMAP traffic" not in line]
        self.lines += said
        return said

    def uid_pairs(self):
        """{mailbox: [(local UID, remote UID)]} as the database has them."""
        with contextlib.closing(sqlite3.connect(self.home / "pairs.db")) as database:
            rows = database.execute("SELECT mailbox, lUID, rUID FROM mailboxes JOIN mapping USING (idx)").fetchall()
        found = {}
        for name, *uids in rows:
            name = name if isinstance(name, str) else name.decode()
            found.setdefault(name.replace("\0", "/"), []).append(tuple(uids))
        return found


def account(running, line):
    """The configuration of one side; Highwater is spoken to in TLS, by its certificate."""
    security = "STARTTLS = NO"
    if running.name == "highwater":
        security = f"STARTTLS = YES\nSSL_CAfile = {running.data}/certificate.pem"
    return ACCOUNT.format(port=line.port, security=security)


def belongs(side, digest):
    """Whose a message is: one author's (True or False), or anybody's (None)."""
    owner = int(digest, 16) % 3
    return None if owner == 2 else SIDES[owner] == side


def fill(arguments, servers):
    """Half of the messages on each side; gives the picture of both, and messages for later."""
    messages = corpus.messages(arguments.messages + int(arguments.seconds * FRESH_PER_SECOND))
    fresh = messages[arguments.messages:]
    taken = {box: {} for box in BOXES}
    for number, running in enumerate(servers):
        half = messages[number:arguments.messages:2]
        for box, content in mailboxes.fill(running.imap, count=len(half), boxes=SHARES, messages=half).items():
            taken[box].update(content)
    return taken, fresh


def contents(running):
    """{mailbox: {(hash, flags): how many}} as the server shows it."""
    connection = wire.Connection(running.imap, "user1")
    found = {
        box: collections.Counter(
            (mailboxes.digest(octets), flags) for _, flags, octets in mailboxes.fetch_all(connection, box)
        )
        for box in mailboxes.names(connection)
    }
    connection.close()
    return found


def counted(taken):
    """A picture in the form of `contents`."""
    return {box: collections.Counter(content.items()) for box, content in taken.items()}


def change(outcome, seconds, servers, sync, authors):
    """Both authors at work: first beside runs of interimap, then beside a daemon."""
    middle, end = time.monotonic() + seconds / 2, time.monotonic() + seconds
    with authors[0], authors[1]:
        while time.monotonic() < middle:
            sync.run()
        with sync.daemon():
            for writer in authors:
                writer.over.wait(max(end - time.monotonic(), 0))
                writer.over.set()
                writer.thread.join()
            await_equal(outcome, servers)
    for writer in authors:
        done = ", ".join(f"{kind} {count}" for kind, count in writer.done.items())
        outcome.check(writer.error is None and sum(writer.done.values()) > 0,
                      f"{sum(writer.done.values())} changes on the {writer.name} side ({done})", writer.error)


def await_equal(outcome, servers):
    """Look until the daemon has brought both sides together, now that nobody else changes anything."""
    begun = time.monotonic()
    while time.monotonic() < begun + QUIET_SECONDS:
        if contents(servers[0]) == contents(servers[1]):
            outcome.note(f"equal {time.monotonic() - begun:.1f} s after the last change")
            return
        time.sleep(0.2)


def judge(outcome, servers, sync, authors):
    """One last run, then both sides, the ledgers, the database and the log."""
    sync.run()
    local, remote = map(contents, servers)
    count = sum(sum(box.values()) for box in local.values())
    differing = {box: report.difference(local.get(box, {}), remote.get(box, {}))
                 for box in {*local, *remote} if local.get(box) != remote.get(box)}
    outcome.check(not differing, f"both sides hold the same {count} messages in {len(local)} mailboxes",
                  differing)
    for writer in authors:
        outcome.equal(owned(local, writer), {digest: [place] for digest, place in writer.ledger.items()},
                      f"{len(writer.ledger)} messages are as the {writer.name} author alone left them, "
                      f"{len(writer.gone)} are gone")
    wrong = wrong_pairs(servers, sync.uid_pairs())
    outcome.check(not wrong, "the UIDs that interimap holds for pairs name the same messages", wrong[:5])
    outcome.equal(sync.run("--repair"), [], "interimap --repair finds nothing to repair")
    odd = [line for line in sync.lines if is_odd(line, servers)]
    outcome.check(not odd and not sync.failures, f"{sync.runs} runs of interimap end well and complain of nothing",
                  f"{odd[:10]} {sync.failures[:3]}")
    for text in ("Conflicting flag update", "will try again later", "No match for"):
        outcome.note(f"interimap said {sum(text in line for line in sync.lines)} times: {text}")


def is_odd(line, servers):
    """Whether interimap complains in this line of what two right servers do not bring about."""
    if not COMPLAINT.search(line) or USUAL.search(line):
        return False
    of_dovecot = [f"{side}(" for side, running in zip(SIDES, servers) if running.name == "dovecot"]
    return not (line.startswith(tuple(of_dovecot)) and USUAL_OF_DOVECOT.search(line))


def owned(found, writer):
    """{hash: [(mailbox, flags)]} of one author's own messages."""
    places = {}
    for box, messages in found.items():
        for digest, flags in messages.elements():
            if writer.owns(digest):
                places.setdefault(digest, []).append((box, flags))
    return places


def wrong_pairs(servers, pairs):
    """Pairs of UIDs that do not name the same octets, and messages without a pair."""
    wrong = []
    for box, uids in pairs.items():
        sides = []
        for running in servers:
            connection = wire.Connection(running.imap, "user1")
            sides.append({uid: mailboxes.digest(octets) for uid, _, octets in mailboxes.fetch_all(connection, box)})
            connection.close()
        wrong += [(box, left, right) for left, right in uids if sides[0].get(left) != sides[1].get(right)]
        wrong += [(box, uid, None) for uid in sides[0].keys() - {left for left, _ in uids}]
        wrong += [(box, None, uid) for uid in sides[1].keys() - {right for _, right in uids}]
    return wrong


if __name__ == "__main__":
    main()
