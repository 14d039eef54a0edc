#!/usr/bin/env python3
"""imapflow (npm) mirrors a mailbox with QRESYNC and loses its connection all the time.

`mirror.cjs` beside this file keeps the mailbox in memory by what imapflow tells it.
It speaks through a proxy that cuts the server's words at a random octet, and now
and then it hangs up itself; meanwhile another connection flags, adds and expunges.
It comes back with the HIGHESTMODSEQ that it kept. At quiet points its mirror has to
be what a plain connection reads, and after each command it has to be as large as
the server says.
"""

import argparse
import json
import random
import select
import subprocess
import time

from client import SECONDS, begin, corpus, mailboxes, need, server, wire
from imapflow import HERE, package
from kit import author, proxy

WEIGHTS = {"flag": 10, "add": 4, "expunge": 3}
OCTETS = (200, 30000)
DISCONNECTS_PER_QUIET = 8
SECONDS_PER_DISCONNECT = 1


def main():
    """Disconnect as often as asked, with a quiet point now and then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300)
    parser.add_argument("--disconnects", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    need("node", "nodejs")
    with server.start(users=1) as running:
        outcome, home = begin("reconnect", running)
        print(f"reconnect: {arguments.disconnects} disconnects, seed {arguments.seed}")
        modules = package(outcome, home)
        messages = corpus.messages(arguments.messages + 10 * arguments.disconnects)
        first, fresh = messages[:arguments.messages], messages[arguments.messages:]
        taken = mailboxes.fill(running.imap, count=len(first), boxes=["INBOX"], messages=first)
        with (
            proxy.Proxy(running.addresses, arguments.seed, OCTETS) as cutter,
            Mirror(cutter.port, modules, home) as mirror,
            author.Author("other", running.imap, arguments.seed, taken, fresh, lambda _: True,
                          weights=WEIGHTS, share=1, pause=0.04) as other,
        ):
            told = disturb(outcome, arguments, running, cutter, mirror, other)
        judge(outcome, arguments, cutter, mirror, other, told)
    outcome.finish()


class Mirror:
    """The node process that mirrors."""

    def __init__(self, port, modules, home):
        task = {"host": "127.0.0.1", "port": port, "modules": str(modules), "box": "INBOX"}
        self.errors = home / "mirror.log"
        self.hung_up = 0
        with open(self.errors, "wb") as log:
            self.process = subprocess.Popen(["node", str(HERE / "mirror.cjs"), json.dumps(task)],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.stdin.close()
        self.process.wait(SECONDS)
        self.process.stdout.close()

    def say(self, word):
        """Ask for something."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hang_up(self):
        """Have it close its connection."""
        self.hung_up += 1
        self.say("drop")

    def picture(self):
        """What it counted, and {UID: flags} as it has them now."""
        self.say("picture")
        readable, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            raise wire.WireError(f"the mirror does not answer: {self.errors.read_text()[-1500:]}")
        told = json.loads(line)
        told["picture"] = {int(uid): frozenset(flags) for uid, flags in told["picture"].items()}
        return told


def disturb(outcome, arguments, running, cutter, mirror, other):
    """Hang up now and then, and compare at quiet points, until there were enough disconnects."""
    chance = random.Random(arguments.seed)
    deadline = time.monotonic() + arguments.disconnects * SECONDS_PER_DISCONNECT + SECONDS
    quiet, told, next_quiet = 0, None, 0
    while (told is None or told["connections"] <= arguments.disconnects) and time.monotonic() < deadline:
        other.over.wait(chance.uniform(0, 0.2))
        if chance.random() < 0.1:
            mirror.hang_up()
        if cutter.cuts + mirror.hung_up < next_quiet:
            continue
        next_quiet = cutter.cuts + mirror.hung_up + DISCONNECTS_PER_QUIET
        with other.busy:
            cutter.hold.set()
            told = mirror.picture()
            found = plain(running)
            cutter.hold.clear()
        quiet += 1
        if told["picture"] != found:
            outcome.equal(told["picture"], found, f"quiet point {quiet}: the mirror is the mailbox")
            break
    else:
        outcome.check(quiet > 1, f"the mirror is the mailbox at each of {quiet} quiet points")
    return told


def plain(running):
    """{UID: flags} as a plain connection reads them."""
    connection = wire.Connection(running.imap, "user1")
    connection.must("EXAMINE INBOX")
    fields = map(wire.fetch_fields, connection.must("UID FETCH 1:* (UID FLAGS)"))
    found = {uid: frozenset(flags - {r"\Recent"}) for _, uid, flags, _ in filter(None, fields)}
    connection.close()
    return found


def judge(outcome, arguments, cutter, mirror, other, told):
    """There were disconnects, resyncs and changes enough, and no faults on the way."""
    disconnects = told["connections"] - 1
    outcome.check(disconnects >= arguments.disconnects,
                  f"{disconnects} disconnects: {cutter.cuts} cut at a random octet, {mirror.hung_up} by the client")
    outcome.check(told["resyncs"] > disconnects / 8, f"{told['resyncs']} resyncs from a kept HIGHESTMODSEQ")
    outcome.check(not told["faults"], "the mirror is as large as the server says after every command",
                  f"{len(told['faults'])} times not: {told['faults'][:5]}")
    done = ", ".join(f"{kind} {count}" for kind, count in other.done.items())
    outcome.check(other.error is None and sum(other.done.values()) > 0,
                  f"{sum(other.done.values())} changes by the other connection ({done})", other.error)
    outcome.note(f"the mirror was told of {told['vanished']} vanished, {told['flags']} changed, "
                 f"and read {told['arrivals']} messages")


if __name__ == "__main__":
    main()
