#!/usr/bin/env python3
"""This workspace's client library against Highwater and against Dovecot, by TLS.

`cargo run --example tour` does once what the library can: each mechanism that the
server lists, a conditional STORE and its loser, a mirror, IDLE, NOTIFY, COMPRESS
and 20 MB there and back, by imaps and by STARTTLS.
"""

import os
import subprocess

from client import report, run, server

TOUR = ["cargo", "run", "-q", "-p", "highwater-client", "--example", "tour", "--"]
ALWAYS = [
    "PLAIN: logged in",
    "SCRAM-SHA-256: logged in",
    "LOGIN: logged in, by TLS",
    "conditional STORE: one won, the other lost",
    "mirror: has seen it",
    "IDLE: told of an arrival",
    "octets there and back",
]
OWN = {
    "highwater": ["SCRAM-SHA-256-PLUS: logged in"],
    "dovecot": ["NOTIFY: 0 mailboxes", "octets there and back, compressed"],
}


def main():
    """Tour both servers."""
    outcome = report.Report("tour")
    os.environ["HIGHWATER_PASSWORD"] = server.PASSWORD
    with server.start(users=1) as running:
        tour(outcome, running)
    with server.Peer("dovecot", settings=["tls=yes", "fsync=never"]) as running:
        tour(outcome, running)
    outcome.finish()


def tour(outcome, running):
    """By both ports; and with a certificate that is not the server's."""
    for scheme, address in (("imaps", running.imaps), ("imap", running.imap)):
        what = f"{running.name} by {scheme}"
        command = [*TOUR, f"{scheme}://user1@{address}/", running.certificate]
        output = run(command, os.environ["HOME"], outcome, f"{what}: the tour is made")
        for line in ALWAYS + OWN[running.name]:
            outcome.check(line in output, f"{what}: {line}", output[-1500:])
    strange = running.certificate.parent / "strange.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", os.devnull, "-out", str(strange),
         "-subj", "/CN=127.0.0.1"], check=True, capture_output=True,
    )
    command = [str(word) for word in (*TOUR, f"imaps://user1@{running.imaps}/", strange)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    clear = done.returncode != 0 and "127.0.0.1: invalid peer certificate" in done.stderr
    outcome.check(clear, f"{running.name}: another certificate is refused and the host named", done.stderr[-1500:])


if __name__ == "__main__":
    main()
