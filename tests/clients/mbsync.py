#!/usr/bin/env python3
"""mbsync (Debian's isync) mirrors an account to Maildir, both ways.

After the first run both sides are equal; then flags are set, messages deleted
and added on both sides, and after the second run each side has all of it. The X-TUID line that mbsync adds to
a message it copies is left out of the comparison. The mechanism is mbsync's own choice.
"""

import re

from client import begin, mailboxes, need, run, server

MARK = re.compile(rb"^X-TUID: [^\r\n]*\r\n", re.M)
CONFIGURATION = """
IMAPAccount account
Host {host}
Port {port}
User user1
Pass secret
SSLType None

IMAPStore far
Account account

MaildirStore near
Path {home}/Mail/
Inbox {home}/Mail/INBOX
SubFolders Verbatim
Flatten .

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
Sync All
SyncState *
"""


def main():
    """Fill, mirror, change both sides, mirror again, compare."""
    need("mbsync", "isync")
    with server.start(users=1) as running:
        outcome, home = begin("mbsync", running)
        taken = mailboxes.fill(running.imap)
        (home / "Mail").mkdir()
        host, port = running.imap.rsplit(":", 1)
        (home / "rc").write_text(CONFIGURATION.format(host=host, port=port, home=home))
        command = ["mbsync", "-c", home / "rc", "-a"]
        run(command, home, outcome, "first run ends well")
        folders = {box: home / "Mail" / box.replace("/", ".") for box in taken}
        if outcome.failed:
            outcome.finish()
        compare(outcome, running, folders, taken, "after the first run")
        mailboxes.change_server(running.imap, taken)
        mailboxes.change_maildirs(folders, taken, clean=without_mark)
        run(command, home, outcome, "second run, after changes on both sides, ends well")
        compare(outcome, running, folders, taken, "after changes on both sides")
        run(command, home, outcome, "third run, with nothing to do, ends well")
        compare(outcome, running, folders, taken, "after a run with nothing to do")
    outcome.finish()


def compare(outcome, running, folders, taken, when):
    """Both sides hold exactly the expected octets and flags."""
    far = mailboxes.picture(running.imap, clean=without_mark)
    near = mailboxes.maildir_picture(folders, clean=without_mark)
    mailboxes.compare(outcome, far, near, taken, when)


def without_mark(octets):
    """The message without the X-TUID line that mbsync gives to what it copies."""
    return MARK.sub(b"", octets, count=1)


if __name__ == "__main__":
    main()
