#!/usr/bin/env python3
"""Two nodes whose message bodies are in an object store that speaks S3.

What one node takes in the other gives out, in parts as well; a node that is killed in an upload leaves what is collected
after its time; while the store is away messages are refused clearly, and nothing that was acknowledged is lost; a wrong
key, a missing bucket and another bucket are refused at the start.
"""

import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit import objects, report, server, wire  # noqa: E402

SECONDS = 60
LONG = 10 << 20


def message(number, size):
    """One of about so many octets, which do not repeat."""
    octets = random.Random(number).randbytes(size // 2).hex()
    return f"Subject: {number}\r\n\r\n{octets}\r\n".encode()


def within(seconds, holds):
    """Whether it holds before so many seconds have passed."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def main():
    """All checks on one bucket."""
    outcome = report.Report("bodies")
    scratch = server.Scratch("bodies-")
    try:
        with objects.Bucket(scratch.path / "s3") as bucket:
            words = ["--bodies", f"s3://{bucket.name}/bodies"]
            with server.OnPostgres(2, users=1, bodies=words) as running:
                sent = shared(outcome, running, bucket)
                killed(outcome, running, bucket)
                outage(outcome, running, bucket, sent)
                refused(outcome, running, bucket)
    finally:
        scratch.remove()
    outcome.finish()


def fetch(connection, uid, item="BODY.PEEK[]"):
    """The octets of a message, or of a part."""
    (answer,) = connection.must(f"UID FETCH {uid} ({item})")
    return answer


def shared(outcome, running, bucket):
    """Messages of all sizes from one node to the other; the objects of those that were expunged go later."""
    one, other = (wire.Connection(node.imap, "user1") for node in running.nodes)
    sent = [message(number, size) for number, size in enumerate((10, 4000, 300_000, LONG))]
    for octets in sent:
        one.append("INBOX", octets)
    other.must("SELECT INBOX")
    for uid, octets in enumerate(sent, 1):
        outcome.check(octets in fetch(other, uid), f"{len(octets)} octets by the other node")
    part = sent[-1][5_000_000:5_000_100]
    outcome.check(part in fetch(other, 4, "BODY.PEEK[]<5000000.100>"), "a part of a long one")
    outcome.equal(bucket.objects(), 6, "an object for each body, three for the long one")
    for connection in (one, other):
        connection.close()
    return sent


def killed(outcome, running, bucket):
    """A node dies in the middle of an upload: what it left is collected after its time."""
    node = running.others[0]
    before = bucket.objects()
    connection = wire.Connection(node.imap, "user1")
    octets = message(99, LONG)
    connection.send(f"x APPEND INBOX {{{len(octets)}}}")
    connection.response()
    connection.send(octets[:-1000])
    outcome.check(within(SECONDS, lambda: bucket.objects() > before), "an upload is on its way")
    node.kill()
    connection.close()
    node.run()
    outcome.check(bucket.objects() > before, "what it left stays for a day")
    running.database.sql("UPDATE highwater.upload SET at = at - 90000", running.name_of_database)
    node.crash()  # A node looks for what is to be removed soon after its start.
    outcome.check(within(SECONDS, lambda: bucket.objects() == before), "and goes then", str(bucket.objects()))


def outage(outcome, running, bucket, sent):
    """The store is away for a while."""
    connection = wire.Connection(running.imap, "user1")
    connection.must("SELECT INBOX")
    bucket.stop()
    began = time.monotonic()
    answer = connection.append("INBOX", message(50, 1000), must=False)
    took = time.monotonic() - began
    outcome.check(answer.startswith("NO [UNAVAILABLE]"), "a message is refused while it is away", answer)
    outcome.check(took < 40, "within bounds", f"{took:.1f} s")
    outcome.check(str(bucket.name) in answer, "and the answer says what is away", answer)
    connection.must("NOOP")
    connection.must("STORE 1 +FLAGS (\\Seen)")
    bucket.start()
    connection.append("INBOX", message(51, 1000))
    outcome.check(message(51, 1000) in fetch(connection, 5), "what was refused took no UID, the next is taken")
    for uid, octets in enumerate(sent, 1):
        outcome.check(octets in fetch(connection, uid), f"{len(octets)} octets are still there")
    connection.close()


def refused(outcome, running, bucket):
    """What is wrong is said at the start."""
    usual = dict(os.environ)

    def why(address, **environment):
        """What a command says that names this place."""
        os.environ.update(environment)
        try:
            place = ["--store", running.store[1], "--single-database", "--bodies", address]
            server.Highwater.administer(running, "user", "list", place=place)
        except server.ServerError as error:
            return str(error)
        finally:
            os.environ.update(usual)
        return "nothing"

    place = f"s3://{bucket.name}/bodies"
    for what, words, said in (
        ("a wrong key", why(place, AWS_ACCESS_KEY_ID="wrong"), "AWS_ACCESS_KEY_ID"),
        ("a missing bucket", why("s3://missing/bodies"), "no such bucket"),
        ("another prefix", why(f"s3://{bucket.name}/else"), f"say --bodies {place}"),
        ("a store that is away", why(place, AWS_ENDPOINT="http://127.0.0.1:1"), place),
    ):
        outcome.check(said in words, f"{what} is refused", words)


if __name__ == "__main__":
    main()
