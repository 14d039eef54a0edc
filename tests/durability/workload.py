"""Commands that change something, each remembered with what proves it was kept.

Every command carries a word of its own, so that the trace shows which write to a
file holds its message, and which send answers it.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import wire  # noqa: E402

LARGE = 6_000_000


@dataclass
class Sent:
    """One acknowledged change: who sent it, how it was answered, what body it held."""

    port: int
    what: str
    asked: str
    answer: str
    marks: tuple = ()


def body(mark, octets=300):
    """A message that begins and ends with its own mark."""
    filling = "\r\n".join(["x" * 70] * (octets // 72))
    return (
        f"From: a@example.org\r\nSubject: {mark}-head\r\nMessage-ID: <{mark}@example.org>\r\n\r\n"
        f"{filling}\r\n{mark}-tail\r\n"
    ).encode()


def marks(mark):
    """The words to look for in the writes of `body(mark)`."""
    return (f"{mark}-head", f"{mark}-tail")


class Changes:
    """One client that changes things and remembers each answer."""

    def __init__(self, address, user, name):
        self.connection = wire.Connection(address, user)
        self.port = self.connection.socket.getsockname()[1]
        self.name = name
        self.done = []

    def command(self, text):
        """Send one change; its tagged OK is remembered."""
        tag = f"{self.name}{len(self.done)}z"
        self.connection.send(f"{tag} {text}")
        tagged, untagged = self.connection.until(tag)
        if not tagged.startswith("OK"):
            raise wire.WireError(f"{text} was answered: {tagged}")
        self.done.append(Sent(self.port, text.split(" (")[0], f"{tag} ", f"{tag} OK"))
        return untagged

    def append(self, box, octets=300):
        """APPEND one message with marks."""
        mark = f"m{self.name}{len(self.done)}z"
        tag = f"{self.name}{len(self.done)}z"
        message = body(mark, octets)
        self.connection.send(f"{tag} APPEND {box} () {{{len(message)}}}")
        reply = self.connection.response()
        if not reply.startswith(b"+"):
            raise wire.WireError(f"APPEND was answered: {reply!r}")
        self.connection.send(message + b"\r\n")
        tagged, _ = self.connection.until(tag)
        if not tagged.startswith("OK"):
            raise wire.WireError(f"APPEND was answered: {tagged}")
        self.done.append(Sent(self.port, f"APPEND of {len(message)} octets", f"{tag} ", f"{tag} OK", marks(mark)))

    def flags(self, rounds):
        """Flag changes of all kinds on the first message of the open mailbox."""
        for number in range(rounds):
            self.command(r"STORE 1 +FLAGS (\Flagged)")
            self.command(f"STORE 1 +FLAGS ($word{self.name}{number})")
            self.command(r"STORE 1 -FLAGS.SILENT (\Flagged)")
            self.command(r"STORE 1 FLAGS ()")

    def everything(self, box):
        """Each kind of change once or more."""
        self.command(f"CREATE {box}")
        for octets in (300, 5000, 300_000, LARGE):
            self.append(box, octets)
        self.connection.must(f"SELECT {box}")
        self.flags(3)
        self.command(f"CREATE {box}copy")
        self.command(f"COPY 1:2 {box}copy")
        self.command(f"MOVE 1 {box}copy")
        self.command(r"STORE 1 +FLAGS (\Deleted)")
        self.command("EXPUNGE")
        self.command(f"SUBSCRIBE {box}")
        self.command(f"RENAME {box}copy {box}other")
        self.command(f"UNSUBSCRIBE {box}")
        self.command(f"DELETE {box}other")


def deliver(address, user, name, count, octets=300):
    """LMTP deliveries; gives what was acknowledged."""
    done = []
    connection = wire.Lmtp(address)
    port = connection.socket.getsockname()[1]
    for number in range(count):
        mark = f"m{name}{number}z"
        answers = connection.deliver("a@example.org", [user], body(mark, octets))
        if answers[user][0] != 250:
            raise wire.WireError(f"LMTP answered {answers}")
        done.append(Sent(port, f"LMTP delivery of {octets} octets", f"{mark}-tail", "250 ", marks(mark)))
    connection.close()
    return done


def printable(text):
    """A command without its argument lists, for a line of output."""
    return re.sub(r"\s+", " ", text)[:60]
