"""A plain IMAP connection that shows what goes over the wire.

It sends what it is told and splits what comes back into responses, literals
included. It judges nothing, so that a test sees the server's own words.
"""

import re
import socket

from . import hosts

LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
MODSEQ = re.compile(rb"MODSEQ \((\d+)\)")
TIMEOUT = 60


class WireError(Exception):
    """The peer closed the connection, or said something that is no IMAP."""


def reach(address, timeout):
    """A socket to HOST:PORT, or to HOST:PORT@NAMESPACE as one on that host would have it."""
    place, _, namespace = address.partition("@")
    host, port = place.rsplit(":", 1)
    if not namespace:
        return socket.create_connection((host, int(port)), timeout=timeout)
    with hosts.inside(namespace):
        return socket.create_connection((host, int(port)), timeout=timeout)


class Connection:
    """One connection, logged in when a user is given."""

    def __init__(self, address, user=None, password="secret", timeout=TIMEOUT):
        self.socket = reach(address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb", buffering=1 << 16)
        self.count = 0
        self.greeting = self.response()
        if user is not None:
            self.must(f"LOGIN {user} {password}")

    def close(self):
        """Drop the connection without a word."""
        self.reader.close()
        self.socket.close()

    def send(self, data):
        """Send bytes, or a line of text."""
        self.socket.sendall(data if isinstance(data, bytes) else data.encode() + b"\r\n")

    def response(self):
        """The next response with its literals, without the last CRLF."""
        whole = b""
        while True:
            line = self.reader.readline()
            if not line.endswith(b"\n"):
                raise WireError(f"connection closed after {whole + line!r}")
            whole += line
            literal = LITERAL.search(line)
            if literal is None:
                return whole[:-2]
            size = int(literal.group(1))
            body = self.reader.read(size)
            if len(body) != size:
                raise WireError("connection closed inside a literal")
            whole += body

    def tag(self):
        """A tag not used before on this connection."""
        self.count += 1
        return f"t{self.count}"

    def until(self, tag):
        """Read up to the answer to `tag`: (tagged line, untagged responses)."""
        prefix = tag.encode() + b" "
        untagged = []
        while True:
            response = self.response()
            if response.startswith(prefix):
                return response[len(prefix):].decode("utf-8", "replace"), untagged
            untagged.append(response)

    def command(self, text):
        """Send one command and read its answer."""
        tag = self.tag()
        self.send(f"{tag} {text}")
        return self.until(tag)

    def must(self, text):
        """Like `command`, for what has to be answered OK; gives the untagged."""
        tagged, untagged = self.command(text)
        if not tagged.startswith("OK"):
            raise WireError(f"{text.split()[0]} was answered: {tagged}")
        return untagged

    def append(self, mailbox, message, flags="", must=True):
        """APPEND with a synchronizing literal; gives the tagged line."""
        tag = self.tag()
        self.send(f"{tag} APPEND {mailbox} ({flags}) {{{len(message)}}}")
        first = self.response()
        while first.startswith(b"* "):
            first = self.response()
        if first.startswith(b"+"):
            self.send(message + b"\r\n")
            tagged, _ = self.until(tag)
        else:
            tagged = first.split(b" ", 1)[1].decode("utf-8", "replace")
        if must and not tagged.startswith("OK"):
            raise WireError(f"APPEND to {mailbox} was answered: {tagged}")
        return tagged


def modseq(response):
    """The MODSEQ item of a FETCH response, or None."""
    found = MODSEQ.search(response)
    return int(found.group(1)) if found else None


def code_number(responses, name):
    """The number in the response code `name` (HIGHESTMODSEQ, UIDNEXT, …)."""
    pattern = re.compile(rb"\[" + name.encode() + rb" (\d+)\]")
    for response in responses:
        found = pattern.search(response if isinstance(response, bytes) else response.encode())
        if found:
            return int(found.group(1))
    return None


def fetch_fields(response):
    """(sequence number, uid, flags, body) of one FETCH response; absent parts None."""
    number = re.match(rb"\* (\d+) FETCH ", response)
    if number is None:
        return None
    uid = re.search(rb"UID (\d+)", response)
    flags = re.search(rb"FLAGS \(([^)]*)\)", response)
    body = re.search(rb"(?:BODY\[\]|RFC822) \{(\d+)\}\r\n", response)
    octets = None
    if body:
        octets = response[body.end():body.end() + int(body.group(1))]
        rest = response[:body.start()] + response[body.end() + int(body.group(1)):]
        uid, flags = re.search(rb"UID (\d+)", rest), re.search(rb"FLAGS \(([^)]*)\)", rest)
    return (
        int(number.group(1)),
        int(uid.group(1)) if uid else None,
        set(flags.group(1).decode().split()) if flags else None,
        octets,
    )


class Lmtp:
    """One LMTP connection."""

    def __init__(self, address, timeout=TIMEOUT):
        self.socket = reach(address, timeout)
        self.reader = self.socket.makefile("rb")
        self.reply()
        self.say("LHLO client.example.org")

    def reply(self):
        """One reply, of one or several lines: (code, text)."""
        lines = []
        while True:
            line = self.reader.readline()
            if not line.endswith(b"\n"):
                raise WireError("LMTP connection closed")
            lines.append(line[4:].decode("utf-8", "replace").strip())
            if line[3:4] != b"-":
                return int(line[:3]), "\n".join(lines)

    def say(self, line):
        """Send a line and read one reply."""
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def deliver(self, sender, recipients, message):
        """Deliver once; gives {recipient: (code, text)} in the server's words."""
        answers = {}
        self.say(f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            answers[recipient] = self.say(f"RCPT TO:<{recipient}>")
        accepted = [name for name in recipients if answers[name][0] == 250]
        if not accepted:
            self.say("RSET")
            return answers
        code, text = self.say("DATA")
        if code != 354:
            return answers | {name: (code, text) for name in accepted}
        stuffed = b"\r\n".join(
            b"." + line if line.startswith(b".") else line for line in message.split(b"\r\n")
        )
        end = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        self.socket.sendall(stuffed + end)
        return answers | {name: self.reply() for name in accepted}

    def close(self):
        """Say goodbye without waiting."""
        self.socket.close()
