#!/usr/bin/env python3
"""Mail goes from a directory into PostgreSQL and back, and no client notices.

Before, at several moments, what a client would remember is noted; and what each such client is told when it comes back.
Afterwards two nodes on PostgreSQL must tell each the same, word for word, and so must a server on the directory into
which all was brought back. A migration is killed at several moments and run again. What would write over something
is refused.
"""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit import postgres, report, server, wire  # noqa: E402

BOXES = ["INBOX", "Kept", "Kept/Old"]
USERS = ["user1", "user2", "user3"]


def main():
    """There, back, and what is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=300, help="in each account")
    parser.add_argument("--seed", type=int, default=4551)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    outcome = report.Report("migrate")
    scratch = server.Scratch("migrate-")
    database = postgres.Server()
    try:
        source = scratch.path / "source"
        node = [scratch.path / f"node{number}" / "data" for number in range(3)]
        for data in node:
            data.mkdir(parents=True)
        checkpoints, told = {}, {}
        with server.Highwater(users=len(USERS), data=source) as running:
            for user in USERS:
                checkpoints[user] = live(running.imap, user, options.messages, dice)
            share(running)
            told = everything(running.imap, checkpoints)
        store = ["--store", database.database(), "--single-database"]
        there(outcome, source, store, database, options.messages)
        with server.Highwater(users=0, data=node[0], store=store) as one:
            with server.Highwater(users=0, data=node[1], store=store) as two:
                outcome.equal(everything(one.imap, checkpoints), told, "a node tells each client the same")
                outcome.equal(everything(two.imap, checkpoints), told, "another node does")
                refused(outcome, source, store, "stop them", "while nodes run nothing is brought")
        back = scratch.path / "back"
        migrate(outcome, [*place("--from", store), "--to", str(back)], "back into a directory")
        with server.Highwater(users=0, data=back) as running:
            outcome.equal(everything(running.imap, checkpoints), told, "a server on that directory tells each the same")
        changed_since(outcome, source, node[2], store)
        mistaken(outcome, source, scratch.path)
        lost(outcome, source, database)
        damaged(outcome, source, database)
    finally:
        database.remove()
        scratch.remove()
    outcome.finish()


def live(address, user, messages, dice):
    """Mail comes, is marked, copied and expunged; answers what a client remembers of each mailbox at four moments."""
    client = wire.Connection(address, user)
    for name in BOXES[1:]:
        client.must(f"CREATE {name}")
    client.must("ENABLE QRESYNC")
    remembered = []
    for moment in range(4):
        for number in range(messages // 4):
            text = f"Subject: {user} {moment} {number}\r\n\r\n{dice.random()}\r\n" + "x" * dice.randrange(20_000)
            client.must(f"APPEND INBOX {{{len(text)}+}}\r\n{text}")
        client.must("SELECT INBOX")
        for _ in range(messages // 8):
            uid = dice.randrange(1, messages)
            verb = dice.choice(["STORE {} +FLAGS ($k{})", "STORE {} -FLAGS ($k{})", "COPY {} Kept", "MOVE {} Kept/Old"])
            client.must("UID " + verb.format(uid, dice.randrange(5)))
        client.must(f"UID STORE {dice.randrange(1, messages)} +FLAGS (\\Deleted)")
        client.must("EXPUNGE")
        remembered.append({name: numbers(client, name) for name in BOXES})
    client.close()
    return remembered


def numbers(client, name):
    """UIDVALIDITY and HIGHESTMODSEQ."""
    for line in client.must(f"STATUS {name} (UIDVALIDITY HIGHESTMODSEQ)"):
        if line.startswith(b"* STATUS"):
            words = line.rsplit(b"(", 1)[1].rstrip(b")\r\n").split()
            return int(words[1]), int(words[3])
    raise SystemExit(f"no STATUS for {name}")


def share(running):
    """A group, a mailbox below Shared/, rights: all that stands between accounts."""
    running.administer("group", "add", "team", "user1", "user2")
    running.administer("mailbox", "create", "--shared", "Team")
    client = wire.Connection(running.imap, "user1")
    client.must("SETACL Kept user2 lrs")
    client.close()


def everything(address, checkpoints):
    """What a client that remembers is told, what a new one is told, and every message, for each user and mailbox."""
    told = []
    for user, moments in checkpoints.items():
        client = wire.Connection(address, user)
        client.must("ENABLE QRESYNC")
        for name in BOXES:
            for moment in moments:
                validity, since = moment[name]
                told.append((user, name, since, untagged(client, f"SELECT {name} (QRESYNC ({validity} {since}))")))
            told.append((user, name, untagged(client, "UID FETCH 1:* (FLAGS MODSEQ INTERNALDATE BODY.PEEK[])")))
        told.append((user, untagged(client, 'LIST "" * RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT HIGHESTMODSEQ))')))
        told.append((user, untagged(client, 'LIST "" "Shared/*"')))
        told.append((user, untagged(client, "GETACL Kept"), untagged(client, "GETQUOTAROOT INBOX")))
        client.close()
    return told


def untagged(client, command):
    """The untagged answers, but \\Recent, which is a session's own."""
    answers = [line.replace(b"\\Recent ", b"").replace(b" \\Recent", b"") for line in client.must(command)]
    return [line.replace(b"\\Recent", b"") for line in answers if line.startswith(b"* ") and b" RECENT" not in line]


def place(option, store):
    """How a database is named to migrate."""
    return [option, store[1], *store[2:]]


def run(*words):
    """The command, when it has ended."""
    return subprocess.run([str(server.binary()), "migrate", *words], capture_output=True, text=True, timeout=300)


def migrate(outcome, words, what):
    """A migration that comes to its end."""
    done = run(*words)
    outcome.check(done.returncode == 0, f"{what}: {done.stdout.strip()}", done.stderr)


def there(outcome, source, store, database, messages):
    """Into the database; killed with the first message, when a whole account has come, and in the midst of the next."""
    words = ["--from", str(source), *place("--to", store)]
    name = store[1].rsplit("/", 1)[1]
    for moment in ("(SELECT count(*) FROM highwater.body) > 0", "(SELECT count(*) FROM highwater.account) > 0",
                   f"(SELECT count(*) FROM highwater.body) > {messages * 5 // 4}"):
        process = subprocess.Popen([str(server.binary()), "migrate", *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and not is_so(database, moment, name):
            time.sleep(0.005)
        process.kill()
        process.wait()
        early = is_so(database, f"(SELECT count(*) FROM highwater.account) < {len(USERS)}", name)
        outcome.check(process.returncode == -9 and early, "killed on its way", moment)
    migrate(outcome, words, "into the database")
    migrate(outcome, words, "once more, and nothing is left to do")


def is_so(database, condition, name):
    """Whether the condition holds in the database; not as long as its tables are not there."""
    try:
        return database.sql(f"SELECT {condition}", name) == "t"
    except postgres.PostgresError:
        return False


def refused(outcome, source, store, word, what):
    """A migration that must not begin, with the word that says why."""
    done = run("--from", str(source), *place("--to", store))
    outcome.check(done.returncode not in (0, -9) and word in done.stderr, what, done.stderr)


def changed_since(outcome, source, data, store):
    """Mail that came since is not written over."""
    with server.Highwater(users=0, data=data, store=store) as running:
        client = wire.Connection(running.imap, "user2")
        text = "Subject: since\r\n\r\n"
        client.must(f"APPEND INBOX {{{len(text)}+}}\r\n{text}")
        client.close()
    refused(outcome, source, store, "changed since", "an account that has changed since is not written over")
    done = run("--from", str(source), "--to", str(source))
    outcome.check(done.returncode == 2, "a place is not brought to itself", done.stderr)
    done = run("--from", f"{source}-none", *place("--to", store))
    outcome.check(done.returncode == 2 and "no directory" in done.stderr, "a directory that is not there is named", done.stderr)
    done = run("--from", str(source), *place("--to", store), "--account", "zoe")
    outcome.check("no account `zoe`" in done.stderr, "an account that is not there is named", done.stderr)


def mistaken(outcome, source, scratch):
    """What is no place for mail is refused, and nothing is made there."""
    done = run("--from", str(source), "--to", "postgress://me:secret@h/db")
    named = "postgress://h/db" in done.stderr and "secret" not in done.stderr
    outcome.check(done.returncode == 3 and named and not Path("postgress:").exists(), "a scheme that is not known is refused", done.stderr)
    empty = scratch / "empty"
    empty.mkdir()
    done = run("--from", str(empty), "--to", str(scratch / "none"))
    nothing = not any(empty.iterdir()) and not (scratch / "none").exists()
    outcome.check(done.returncode == 2 and "no mail" in done.stderr and nothing, "a directory without mail is left alone", done.stderr)
    (scratch / "same").symlink_to(source)
    done = run("--from", str(source), "--to", str(scratch / "same"))
    outcome.check(done.returncode == 2 and "same place" in done.stderr, "a place under another name is the same", done.stderr)


def lost(outcome, source, database):
    """Octets that are gone from the target are missed by whoever migrates again."""
    store = ["--store", database.database(), "--single-database"]
    words = ["--from", str(source), *place("--to", store)]
    migrate(outcome, words, "into another database")
    name = store[1].rsplit("/", 1)[1]
    database.sql("DELETE FROM highwater.blob WHERE id = (SELECT min(id) FROM highwater.blob)", name)
    done = run(*words)
    named = "the target, body" in done.stderr and "of mailbox `" in done.stderr and "`user" in done.stderr
    outcome.check(done.returncode == 1 and named, "a message that is gone from the target is named", done.stderr)
    outcome.note(done.stderr.strip())


def damaged(outcome, source, database):
    """A message whose octets are damaged is named, and its account does not come."""
    segments = [path for path in source.rglob("*") if path.is_file() and path.suffix not in (".db", ".pem")
                and path.stat().st_size > 100_000 and "db" not in path.name]
    file = max(segments, key=lambda path: path.stat().st_size)
    octets = bytearray(file.read_bytes())
    octets[len(octets) // 2] ^= 0x40
    file.write_bytes(octets)
    store = ["--store", database.database(), "--single-database"]
    done = run("--from", str(source), *place("--to", store))
    named = "the source, body" in done.stderr and "of mailbox `" in done.stderr and "`user" in done.stderr
    outcome.check(done.returncode == 1 and named, "a damaged message is named", done.stderr)
    outcome.note(done.stderr.strip())


if __name__ == "__main__":
    main()
