#!/usr/bin/env python3
"""imapfilter moves messages by what their headers say.

It takes STARTTLS where it is offered, trusting the server's own certificate file.
"""

from client import begin, mailboxes, need, run, server, wire

SCRIPT = """
options.timeout = 60
options.create = true
options.expunge = true
options.info = false
account = IMAP {{ server = '{host}', port = {port}, username = 'user1', password = 'secret' }}
mime = account['INBOX']:contain_field('Content-Type', 'multipart')
       * account['INBOX']:contain_field('MIME-Version', '1.0')
mime:move_messages(account['Filtered/Multipart'])
lists = account['Archive']:contain_subject('test') + account['Archive']:is_flagged()
lists:mark_seen()
"""


def main():
    """Compute from the octets what must move, let imapfilter do it, compare."""
    need("imapfilter", "imapfilter")
    with server.start(users=1) as running:
        outcome, home = begin("imapfilter", running)
        mailboxes.fill(running.imap)
        connection = wire.Connection(running.imap, "user1")
        before = mailboxes.fetch_all(connection, "INBOX")
        archive = mailboxes.fetch_all(connection, "Archive")
        moved = found(connection, "INBOX", 'HEADER "Content-Type" "multipart" HEADER "MIME-Version" "1.0"')
        seen = found(connection, "Archive", 'OR SUBJECT "test" FLAGGED')
        host, port = running.imap.rsplit(":", 1)
        (home / "rules.lua").write_text(SCRIPT.format(host=host, port=port))
        trust = ["-t", running.data / "certificate.pem"] if running.name == "highwater" else []
        run(["imapfilter", "-c", home / "rules.lua", *trust], home, outcome, "the rules run to their end")
        if outcome.failed == 0:
            judge(outcome, connection, before, archive, moved, seen)
    outcome.finish()


def found(connection, box, criteria):
    """The UIDs that the server's own search names."""
    connection.must(f"EXAMINE {mailboxes.quoted(box)}")
    for response in connection.must(f"UID SEARCH {criteria}"):
        if response.startswith(b"* SEARCH"):
            return {int(word) for word in response.split()[2:]}
    return set()


def judge(outcome, connection, before, archive, moved, seen):
    """What moved is there, what did not is here, and the search was right."""
    by_header = {
        uid for uid, _, octets in before
        if has_field(octets, b"content-type", b"multipart") and has_field(octets, b"mime-version", b"1.0")
    }
    outcome.equal(moved, by_header, f"the server's header search agrees with the octets: {len(moved)} messages")
    there = {mailboxes.digest(octets) for _, _, octets in mailboxes.fetch_all(connection, "Filtered/Multipart")}
    here = {mailboxes.digest(octets) for _, _, octets in mailboxes.fetch_all(connection, "INBOX")}
    outcome.equal(there, {mailboxes.digest(o) for u, _, o in before if u in moved}, f"{len(there)} messages moved")
    outcome.equal(here, {mailboxes.digest(o) for u, _, o in before if u not in moved}, f"{len(here)} stayed")
    now = {uid for uid, flags, _ in mailboxes.fetch_all(connection, "Archive") if r"\Seen" in flags}
    outcome.equal(now, seen | {uid for uid, flags, _ in archive if r"\Seen" in flags}, f"{len(now)} are \\Seen")


def has_field(octets, name, part):
    """Whether some header field `name` contains `part`, whatever the case."""
    header = octets.split(b"\r\n\r\n", 1)[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    fields = [line.split(b":", 1) for line in header.split(b"\r\n") if b":" in line]
    return any(key.strip().lower() == name and part in value.lower() for key, value in fields)


if __name__ == "__main__":
    main()
