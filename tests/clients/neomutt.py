#!/usr/bin/env python3
"""neomutt, driven by its own macros: flags, moves and deletes in batch."""

from client import begin, mailboxes, need, run_in_terminal, server, wire

SETTINGS = """
set folder="imap://user1@{imap}/"
set spoolfile="+INBOX"
set imap_user="user1"
set imap_pass="secret"
set imap_authenticators="plain:login"
set ssl_starttls=no
set ssl_force_tls=no
set header_cache="{home}/cache"
set message_cachedir="{home}/bodies"
set imap_condstore=yes
set imap_qresync={qresync}
set confirmappend=no
set delete=yes
set move=no
set quit=yes
set mark_old=no
set wait_key=no
set sleep_time=0
set mbox_type=Maildir
"""
ALL = "<tag-pattern>~A<enter><tag-prefix-cond>"


def main():
    """Each step is one run of neomutt; the server's picture tells what it did."""
    need("neomutt", "neomutt")
    with server.start(users=1) as running:
        outcome, home = begin("neomutt", running)
        mailboxes.fill(running.imap)
        connection = wire.Connection(running.imap, "user1")
        connection.must("CREATE Moved")
        before = picture(connection, "INBOX")
        flag_all(outcome, running, home, connection, before)
        move_seen(outcome, running, home, connection, before)
        delete_some(outcome, running, home, connection)
    outcome.finish()


def mutt(outcome, running, home, box, keys, what):
    """One run: open `box`, press `keys`, save and leave."""
    qresync = "yes" if running.name == "highwater" else "no"
    (home / "rc").write_text(SETTINGS.format(imap=running.imap, home=home, qresync=qresync))
    for folder in ("cache", "bodies"):
        (home / folder).mkdir(exist_ok=True)
    push = f"push '{keys}<sync-mailbox><quit>'"
    run_in_terminal(["neomutt", "-n", "-F", home / "rc", "-f", f"+{box}", "-e", push], home, outcome, what)


def picture(connection, box):
    """{hash: flags} of one mailbox."""
    return {mailboxes.digest(octets): flags for _, flags, octets in mailboxes.fetch_all(connection, box)}


def flag_all(outcome, running, home, connection, before):
    """Set \\Flagged on everything."""
    mutt(outcome, running, home, "INBOX", f"{ALL}<set-flag>!<end-cond>", "flags every message of INBOX")
    after = picture(connection, "INBOX")
    outcome.equal({k: v & {r"\Flagged"} for k, v in after.items()}, {k: frozenset({r"\Flagged"}) for k in before},
                  f"all {len(before)} messages are \\Flagged and none is lost")


def move_seen(outcome, running, home, connection, before):
    """Move what is seen into another mailbox."""
    now = picture(connection, "INBOX")
    seen = {k for k, flags in now.items() if r"\Seen" in flags}
    keys = "<tag-pattern>~R<enter><tag-prefix-cond><save-message>=Moved<enter><end-cond>"
    mutt(outcome, running, home, "INBOX", keys, "moves every read message to Moved")
    outcome.equal(set(picture(connection, "Moved")), seen, f"{len(seen)} messages are in Moved, octet for octet")
    outcome.equal(set(picture(connection, "INBOX")), set(before) - seen, f"{len(before) - len(seen)} stay in INBOX")


def delete_some(outcome, running, home, connection):
    """Delete the answered ones for good."""
    now = picture(connection, "Folder 03")
    gone = {k for k, flags in now.items() if r"\Answered" in flags}
    mutt(outcome, running, home, "Folder 03", "<delete-pattern>~Q<enter>", "deletes every answered message")
    outcome.equal(set(picture(connection, "Folder 03")), set(now) - gone,
                  f"{len(gone)} messages are gone and {len(now) - len(gone)} stay")


if __name__ == "__main__":
    main()
