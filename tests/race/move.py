#!/usr/bin/env python3
"""Many clients move the same messages to different mailboxes: each message ends up in one.

Every client sends `UID MOVE 1:n box<k>` before any answer is read. MOVE takes a
message out of the source and puts it into the target in one step (RFC 6851), so
the copies that exist afterwards are as many as there were messages.

With PEER=dovecot the same program runs against Debian's Dovecot, which makes more;
`--expect more` then asks that it does.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import report, server, wire  # noqa: E402


def main():
    """Fill a mailbox, let every client move all of it, count what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--expect", choices=["same", "more"], default="same")
    arguments = parser.parse_args()
    outcome = report.Report("move")
    with server.start(users=1) as running:
        places = [running.addresses[k % len(running.addresses)] for k in range(arguments.clients)]
        clients = [wire.Connection(place, "user1") for place in places]
        fill(clients[0], arguments.messages)
        for number, client in enumerate(clients):
            client.must(f"CREATE box{number}")
            client.must("SELECT INBOX")
        tags = [client.tag() for client in clients]
        for number, (client, tag) in enumerate(zip(clients, tags)):
            client.send(f"{tag} UID MOVE 1:{arguments.messages} box{number}\r\n".encode())
        for client, tag in zip(clients, tags):
            client.until(tag)
        copies = [count(clients[0], f"box{number}") for number in range(arguments.clients)]
        left = count(clients[0], "INBOX")
        for client in clients:
            client.close()
    made = sum(copies)
    print(f"move: {running.name}: {arguments.clients} clients moved {arguments.messages} messages,"
          f" {made} copies, {left} left, in boxes {copies}")
    if arguments.expect == "same":
        outcome.equal((made, left), (arguments.messages, 0), "each message is moved once")
    else:
        outcome.check(made > arguments.messages, "some messages are moved more than once")
    outcome.finish()


def fill(client, messages):
    """As many small messages in INBOX, a hundred to a command."""
    for start in range(0, messages, 100):
        text = [f"Subject: {number}\r\n\r\n" for number in range(start, min(start + 100, messages))]
        literals = "".join(f" {{{len(one)}+}}\r\n{one}" for one in text)
        client.must(f"APPEND INBOX{literals}")


def count(client, mailbox):
    """How many messages the mailbox has."""
    line = b" ".join(client.must(f"STATUS {mailbox} (MESSAGES)"))
    return int(line.split(b"MESSAGES ")[1].split(b")")[0])


if __name__ == "__main__":
    main()
