#!/usr/bin/env python3
"""kill -9 under mixed load, again and again; nothing acknowledged may be lost.

Workers append, flag, move, expunge and deliver; at a number of acknowledgements
that the seed chooses the server is killed, or one of its nodes, over which the
workers are spread. After each restart:

- every acknowledged change is there, and every message is in one mailbox only;
- UIDVALIDITY stands, UIDNEXT and HIGHESTMODSEQ are not lower than ever told;
- no mod-sequence is given to two changes, before or after;
- the restart took less than a second.
"""

import argparse
import random
import re
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import mailboxes, report, server, wire  # noqa: E402
from ledger import Ledger, Told  # noqa: E402

WORKERS = 8
SHARED = "user20"
RESTART_SECONDS = 1.0


def main():
    """Crash `--times` times and judge each restart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"crash: {arguments.times} times kill -9 under {WORKERS} workers, seed {arguments.seed}")
    outcome = report.Report("crash")
    chance = random.Random(arguments.seed)
    ledgers, told, restarts = [Ledger(n) for n in range(WORKERS)], Told(), []
    with server.start() as running:
        prepare(running, ledgers)
        numbers = shared_numbers(running)
        for turn in range(arguments.times):
            stop = threading.Event()
            acknowledged, threads = load(running, ledgers, told, chance.randrange(50, 400), chance.random(), stop)
            victim = chance.choice(running.nodes)
            victim.kill()
            stop.set()
            for thread in threads:
                thread.join()
            victim.run()
            restarts.append(victim.start_seconds)
            numbers = judge(outcome, running, ledgers, told, numbers, f"crash {turn + 1}, {acknowledged} acknowledged")
        outcome.note(f"{told.acknowledged} changes acknowledged in all, {len(told.changes)} in the shared mailbox")
    outcome.check(not told.twice, f"no mod-sequence was given to two of {len(told.changes)} changes", told.twice[:3])
    outcome.check(max(restarts) < RESTART_SECONDS,
                  f"every restart took less than a second (at most {max(restarts):.3f} s)")
    outcome.finish()


def prepare(running, ledgers):
    """Mailboxes for each worker, and one message a worker in the shared one."""
    for ledger in ledgers:
        connection = wire.Connection(running.imap, f"user{ledger.number + 1}")
        for name in ledger.boxes:
            connection.must(f"CREATE {name}")
        connection.close()
    connection = wire.Connection(running.imap, SHARED)
    for _ in ledgers:
        connection.append("INBOX", b"Subject: shared\r\n\r\nx\r\n")
    connection.close()


def load(running, ledgers, told, target, seed, stop):
    """Let all workers work until `target` changes are acknowledged; they go on until their node is gone or `stop` is set."""
    gate = threading.Condition()
    count = [0]

    def acknowledged():
        with gate:
            count[0] += 1
            told.acknowledged += 1
            if count[0] >= target:
                gate.notify_all()

    threads = []
    for ledger in ledgers:
        node = running.nodes[ledger.number % len(running.nodes)]
        words = (node, ledger, told, random.Random(seed + ledger.number), acknowledged, stop)
        threads.append(threading.Thread(target=work, args=words))
    for thread in threads:
        thread.start()
    with gate:
        if not gate.wait_for(lambda: count[0] >= target, timeout=60):
            raise wire.WireError(f"only {count[0]} of {target} changes were acknowledged in a minute")
    return target, threads


def work(node, ledger, told, chance, acknowledged, stop):
    """One worker: changes until it is stopped, or the node is gone."""
    try:
        own = wire.Connection(node.imap, f"user{ledger.number + 1}")
        shared = wire.Connection(node.imap, SHARED)
        lmtp = wire.Lmtp(node.lmtp)
        own.must(f"SELECT {ledger.home}")
        shared.must("SELECT INBOX (CONDSTORE)")
        learn(own, shared, ledger)
        while not stop.is_set():
            change_own(own, ledger, chance, acknowledged)
            change_shared(shared, ledger, told, chance, acknowledged)
            if chance.random() < 0.3:
                deliver(lmtp, ledger, chance, acknowledged)
    except (OSError, ValueError, wire.WireError):
        return


def learn(own, shared, ledger):
    """UIDs of the worker's own messages, by mark; flags of its shared message."""
    for response in shared.must(f"FETCH {ledger.number + 1} (FLAGS)"):
        fields = wire.fetch_fields(response)
        if fields and fields[0] == ledger.number + 1:
            ledger.shared_flags = set(fields[2])
    box = ledger.boxes[ledger.home]
    box.uids = {mark_of(octets): uid for uid, _, octets in mailboxes.fetch_all(own, ledger.home)}
    own.must(f"SELECT {ledger.home}")


def change_own(own, ledger, chance, acknowledged):
    """Append, flag, move or expunge one message of the worker's own."""
    box = ledger.boxes[ledger.home]
    kind = chance.choice(["append", "append", "flags", "flags", "move", "expunge"])
    if kind == "append" or not box.live:
        mark = f"mark{chance.getrandbits(60):x}"
        ledger.pending = ("append", mark)
        tagged = own.append(ledger.home, message(mark, chance.choice([10, 2000, 60000])))
        box.uids[mark] = int(re.search(r"APPENDUID \d+ (\d+)", tagged).group(1))
    else:
        mark = chance.choice(sorted(box.live))
        uid = box.uids[mark]
        if kind == "flags":
            keyword = f"$v{chance.randrange(6)}"
            ledger.pending = ("flags", mark, keyword)
            own.must(f"UID STORE {uid} FLAGS ({keyword})")
        elif kind == "move":
            ledger.pending = ("move", mark)
            own.must(f"UID MOVE {uid} {ledger.moved}")
        else:
            ledger.pending = ("flags", mark, r"\Deleted")
            own.must(rf"UID STORE {uid} FLAGS (\Deleted)")
            ledger.acknowledge()
            ledger.pending = ("expunge", mark)
            own.must(f"UID EXPUNGE {uid}")
    ledger.acknowledge()
    acknowledged()


def change_shared(shared, ledger, told, chance, acknowledged):
    """One flag change in the mailbox that all share; its MODSEQ is remembered."""
    number = ledger.number + 1
    keyword = f"$k{chance.randrange(50)}"
    sign = "-" if keyword in ledger.shared_flags else "+"
    own = None
    for response in shared.must(f"STORE {number} {sign}FLAGS ({keyword})"):
        fields, modseq = wire.fetch_fields(response), wire.modseq(response)
        if fields and modseq:
            told.seen(modseq)
            own = modseq if fields[0] == number else own
    ledger.shared_flags ^= {keyword}
    told.change(own)
    acknowledged()


def deliver(lmtp, ledger, chance, acknowledged):
    """One LMTP delivery."""
    mark = f"mark{chance.getrandbits(60):x}"
    ledger.pending = ("deliver", mark)
    user = f"user{ledger.number + 9}"
    code, text = lmtp.deliver("a@example.org", [user], message(mark, 500))[user]
    if code != 250:
        raise wire.WireError(f"LMTP: {code} {text}")
    ledger.acknowledge()
    acknowledged()


def message(mark, octets):
    """A message that is known by its subject."""
    return f"Subject: {mark}\r\nFrom: a@example.org\r\n\r\n{'y' * 70}\r\n".encode() + b"z" * octets + b"\r\n"


def mark_of(octets):
    """The mark in a message's subject; trace lines may stand above it."""
    found = re.search(rb"^Subject: (mark[0-9a-f]+)\r\n", octets, re.M)
    return found.group(1).decode() if found else "unmarked"


def judge(outcome, running, ledgers, told, numbers, when):
    """Compare what is there with what was acknowledged; gives the new numbers."""
    faults = []
    for ledger in ledgers:
        connection = wire.Connection(running.imap, f"user{ledger.number + 1}")
        found = {name: {mark_of(o): f for _, f, o in mailboxes.fetch_all(connection, name)} for name in ledger.boxes}
        connection.close()
        faults += ledger.judge(found)
        twice = set(found[ledger.home]) & set(found[ledger.moved])
        faults += [f"in two mailboxes: {sorted(twice)[:3]}"] if twice else []
        ledger.settle(found)
        connection = wire.Connection(running.imap, f"user{ledger.number + 9}")
        there = {mark_of(octets) for _, _, octets in mailboxes.fetch_all(connection, "INBOX")}
        connection.close()
        lost = ledger.delivered - there
        faults += [f"delivered and lost: {sorted(lost)[:3]}"] if lost else []
    now = shared_numbers(running)
    if now["UIDVALIDITY"] != numbers["UIDVALIDITY"] or now["UIDNEXT"] < numbers["UIDNEXT"]:
        faults.append(f"UIDVALIDITY or UIDNEXT went wrong: {numbers} then {now}")
    if now["HIGHESTMODSEQ"] < max(told.highest, numbers["HIGHESTMODSEQ"]):
        faults.append(f"HIGHESTMODSEQ {now['HIGHESTMODSEQ']} is below {told.highest}, which was told")
    told.seen(now["HIGHESTMODSEQ"])
    outcome.check(not faults, f"{when}: all of it is there, numbers never fell "
                  f"(HIGHESTMODSEQ {now['HIGHESTMODSEQ']}, restart {running.start_seconds:.3f} s)", "; ".join(faults[:4]))
    return now


def shared_numbers(running):
    """UIDVALIDITY, UIDNEXT and HIGHESTMODSEQ of the shared mailbox."""
    connection = wire.Connection(running.imap, SHARED)
    untagged = connection.must("SELECT INBOX (CONDSTORE)")
    connection.close()
    return {name: wire.code_number(untagged, name) for name in ("UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ")}


if __name__ == "__main__":
    main()
