#!/usr/bin/env python3
"""`highwater doctor` gives each server the verdict that it deserves, and leaves nothing behind.

- On Highwater nothing is found. A few thousand rounds are no proof: INCONCLUSIVE;
  `--long` plays the 20,000 that SAFE takes.
- Behind a proxy that tells a loser now and then that it has won, every lie is found:
  UNSAFE, with the dialogue. One lie in 5,000 rounds with `--long`.
- On Debian's Dovecot two clients win the same message: UNSAFE; with `--long` Cyrus
  is played, too.
- Interrupted or cut off, it removes its mailboxes all the same.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import proxy, report, server, wire  # noqa: E402
from liar import Liar  # noqa: E402

SAFE, UNSAFE, WRONG, INCONCLUSIVE = 0, 1, 2, 3
WAIT_SECONDS = 30
LONG_SECONDS = 3600


def main():
    """All of it, in the short or the long form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"doctor: seed {arguments.seed}")
    outcome = report.Report("doctor")
    with server.Highwater(users=1) as running:
        refused(outcome, running)
        highwater(outcome, running, arguments)
        planted(outcome, running, arguments)
        interrupted(outcome, running, signal.SIGINT)
        interrupted(outcome, running, signal.SIGTERM)
        cut(outcome, running, arguments)
    dovecot(outcome, arguments)
    if arguments.long:
        cyrus(outcome, arguments)
    outcome.finish()


def command(address, *options):
    """The command line that has the doctor look at this server."""
    return [str(server.binary()), "doctor", f"imap://user1@{address}", "--json", *map(str, options)]


def environment():
    """The password is in the environment."""
    return {**os.environ, "HIGHWATER_PASSWORD": server.PASSWORD}


def doctor(address, *options):
    """(exit code, report) of a run."""
    done = subprocess.run(command(address, *options), env=environment(), capture_output=True, text=True,
                          timeout=LONG_SECONDS)
    if not done.stdout.strip():
        raise server.ServerError(f"doctor said nothing and ended with {done.returncode}: {done.stderr}")
    return done.returncode, json.loads(done.stdout)


def scratch(address):
    """The doctor's mailboxes that exist."""
    connection = wire.Connection(address, "user1")
    listed = [line for line in connection.must('LIST "" "*"') if b"highwater-doctor-" in line]
    connection.close()
    return listed


def violations(found):
    """What is wrong in the rows that decide, but for many winners of different keywords."""
    return sum(one["several_winners"] + one["ended_otherwise"] for one in found["races"] if one["decides"])


def refused(outcome, running):
    """Who does not get in reads why on one line, and no exit code says UNSAFE."""
    inside = f"imap://user1@{running.imap}"
    for place, password, code, said in (
        (f"{inside}/INBOX", server.PASSWORD, WRONG, "name no mailbox"),
        (f"imap://{running.imap}", server.PASSWORD, WRONG, "name the user"),
        (inside, None, WRONG, "there is no password"),
        (inside, "another", INCONCLUSIVE, "Wrong name or password"),
    ):
        known = {name: value for name, value in os.environ.items() if name != "HIGHWATER_PASSWORD"}
        known.update({"HIGHWATER_PASSWORD": password} if password else {})
        done = subprocess.run([str(server.binary()), "doctor", place], env=known, capture_output=True, text=True,
                              timeout=WAIT_SECONDS)
        lines = (done.stdout + done.stderr).strip().splitlines()
        outcome.equal((done.returncode, len(lines)), (code, 1), f"{said}: exit code {code}, one line")
        outcome.check(said in lines[0], f"it says: {said}", f"{lines}")


def highwater(outcome, running, arguments):
    """No violation; SAFE when there were rounds enough."""
    rounds = 20000 if arguments.long else 3000
    code, found = doctor(running.imap, "--rounds", rounds, "--seed", arguments.seed)
    outcome.note(f"Highwater: {found['verdict']} after {found['seconds']:.0f} s: {found['explained']}")
    expected = (SAFE, "SAFE") if arguments.long else (INCONCLUSIVE, "INCONCLUSIVE")
    outcome.equal((code, found["verdict"]), expected, f"Highwater, {rounds} rounds: {expected[1]}")
    outcome.equal(violations(found), 0, "no message has two winners or ends otherwise than told")
    outcome.check(found["rounds_counted"] >= rounds, "all rounds had two or more requests in flight",
                  found["rounds_counted"])
    told = {one["race"]: one["several_winners"] for one in found["races"]}
    outcome.check(told["ghost"] > 0, "claims on expunged messages are told and do not count", told)
    outcome.equal(told["move"], 0, "MOVE has one winner")
    outcome.equal(scratch(running.imap), [], "no mailbox is left")


def planted(outcome, running, arguments):
    """Every lie is found, and the dialogue shows one."""
    window, rounds = (5000, 20000) if arguments.long else (500, 2000)
    with Liar(running.imap, window, arguments.seed) as liar:
        code, found = doctor(liar.here, "--rounds", rounds, "--seed", arguments.seed)
        lies = list(liar.lies)
    outcome.note(f"{len(lies)} lies in {len(liar.rounds)} rounds: {found['explained'].splitlines()[0]}")
    outcome.equal((code, found["verdict"]), (UNSAFE, "UNSAFE"), f"one lie in {window} rounds: UNSAFE")
    outcome.equal(violations(found), len(lies), "as many messages with two winners as there were lies")
    firsts = [one["first"] for one in found["races"] if one["first"]]
    shown = [f"UID {uid} (UNCHANGEDSINCE {since})" for uid, since, _ in lies]
    named = [first for first in firsts if any(f": {one}:" in first["what"] for one in shown)]
    outcome.check(firsts and named == firsts, "each dialogue is about a lie", f"{firsts} {shown}")
    sides = [{line.split("ms  ")[1][0] for line in first["lines"]} for first in firsts]
    outcome.check(all({"C", "S", "("} == side for side in sides), "it has both sides and the moment between them",
                  f"{firsts}")


def interrupted(outcome, running, which):
    """A signal ends it after its mailboxes are gone."""
    process = subprocess.Popen(command(running.imap), env=environment(), stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + WAIT_SECONDS
    while not scratch(running.imap) and time.monotonic() < deadline:
        pass
    process.send_signal(which)
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    found = json.loads(said)
    outcome.equal((process.returncode, found["ended_early"]), (INCONCLUSIVE, "interrupted"), f"{which.name} ends it")
    outcome.equal(scratch(running.imap), [], f"no mailbox is left after {which.name}")


def cut(outcome, running, arguments):
    """Connections that are cut again and again end it, after its mailboxes are gone."""
    with proxy.Proxy(running.imap, arguments.seed, octets=(20000, 60000)) as bad:
        code, found = doctor(f"127.0.0.1:{bad.port}", "--seed", arguments.seed)
    outcome.check(code == INCONCLUSIVE and found["ended_early"], "cut off again and again: INCONCLUSIVE", f"{found}")
    outcome.check(bad.cuts > 5, f"it came back after connections were cut ({bad.cuts} cuts)")
    outcome.equal(violations(found), 0, "what was cut off is no violation")
    outcome.equal(scratch(running.imap), [], "no mailbox is left")


def dovecot(outcome, arguments):
    """Two clients are told that they have won, and the proof rule tells them apart."""
    with server.Peer("dovecot") as running:
        code, found = doctor(running.imap, "--rounds", 20000 if arguments.long else 2000, "--seed", arguments.seed)
        left = scratch(running.imap)
    outcome.note(f"{found['server']}: {found['explained']}")
    outcome.equal((code, found["verdict"]), (UNSAFE, "UNSAFE"), "Dovecot 2.3: UNSAFE")
    broken = [one for one in found["races"] if one["decides"] and one["several_winners"]]
    outcome.check(broken and all(one["first"]["lines"] for one in broken),
                  "several winners, with a dialogue each: " +
                  ", ".join(f"{one['race']} {one['request']} {one['several_winners']}" for one in broken), f"{found}")
    outcome.equal(left, [], "no mailbox is left")


def cyrus(outcome, arguments):
    """Cyrus tests and writes under one lock."""
    with server.Peer("cyrus") as running:
        code, found = doctor(running.imap, "--seed", arguments.seed)
        left = scratch(running.imap)
    outcome.note(f"{found['server']}: {found['explained']}")
    outcome.equal((code, found["verdict"]), (SAFE, "SAFE"), "Cyrus: SAFE")
    outcome.equal(left, [], "no mailbox is left")


if __name__ == "__main__":
    main()
