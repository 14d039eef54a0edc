"""A proxy that makes some losers of a conditional STORE believe that they have won.

It stands between `highwater doctor` and a server whose conditional STORE has one
winner. Once in every `window` rounds, at a place that the seed draws, the first loser
whose `OK [MODIFIED n]` passes by is sent what a winner is sent: a FETCH with its own
mark and a mod-sequence above the condition, and a plain OK.
"""

import random
import re
import threading

from kit import proxy

STORE = re.compile(rb"(\S+) UID STORE (\d+) \(UNCHANGEDSINCE (\d+)\) \+?FLAGS \(([^)]*)\)\r\n")
FETCH = re.compile(rb"\* (\d+) FETCH \(.*\bUID (\d+)\b")
MODIFIED = re.compile(rb"(\S+) OK \[MODIFIED \d+\]")


class Liar(proxy.Lines):
    """The proxy; `lies` holds (UID, condition, mark) of each lie told."""

    def __init__(self, address, window, seed):
        super().__init__(address, lambda: Conversation(self))
        self.window = window
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        self.rounds = set()
        self.lies = []
        self.turn = None

    def is_to_lie(self, claim):
        """Whether this loser is the one of its window; each round is counted at its first loser."""
        uid, since, _ = claim
        with self.lock:
            if (uid, since) in self.rounds:
                return False
            if len(self.rounds) % self.window == 0:
                self.turn = len(self.rounds) + self.chance.randrange(self.window)
            is_it = len(self.rounds) == self.turn
            self.rounds.add((uid, since))
            if is_it:
                self.lies.append(tuple(part.decode() for part in claim))
            return is_it


class Conversation:
    """One connection."""

    def __init__(self, liar):
        self.liar = liar
        self.claims, self.numbers = {}, {}

    def asked(self, line):
        """From the client to the server, with an eye on what is claimed."""
        store = STORE.fullmatch(line)
        if store:
            self.claims[store.group(1)] = store.groups()[1:]
        return line

    def told(self, line):
        """From the server to the client, with a lie now and then."""
        fetch = FETCH.match(line)
        if fetch:
            self.numbers[fetch.group(2)] = fetch.group(1)
        lost = MODIFIED.match(line)
        claim = self.claims.pop(line.split(b" ", 1)[0], None)
        if not (lost and claim and self.liar.is_to_lie(claim)):
            return line
        uid, since, mark = claim
        told = (self.numbers.get(uid, b"1"), uid, int(since) + 1, mark)
        return b"* %b FETCH (UID %b MODSEQ (%d) FLAGS (%b))\r\n" % told + lost.group(1) + b" OK Stored\r\n"
