"""Fill an account with real mail, change it, and take its picture.

A picture is {mailbox: {hash of a message's octets: its flags}}; two sides are
equal when their pictures are.
"""

import hashlib
import re
from pathlib import Path

from . import corpus, report, wire

BOXES = ["INBOX", "Entw&APw-rfe", "Archive", "Archive/2024", "Archive/2025"]
BOXES += [f"Folder {number:02}" for number in range(1, 16)]
FLAGS = [r"\Seen", r"\Answered", r"\Flagged", r"\Draft"]
LETTERS = {"S": r"\Seen", "R": r"\Answered", "F": r"\Flagged", "D": r"\Draft", "T": r"\Deleted"}


def digest(message):
    """The name of a message in a picture."""
    return hashlib.sha256(message).hexdigest()[:16]


def flags_for(number):
    """A set of flags that varies with the message's number."""
    return {flag for bit, flag in enumerate(FLAGS) if number >> bit & 1}


def quoted(mailbox):
    """A mailbox name as an IMAP string."""
    return f'"{mailbox}"'


def fill(address, user="user1", count=2000, boxes=None, messages=None):
    """Append `count` real messages over the mailboxes; gives the picture."""
    boxes = boxes or BOXES
    connection = wire.Connection(address, user)
    picture = {box: {} for box in boxes}
    for box in boxes:
        if box != "INBOX":
            connection.must(f"CREATE {quoted(box)}")
    per_box = -(-count // len(boxes))
    for number, message in enumerate(messages or corpus.messages(count)):
        box = boxes[number // per_box]
        flags = flags_for(number)
        connection.append(quoted(box), message, " ".join(sorted(flags)))
        picture[box][digest(message)] = frozenset(flags)
    connection.must("LOGOUT")
    return picture


def fetch_all(connection, mailbox):
    """Every message of a mailbox: [(uid, flags, octets)], without \\Recent."""
    connection.must(f"EXAMINE {quoted(mailbox)}")
    found = []
    for response in connection.must("UID FETCH 1:* (UID FLAGS BODY.PEEK[])"):
        fields = wire.fetch_fields(response)
        if fields and fields[3] is not None:
            found.append((fields[1], frozenset(fields[2] - {r"\Recent"}), fields[3]))
    return found


def names(connection):
    """The names of all mailboxes that can be opened."""
    found = []
    for response in connection.must('LIST "" *'):
        line = re.match(rb'\* LIST \(([^)]*)\) (?:"."|NIL) (.*)\Z', response, re.S)
        if line and rb"\Noselect" not in line.group(1) and rb"\NonExistent" not in line.group(1):
            name = line.group(2).split(b"\r\n")[-1]
            found.append(name.strip(b'"').decode())
    return sorted(found)


def picture(address, user="user1", boxes=None, clean=bytes):
    """The account's picture as the server shows it; `clean` undoes a client's own mark."""
    connection = wire.Connection(address, user)
    taken = {}
    for box in boxes or names(connection):
        taken[box] = {digest(clean(octets)): flags for _, flags, octets in fetch_all(connection, box)}
    connection.must("LOGOUT")
    return taken


def maildir_files(folder):
    """The message files of a Maildir: [(path, flags)]."""
    found = []
    for part in ("cur", "new"):
        for path in sorted(Path(folder, part).iterdir()):
            letters = path.name.split(":2,")[1] if ":2," in path.name else ""
            flags = frozenset(LETTERS[letter] for letter in letters if letter in LETTERS)
            found.append((path, flags))
    return found


def maildir_picture(folders, clean=bytes):
    """The picture of {mailbox: Maildir folder}, in wire form (CRLF)."""
    return {
        box: {digest(clean(wire_form(path.read_bytes()))): flags for path, flags in maildir_files(folder)}
        for box, folder in folders.items()
    }


def wire_form(data):
    """The octets of a Maildir file as IMAP sends them."""
    return re.sub(rb"\r?\n", b"\r\n", data)


def change_server(address, taken, user="user1", boxes=None):
    """Flag some messages, expunge some, add some; keeps the picture `taken` true."""
    connection = wire.Connection(address, user)
    for number, box in enumerate(boxes or BOXES[:10]):
        found = fetch_all(connection, box)
        connection.must(f"SELECT {quoted(box)}")
        flagged, gone = found[10:20], found[20:25]
        uids = ",".join(str(uid) for uid, _, _ in flagged)
        connection.must(rf"UID STORE {uids} +FLAGS.SILENT (\Flagged \Seen)")
        connection.must(rf"UID STORE {found[11][0]} -FLAGS.SILENT (\Answered)")
        uids = ",".join(str(uid) for uid, _, _ in gone)
        connection.must(rf"UID STORE {uids} +FLAGS.SILENT (\Deleted)")
        connection.must("EXPUNGE")
        for _, flags, octets in flagged:
            taken[box][digest(octets)] = flags | {r"\Flagged", r"\Seen"}
        second = digest(found[11][2])
        taken[box][second] = taken[box][second] - {r"\Answered"}
        for _, _, octets in gone:
            del taken[box][digest(octets)]
        fresh = new_message("server", number)
        connection.append(quoted(box), fresh, r"\Flagged")
        taken[box][digest(fresh)] = frozenset({r"\Flagged"})
    connection.must("LOGOUT")


def change_maildirs(folders, taken, boxes=None, clean=bytes):
    """The same on the other side, on other messages."""
    letters = {flag: letter for letter, flag in LETTERS.items()}
    for number, box in enumerate(boxes or BOXES[5:15]):
        folder = Path(folders[box])
        files = maildir_files(folder)
        by_hash = {digest(clean(wire_form(path.read_bytes()))): (path, flags) for path, flags in files}
        order = [name for name in taken[box] if name in by_hash]
        for name in order[40:50]:
            path, flags = by_hash[name]
            flags = flags | {r"\Answered", r"\Seen"}
            suffix = "".join(sorted(letters[flag] for flag in flags))
            path.rename(folder / "cur" / f"{path.name.split(':2,')[0]}:2,{suffix}")
            taken[box][name] = flags
        for name in order[50:55]:
            by_hash[name][0].unlink()
            del taken[box][name]
        fresh = new_message("maildir", number)
        (folder / "cur" / f"1700000000.{number}_9.local:2,S").write_bytes(fresh.replace(b"\r\n", b"\n"))
        taken[box][digest(fresh)] = frozenset({r"\Seen"})


def new_message(side, number):
    """A small message that arrives between two runs."""
    return (
        f"From: {side}@example.org\r\nTo: user1@example.org\r\nSubject: new on the {side} side\r\n"
        f"Message-ID: <{side}-{number}@example.org>\r\nDate: Fri, 01 Aug 2025 10:00:00 +0000\r\n\r\n"
        f"message {number}\r\n"
    ).encode()


def compare(outcome, far, near, taken, when):
    """Check that server (`far`) and Maildirs (`near`) are as `taken` expects."""
    for side, found in (("server", far), ("Maildir", near)):
        wrong = [box for box in taken if found.get(box) != taken[box]] + [box for box in found if box not in taken]
        detail = "; ".join(f"{box}: {report.difference(found.get(box, {}), taken.get(box, {}))}" for box in wrong[:2])
        outcome.check(not wrong, f"{when}: the {side} side holds all {total(taken)} messages, octets and flags",
                      f"{len(wrong)} mailboxes differ: {detail}")


def total(taken):
    """How many messages a picture holds."""
    return sum(len(box) for box in taken.values())
