"""A TCP proxy that cuts connections in the middle of what the server says."""

import contextlib
import random
import socket
import struct
import threading

PIECE = 4096
ABORT = struct.pack("ii", 1, 0)


class Proxy:
    """Hands connections on to `address`, and ends each after a number of octets drawn by the seed.

    Octets count from the server to the client. About half of the cuts are a plain
    end, the others a reset. While `hold` is set nothing is cut.
    """

    def __init__(self, address, seed, octets_max):
        self.address = address
        self.chance = random.Random(seed)
        self.octets_max = octets_max
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
        host, port = self.address.rsplit(":", 1)
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection((host, int(port)))
            # small budgets as likely as large ones: greeting, SELECT and long idling are all cut
            budget = int(self.octets_max ** self.chance.random())
            abort = self.chance.random() < 0.5
            threading.Thread(target=self.up, args=(near, far), daemon=True).start()
            threading.Thread(target=self.down, args=(near, far, budget, abort), daemon=True).start()

    def up(self, near, far):
        """From the client to the server, until either ends."""
        try:
            while piece := near.recv(PIECE):
                far.sendall(piece)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def down(self, near, far, budget, abort):
        """From the server to the client, until the budget is spent."""
        try:
            while piece := far.recv(PIECE):
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
