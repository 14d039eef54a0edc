"""A proxy that makes some losers of a conditional STORE believe that they have won.

It stands between `highwater doctor` and a server whose conditional STORE has one
winner. Once in every `window` rounds, at a place that the seed draws, the first loser
whose `OK [MODIFIED n]` passes by is sent what a winner is sent: a FETCH with its own
mark and a mod-sequence above the condition, and a plain OK.
"""

import contextlib
import random
import re
import socket
import threading

STORE = re.compile(rb"(\S+) UID STORE (\d+) \(UNCHANGEDSINCE (\d+)\) \+?FLAGS \(([^)]*)\)\r\n")
FETCH = re.compile(rb"\* (\d+) FETCH \(.*\bUID (\d+)\b")
MODIFIED = re.compile(rb"(\S+) OK \[MODIFIED \d+\]")


class Liar:
    """The proxy; `lies` holds (UID, condition, mark) of each lie told."""

    def __init__(self, address, window, seed):
        self.address = address
        self.window = window
        self.chance = random.Random(seed)
        self.lock = threading.Lock()
        self.rounds = set()
        self.lies = []
        self.turn = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.here = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_error):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def accept(self):
        """Take connections until the listener is closed."""
        host, port = self.address.rsplit(":", 1)
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection((host, int(port)))
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked, numbers = {}, {}
            threading.Thread(target=self.up, args=(near, far, asked), daemon=True).start()
            threading.Thread(target=self.down, args=(near, far, asked, numbers), daemon=True).start()

    def up(self, near, far, asked):
        """From the client to the server, with an eye on what is claimed."""
        for line in lines(near):
            store = STORE.fullmatch(line)
            if store:
                asked[store.group(1)] = store.groups()[1:]
            if not sent(far, line):
                break
        end(near, far)

    def down(self, near, far, asked, numbers):
        """From the server to the client, with a lie now and then."""
        for line in lines(far):
            fetch = FETCH.match(line)
            if fetch:
                numbers[fetch.group(2)] = fetch.group(1)
            lost = MODIFIED.match(line)
            claim = asked.pop(line.split(b" ", 1)[0], None)
            if lost and claim and self.is_to_lie(claim):
                uid, since, mark = claim
                told = (numbers.get(uid, b"1"), uid, int(since) + 1, mark)
                line = b"* %b FETCH (UID %b MODSEQ (%d) FLAGS (%b))\r\n" % told + lost.group(1) + b" OK Stored\r\n"
            if not sent(near, line):
                break
        end(near, far)

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


def sent(one, octets):
    """Whether the other side still takes something."""
    try:
        one.sendall(octets)
    except OSError:
        return False
    return True


def end(*both):
    """Ends both sides, whichever ended first."""
    for one in both:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def lines(one):
    """Lines as they come, until the connection ends."""
    rest = b""
    while True:
        try:
            piece = one.recv(65536)
        except OSError:
            return
        if not piece:
            return
        *whole, rest = (rest + piece).split(b"\r\n")
        for line in whole:
            yield line + b"\r\n"
