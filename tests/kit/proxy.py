"""TCP proxies: a slow line, one that is cut in the middle of what the server says, one that changes lines."""

import contextlib
import math
import random
import socket
import struct
import threading
import time

PIECE = 65536
ABORT = struct.pack("ii", 1, 0)


class Proxy:
    """Hands connections on to `address`, each piece after `delay` seconds.

    Of several addresses, for each connection the seed draws one.

    With `octets`, a least and a most, it cuts each connection after a number of octets
    from the server that the seed draws; half of the cuts are a plain end, the others a
    reset. While `hold` is set nothing is cut.
    """

    def __init__(self, address, seed=0, octets=None, delay=0):
        self.addresses = [address] if isinstance(address, str) else address
        self.chance = random.Random(seed)
        self.octets = octets
        self.delay = delay
        self.hold = threading.Event()
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
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
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            host, port = self.chance.choice(self.addresses).rsplit(":", 1)
            try:
                far = socket.create_connection((host, int(port)))
            except OSError:
                near.close()  # the server is down for a moment
                continue
            threading.Thread(target=self.up, args=(near, far), daemon=True).start()
            threading.Thread(target=self.down, args=(near, far, *self.end()), daemon=True).start()

    def end(self):
        """After how many octets the next connection is cut, and whether by a reset.

        Few are as likely as many, so that the greeting, SELECT and a long IDLE are all cut.
        """
        if self.octets is None:
            return math.inf, False
        least, most = self.octets
        return int(least * (most / least) ** self.chance.random()), self.chance.random() < 0.5

    def up(self, near, far):
        """From the client to the server, until either ends."""
        try:
            while piece := near.recv(PIECE):
                time.sleep(self.delay)
                far.sendall(piece)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def down(self, near, far, budget, abort):
        """From the server to the client, until the budget is spent."""
        try:
            while piece := far.recv(PIECE):
                time.sleep(self.delay)
                if len(piece) >= budget and not self.hold.is_set():
                    near.sendall(piece[:budget])
                    self.cuts += 1
                    if abort:
                        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                    break
                budget = max(budget - len(piece), 1)
                near.sendall(piece)
        except OSError:
            pass
        for one in (near, far):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RD)  # wakes the thread that reads it; closing alone would not
            one.close()


class Lines:
    """Hands connections on to `address` line by line.

    `conversation()` makes an object for each connection: its asked(line) and told(line) answer
    the octets that the server and the client get instead, or None to end the connection.
    """

    def __init__(self, address, conversation):
        self.address = address
        self.conversation = conversation
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
            conversation = self.conversation()
            for begin, end, change in ((near, far, conversation.asked), (far, near, conversation.told)):
                threading.Thread(target=hand_on, args=(begin, end, change), daemon=True).start()


def hand_on(begin, end, change):
    """Each line from one side to the other, until either ends."""
    with contextlib.suppress(OSError):
        for line in lines(begin):
            octets = change(line)
            if octets is None:
                break
            end.sendall(octets)
    for one in (begin, end):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def lines(one):
    """Lines as they come, until the connection ends."""
    rest = b""
    while piece := one.recv(PIECE):
        *whole, rest = (rest + piece).split(b"\r\n")
        for line in whole:
            yield line + b"\r\n"
