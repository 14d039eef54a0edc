#!/usr/bin/env python3
"""Nodes behind HAProxy, which says with a PROXY header who the client is.

By both versions of the header, in clear text and with TLS passed through: clients are spread over the nodes, a node that
is gone is left out, and the server treats each client by its own address. A connection that should bring a header
and does not is dropped, and a header from elsewhere is refused.
"""

import imaplib
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit import postgres, report, server, wire  # noqa: E402
from peerlib import packages  # noqa: E402

BALANCER = "127.0.0.2"  # where HAProxy connects from; all others here come from 127.0.0.1
CONFIG = f"""
[listen]
balancers = ["{BALANCER}"]
[log]
level = "debug"
"""
SECONDS = 20


class HaProxy:
    """HAProxy before the IMAP and IMAPS doors of some nodes."""

    def __init__(self, folder, nodes, version):
        self.imap, self.imaps = (f"127.0.0.1:{postgres.free_port()}" for _ in range(2))
        send = {1: "send-proxy", 2: "send-proxy-v2"}[version]
        lines = [
            "defaults", " mode tcp", " timeout connect 5s", " timeout client 60s", " timeout server 60s",
            " retries 3", " option redispatch",
        ]
        for name, door in (("imap", self.imap), ("imaps", self.imaps)):
            lines += [f"listen {name}", f" bind {door}", " balance roundrobin"]
            for number, node in enumerate(nodes):
                lines.append(f" server n{number} {getattr(node, name)} {send} source {BALANCER} check inter 300 fall 1")
        file = Path(folder) / f"haproxy-{version}.cfg"
        file.write_text("\n".join(lines) + "\n")
        root = packages.unpacked("haproxy", ["haproxy"])
        libraries = f"{root}/usr/lib/x86_64-linux-gnu"
        self.process = subprocess.Popen(
            [str(root / "usr/sbin/haproxy"), "-db", "-f", str(file)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )

    def __enter__(self):
        within(SECONDS, lambda: wire.Connection(self.imap).close())
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def within(seconds, attempt):
    """Try until it works; the last error when it never does."""
    until = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except (OSError, wire.WireError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def main():
    """All checks on three nodes."""
    outcome = report.Report("balancer")
    scratch = server.Scratch("balancer-")
    config = scratch.path / "node.toml"
    config.write_text(CONFIG)
    try:
        with server.OnPostgres(3, users=2, arguments=["--config", str(config)]) as running:
            for version in (1, 2):
                with HaProxy(scratch.path, running.nodes, version) as balancer:
                    spread(outcome, running, balancer, version)
            headers(outcome, running)
            with HaProxy(scratch.path, running.nodes, 2) as balancer:
                loss(outcome, running, balancer)
    finally:
        scratch.remove()
    outcome.finish()


def spread(outcome, running, balancer, version):
    """What one client writes by one node, the next reads by another; TLS goes through."""
    before = [logins(node) for node in running.nodes]
    context = ssl.create_default_context(cafile=None)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = balancer.imaps.rsplit(":", 1)
    subjects = set()
    for number in range(6):
        with imaplib.IMAP4_SSL(host, int(port), ssl_context=context) as client:
            client.login("user1", server.PASSWORD)
            subject = f"v{version} {number}"
            client.append("INBOX", None, None, f"Subject: {subject}\r\n\r\n".encode())
            subjects.add(subject)
        with imaplib.IMAP4(*balancer.imap.rsplit(":", 1)) as client:
            client.login("user1", server.PASSWORD)
            client.select("INBOX")
            _, (found,) = client.search(None, "SUBJECT", f'"v{version} "')
            outcome.equal(len(found.split()), len(subjects), f"version {version}: {number + 1} messages by another node")
    served = [after - count for after, count in zip(map(logins, running.nodes), before)]
    outcome.equal(sum(served), 12, f"version {version}: twelve logins, from the clients' own address")
    outcome.check(all(served), f"version {version}: on every node", str(served))


def logins(node):
    """Logins from this machine's first address that a node wrote down."""
    log = node.log.read_text(errors="replace")
    return sum("logged in" in line and "127.0.0.1:" in line for line in log.splitlines())


def headers(outcome, running):
    """What the header says is believed of the balancer only."""
    def greet(header, source):
        """What a node says to who begins like this."""
        plain = wire.socket.create_connection(address, timeout=SECONDS, source_address=(source, 0))
        with plain, plain.makefile("rb") as reader:
            plain.sendall(header + b"a CAPABILITY\r\n")
            try:
                return reader.readline() + reader.readline()
            except ConnectionResetError:
                return b""

    host, port = running.imap.rsplit(":", 1)
    address = (host, int(port))
    far = greet(b"PROXY TCP4 192.0.2.7 127.0.0.1 4242 143\r\n", BALANCER)
    outcome.check(b"LOGINDISABLED" in far, "who comes from afar may not log in without TLS", repr(far))
    near = greet(b"PROXY TCP4 127.0.0.9 127.0.0.1 4242 143\r\n", BALANCER)
    outcome.check(b"OK" in near and b"LOGINDISABLED" not in near, "who comes from this machine may", repr(near))
    outcome.equal(greet(b"a NOOP of more than 15\r\n", BALANCER), b"", "a balancer that sends no header is not served")
    forged = greet(b"PROXY TCP4 127.0.0.9 127.0.0.1 4242 143\r\n", "127.0.0.1")
    outcome.check(b"BAD" in forged, "a header from elsewhere is no command", repr(forged))


def loss(outcome, running, balancer):
    """A node dies: its clients come back to another."""
    running.others[0].kill()

    def login():
        connection = wire.Connection(balancer.imap, "user2")
        connection.must("SELECT INBOX")
        connection.close()

    for _ in range(6):
        within(SECONDS, login)
    outcome.check(True, "with a node dead, six clients of six are served by the others")
    running.others[0].run()


if __name__ == "__main__":
    main()
