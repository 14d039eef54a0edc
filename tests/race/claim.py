#!/usr/bin/env python3
"""Many clients claim one message at once; exactly one of them may win.

Each round gives the message a known state, lets every client see it, and then
sends `UID STORE … (UNCHANGEDSINCE m) …` on every connection before the first
answer is read on any of them: all requests are in flight together, and no client
can have learned of another's success. A client has won when it is answered a
plain OK, without MODIFIED (RFC 7162 §3.1.3, example 10).

With PEER=dovecot the same program runs against Debian's Dovecot;
`--expect several` then asks that it does find rounds with several winners.
"""

import argparse
import os
import random
import re
import select
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import report, server, wire  # noqa: E402

MESSAGE = b"From: job@example.org\r\nSubject: one job\r\n\r\nto be claimed once\r\n"
FORMS = {
    "+FLAGS ($Processing)": lambda k: ("+FLAGS ($Processing)", "$Processing"),
    r"+FLAGS (\Flagged)": lambda k: (r"+FLAGS (\Flagged)", r"\Flagged"),
    "FLAGS ($c<k>)": lambda k: (f"FLAGS ($c{k})", f"$c{k}"),
    "+FLAGS ($c<k>)": lambda k: (f"+FLAGS ($c{k})", f"$c{k}"),
}


class Tally:
    """What the rounds of one form showed."""

    def __init__(self):
        self.rounds = self.none = self.several = self.most = 0
        self.wrong_state = self.odd_answers = self.early = 0
        self.trace = None


def main():
    """Run every form for the asked number of rounds and judge the tallies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="rounds of each form")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--expect", choices=["one", "several"], default="one")
    arguments = parser.parse_args()
    print(f"race: {arguments.clients} clients, {arguments.rounds} rounds of each form, seed {arguments.seed}")
    outcome = report.Report("race")
    with server.start(users=1) as running:
        clients = open_clients(running.addresses, arguments.clients)
        tallies = {}
        for form, request in FORMS.items():
            begun = time.monotonic()
            tallies[form] = race(clients, request, arguments.rounds, random.Random(arguments.seed))
            show(running.name, form, tallies[form], time.monotonic() - begun)
        for client in clients:
            client.close()
    judge(outcome, tallies, arguments)
    outcome.finish()


def open_clients(addresses, count):
    """One connection to prepare rounds, and `count` that race; all in INBOX, spread over the servers."""
    clients = [wire.Connection(addresses[k % len(addresses)], "user1") for k in range(count + 1)]
    clients[0].append("INBOX", MESSAGE)
    for client in clients:
        client.must("SELECT INBOX (CONDSTORE)")
    return clients


def race(clients, request, rounds, chance):
    """Play `rounds` rounds of one form of claim."""
    control, racers = clients[0], clients[1:]
    tally = Tally()
    uid = int(re.search(rb"UID (\d+)", control.must("FETCH 1 (UID)")[-1]).group(1))
    for _ in range(rounds):
        held = prepare(control, racers, uid)
        order = list(range(len(racers)))
        chance.shuffle(order)
        answers = claim(racers, order, uid, held, request, tally)
        count(tally, answers, request, final_state(control, uid), held)
    return tally


def prepare(control, racers, uid):
    """Clear the message's flags, let all see it, and give its mod-sequence."""
    control.must(f"UID STORE {uid} FLAGS ()")
    _, held = final_state(control, uid)
    for client in racers:
        client.send("n NOOP")
    for client in racers:
        client.until("n")
    return held


def claim(racers, order, uid, held, request, tally):
    """Send every claim, then read every answer: {k: (tagged, untagged)}."""
    for k in order:
        racers[k].send(f"c UID STORE {uid} (UNCHANGEDSINCE {held}) {request(k)[0]}")
    readable, _, _ = select.select([client.socket for client in racers], [], [], 0)
    tally.early += len(readable)
    return {k: racers[k].until("c") for k in order}


def final_state(control, uid):
    """(flags, modseq) of the message as the server now tells it."""
    control.must("NOOP")
    for response in control.must(f"UID FETCH {uid} (FLAGS MODSEQ)"):
        fields = wire.fetch_fields(response)
        if fields and fields[1] == uid:
            return fields[2], wire.modseq(response)
    raise wire.WireError("the message is gone")


def count(tally, answers, request, state, held):
    """Add one round to the tally."""
    flags, modseq = state
    winners = [k for k, (tagged, _) in answers.items() if tagged.startswith("OK") and "MODIFIED" not in tagged]
    losers = [k for k, (tagged, _) in answers.items() if re.match(r"(OK|NO) \[MODIFIED \d+\]", tagged)]
    tally.rounds += 1
    tally.none += not winners
    tally.several += len(winners) > 1
    tally.most = max(tally.most, len(winners))
    tally.odd_answers += len(winners) + len(losers) != len(answers)
    told = [wire.modseq(r) for k in winners for r in answers[k][1] if wire.modseq(r)]
    right = len(winners) == 1 and flags - {r"\Recent"} == {request(winners[0])[1]}
    right = right and modseq > held and told[-1:] == [modseq]
    tally.wrong_state += not right
    if (len(winners) != 1 or not right) and tally.trace is None:
        lines = [f"round {tally.rounds}: UNCHANGEDSINCE {held}, ends with {sorted(flags)} MODSEQ {modseq}"]
        lines += [f"  client {k}: {tagged}   {untagged}" for k, (tagged, untagged) in sorted(answers.items())]
        tally.trace = "\n".join(lines)


def show(name, form, tally, seconds):
    """Print one form's figures."""
    print(f"  {name}  {form:22} {tally.rounds} rounds, {seconds:.1f} s: several winners {tally.several} "
          f"(at most {tally.most}), none {tally.none}, answers already there when the last request "
          f"was sent {tally.early}", flush=True)


def judge(outcome, tallies, arguments):
    """Turn the tallies into checks."""
    if arguments.expect == "several":
        several = sum(tally.several for tally in tallies.values())
        outcome.check(several > 0, f"the program finds rounds with several winners on this server: {several}")
        return
    for form, tally in tallies.items():
        outcome.check(tally.several == 0 and tally.none == 0,
                      f"{form}: exactly one winner in each of {tally.rounds} rounds",
                      f"{tally.several} with several, {tally.none} with none\n{tally.trace}")
        outcome.check(tally.odd_answers == 0, f"{form}: every other client is told MODIFIED", tally.trace)
        outcome.check(tally.wrong_state == 0,
                      f"{form}: the message ends as the winner left it, with the MODSEQ it was told", tally.trace)


if __name__ == "__main__":
    main()
