#!/usr/bin/env python3
"""curl and Python's imaplib fetch every message; the hashes are those sent in."""

import imaplib
import shutil
import urllib.parse

from client import begin, mailboxes, need, run, server, wire


def main():
    """Fill the account and read it with both clients."""
    need("curl", "curl")
    with server.start(users=1) as running:
        outcome, home = begin("fetch", running)
        taken = mailboxes.fill(running.imap)
        expected = {box: sorted(content) for box, content in taken.items()}
        by_imaplib(outcome, running, expected)
        by_curl(outcome, running, expected, home)
    outcome.finish()


def by_imaplib(outcome, running, expected):
    """FETCH and UID FETCH in ranges, RFC822 and BODY.PEEK[]."""
    host, port = running.imap.rsplit(":", 1)
    client = imaplib.IMAP4(host, int(port))
    client.login("user1", "secret")
    found = {}
    for number, box in enumerate(expected):
        item = "(RFC822)" if number % 2 else "(UID BODY.PEEK[])"
        _, [count] = client.select(f'"{box}"', readonly=True)
        outcome.equal(int(count), len(expected[box]), f"imaplib is told the size of {box}")
        _, data = client.fetch("1:*", item)
        found[box] = sorted(mailboxes.digest(part[1]) for part in data if isinstance(part, tuple))
    outcome.equal(found, expected, f"imaplib reads {sum(map(len, found.values()))} messages, hash for hash")
    client.logout()


def by_curl(outcome, running, expected, home):
    """One transfer per message, by UID, over one connection per mailbox."""
    connection = wire.Connection(running.imap, "user1")
    found = {}
    for number, box in enumerate(expected):
        folder = home / f"box{number}"
        folder.mkdir()
        uids = [uid for uid, _, _ in mailboxes.fetch_all(connection, box)]
        lines = []
        for uid in uids:
            url = f"imap://{running.imap}/{urllib.parse.quote(box)}/;UID={uid}"
            lines += [f'url = "{url}"', f'output = "{folder}/{uid}"']
        (home / "curlrc").write_text("\n".join(lines) + "\n")
        run(["curl", "-sS", "-u", "user1:secret", "-K", home / "curlrc"], home, outcome, f"curl reads {box}")
        found[box] = sorted(mailboxes.digest(path.read_bytes()) for path in folder.iterdir())
        shutil.rmtree(folder)
    outcome.equal(found, expected, f"curl reads {sum(map(len, found.values()))} messages, hash for hash")


if __name__ == "__main__":
    main()
