#!/usr/bin/env python3
"""Is a history of conditional STOREs linearizable?

A message is a register whose value is its mod-sequence, which only rises, together
with the client that set it. A STORE (UNCHANGEDSINCE m) takes place at one instant
between its request and its answer: when the register is then at most m, the client
has won and the register gets a greater value; else it has lost. An operation whose
answer was lost may have taken place at any instant from its request on, or never;
one that was answered NO did not take place. A read sees the register at one instant.

Since every value is set once and values only rise, the order of the wins is that of
their values, and what must hold can be tested without a search.

    checker.py --self-test    plants violations, each of which must be found
"""

import argparse
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict, namedtuple
from itertools import accumulate
from math import inf

WON, LOST, UNKNOWN, FAILED, READ = "won", "lost", "unknown", "failed", "read"

# value: of a win the new mod-sequence, of a read what was seen. since: the condition.
# owner: the client that stores, or the one whose flags were read.
Op = namedtuple("Op", "message owner kind since value start end")


def check(history):
    """What is wrong with the history: a list of sentences, empty when it is linearizable."""
    by_message = defaultdict(list)
    for op in history:
        by_message[op.message].append(op)
    faults = []
    for message, ops in sorted(by_message.items()):
        faults += [f"message {message}: {fault}" for fault in check_message(ops)]
    return faults


def check_message(ops):
    """The same for the operations on one message."""
    wins = sorted((op for op in ops if op.kind == WON), key=lambda op: op.value)
    unknown = [op for op in ops if op.kind == UNKNOWN]
    return [
        *check_wins(wins),
        *check_losses(ops, wins, *outcomes(ops, wins, unknown)),
        *check_reads(ops, wins, unknown),
    ]


def outcomes(ops, wins, unknown):
    """Of what is in doubt: {value that was seen: when it may first have been set}, and those of which nothing was seen."""
    known = {win.value for win in wins}
    did = defaultdict(set)
    for op in ops:
        if op.kind == READ and op.value not in known:
            did[op.owner].add(op.value)
    seen, left = {}, []
    for op in sorted(unknown, key=lambda op: op.start):
        if did[op.owner]:
            value = min(did[op.owner])
            did[op.owner].discard(value)
            seen[value] = op.start
        else:
            left.append(op)
    return seen, left


def check_wins(wins):
    """Each win's condition held; their order is that of time."""
    latest_start = None
    for before, after in zip(wins, wins[1:]):
        if before.value == after.value:
            yield f"mod-sequence {after.value} was given to {before.owner} and {after.owner}"
        elif after.since < before.value:
            yield (f"{after.owner} won with UNCHANGEDSINCE {after.since} and got {after.value}, although "
                   f"{before.owner} had got {before.value}: two winners")
    for win in wins:
        if win.value <= win.since:
            yield f"{win.owner} won with UNCHANGEDSINCE {win.since} and got only {win.value}"
        if latest_start is not None and win.end < latest_start.start:
            yield (f"{win.owner} got {win.value} and was answered before {latest_start.owner}, which got "
                   f"{latest_start.value}, had asked: values fell")
        if latest_start is None or win.start > latest_start.start:
            latest_start = win


class Above:
    """Of things with a value and a time: the earliest time of those above a value."""

    def __init__(self, pairs):
        self.pairs = sorted(pairs)
        self.values = [value for value, _ in self.pairs]
        self.earliest = list(accumulate((time for _, time in reversed(self.pairs)), min))

    def time(self, value):
        """The earliest, or never."""
        above = len(self.values) - bisect_right(self.values, value)
        return self.earliest[above - 1] if above else inf


def check_losses(ops, wins, seen, left):
    """Each loser met somebody else's value above its condition, or may have."""
    set_from = Above([(win.value, win.start) for win in wins] + list(seen.items()))
    read_by = Above([(op.value, op.end) for op in ops if op.kind == READ])
    doubtful = min((op.start for op in left), default=inf)
    for lost in (op for op in ops if op.kind == LOST):
        met = set_from.time(lost.since) <= lost.end or read_by.time(lost.since) <= lost.start
        if not met and doubtful > lost.end:
            yield f"{lost.owner} lost with UNCHANGEDSINCE {lost.since}, and nobody had won"


def check_reads(ops, wins, unknown):
    """Each read is at least as new as what was acknowledged before it, and of somebody who may have set it."""
    owners = {win.value: win.owner for win in wins}
    first = min((op.value for op in ops if op.kind == READ), default=0)
    answered = sorted((win.end, win.value) for win in wins)
    highest = list(accumulate((value for _, value in answered), max))
    for read in (op for op in ops if op.kind == READ):
        before = bisect_left(answered, (read.start, 0))
        acknowledged = highest[before - 1] if before else 0
        if read.value < acknowledged:
            yield f"{read.value} was read after {acknowledged} had been acknowledged: a win was lost, or the read is stale"
        if read.value in owners:
            if read.owner not in (None, owners[read.value]):
                yield f"{read.value} was given to {owners[read.value]} and read as {read.owner}'s"
        elif read.value != first and not any(op.owner == read.owner and op.start <= read.end for op in unknown):
            yield f"{read.value} of {read.owner} was read, and nobody can have set it: what was answered NO or MODIFIED was done"


def in_doubt_that_happened(history):
    """How many operations whose answer was lost were seen to have taken place."""
    won = {(op.message, op.value) for op in history if op.kind == WON}
    unknown = {(op.message, op.owner) for op in history if op.kind == UNKNOWN}
    seen = {(op.message, op.value, op.owner) for op in history if op.kind == READ}
    return len({(m, v) for m, v, owner in seen if (m, v) not in won and (m, owner) in unknown})


def self_test():
    """Legal histories pass, each planted violation is found."""
    def win(owner, since, value, start, end):
        return Op(1, owner, WON, since, value, start, end)

    def read(value, owner, start, end):
        return Op(1, owner, READ, None, value, start, end)

    legal = [
        read(5, None, 0, 1), win("a", 5, 7, 2, 4), Op(1, "b", LOST, 5, None, 2, 5), read(7, "a", 6, 7),
        Op(1, "c", UNKNOWN, 7, None, 8, 9), Op(1, "d", FAILED, 7, None, 8, 9), read(9, "c", 10, 11),
        win("a", 9, 12, 12, 13), Op(1, "e", LOST, 9, None, 12, 14), read(12, "a", 15, 16),
    ]
    planted = {
        "two winners": [*legal, win("b", 7, 10, 6, 9)],
        "given to": [*legal, win("f", 11, 12, 12, 13)],
        "lost, or the read is stale": [*legal, read(9, "c", 17, 18)],
        "was done": [op for op in legal if op.kind != UNKNOWN],
        "nobody had won": [*legal, Op(1, "g", LOST, 12, None, 17, 18)],
        "values fell": [*legal, win("h", 12, 14, 20, 21), win("i", 14, 15, 17, 18)],
        "got only": [*legal, win("j", 20, 14, 20, 21)],
        "read as": [*legal, read(12, "c", 17, 18)],
    }
    wrong = [f"a legal history is refused: {fault}" for fault in check(legal)]
    if in_doubt_that_happened(legal) != 1:
        wrong.append("the operation in doubt that happened is not counted")
    for word, history in planted.items():
        if not any(word in fault for fault in check(history)):
            wrong.append(f"'{word}' was planted and not found: {check(history)}")
    print("\n".join(wrong) or f"checker: {1 + len(planted)} passed, 0 failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true", required=True)
    parser.parse_args()
    sys.exit(self_test())
