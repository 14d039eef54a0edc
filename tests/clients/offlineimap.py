#!/usr/bin/env python3
"""offlineimap (Debian's offlineimap3) mirrors an account to Maildir, both ways.

offlineimap takes each message apart and puts it together again with Python's
email package. Messages which that package itself does not give back unchanged
are not sent through it; their number is printed.
"""

import email
import email.policy

from client import begin, corpus, mailboxes, need, run, server

CONFIGURATION = """
[general]
accounts = account
metadata = {home}/state
ui = quiet
socktimeout = 60

[Account account]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {home}/Mail
sep = .

[Repository far]
type = IMAP
remotehost = {host}
remoteport = {port}
remoteuser = user1
remotepass = secret
ssl = no
starttls = no
auth_mechanisms = PLAIN
maxconnections = 2
"""


def main():
    """Fill, mirror, change both sides, mirror again, compare."""
    need("offlineimap", "offlineimap3")
    with server.start(users=1) as running:
        outcome, home = begin("offlineimap", running)
        kept = [message for message in corpus.messages() if survives(message)]
        outcome.note(f"{len(kept)} of 2000 messages pass through Python's email package unchanged")
        messages = (kept * (2000 // max(len(kept), 1) + 1))[:2000]
        messages = [b"X-Copy: %d\r\n%s" % (n, m) if n >= len(kept) else m for n, m in enumerate(messages)]
        taken = mailboxes.fill(running.imap, messages=messages)
        host, port = running.imap.rsplit(":", 1)
        (home / "rc").write_text(CONFIGURATION.format(host=host, port=port, home=home))
        command = ["offlineimap", "-c", home / "rc", "-o"]
        run(command, home, outcome, "first run ends well")
        folders = {box: home / "Mail" / box.replace("/", ".") for box in taken}
        compare(outcome, running, folders, taken, "after the first run")
        mailboxes.change_server(running.imap, taken)
        mailboxes.change_maildirs(folders, taken)
        run(command, home, outcome, "second run, after changes on both sides, ends well")
        compare(outcome, running, folders, taken, "after changes on both sides")
    outcome.finish()


def survives(message):
    """Whether Python's email package gives the message back octet for octet."""
    policies = [email.policy.SMTP, email.policy.default.clone(linesep="\n", utf8=True)]
    for policy in policies:
        try:
            text = email.message_from_bytes(message.replace(b"\r\n", b"\n"), policy=policy).as_bytes(policy=policy)
        except (ValueError, LookupError, AttributeError, TypeError, IndexError):
            return False
        if text.replace(b"\r\n", b"\n") != message.replace(b"\r\n", b"\n"):
            return False
    return True


def compare(outcome, running, folders, taken, when):
    """Both sides hold exactly the expected octets and flags."""
    mailboxes.compare(outcome, mailboxes.picture(running.imap), mailboxes.maildir_picture(folders), taken, when)


if __name__ == "__main__":
    main()
