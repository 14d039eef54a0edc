#!/usr/bin/env python3
"""Every acknowledged change was on the disk before it was acknowledged [H1].

The server runs under strace while clients change things, alone and together.
For each tagged OK and each LMTP 250 the trace must show, before the send began:

- the message's octets written to a body file, and a completed sync of that file
  begun after the write had ended;
- something written to the database's log after the command was received, and a
  completed sync of the log begun after that write;
- when nothing else was going on: no octet in log or body files left unsynced;
- for a body file made anew: a completed sync of its folder after that.
"""

import argparse
import shutil
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import strace  # noqa: E402
import workload  # noqa: E402
from kit import report, server  # noqa: E402

WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
SYNCS = ("fsync", "fdatasync")
SENDS = ("sendto", "sendmsg", "write", "writev")
RECEIVES = ("recvfrom", "recvmsg", "read", "readv")
LOG = "highwater.db-wal"
BODIES = "/bodies/"


def main():
    """Run the workload under strace, then judge the trace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="flag rounds and deliveries of each client")
    arguments = parser.parse_args()
    outcome = report.Report("durability")
    if not outcome.check(shutil.which("strace"), "strace is there", "install the Debian package strace"):
        outcome.finish()
    scratch = server.Scratch("durability-")
    alone, together, calls = record(scratch.path, arguments.rounds)
    outcome.note(f"{len(calls)} calls traced; {len(alone)} changes alone, {len(together)} together")
    judge(outcome, alone, calls, quiet=True)
    judge(outcome, together, calls, quiet=False)
    scratch.remove()
    outcome.finish()


def record(folder, rounds):
    """(changes made one after another, changes made at once, the traced calls)."""
    output = folder / "trace"
    wrapper = ["strace", "-f", "-yy", "-ttt", "-s", "100000", "-e", f"trace={strace.CALLS}", "-o", str(output)]
    data = folder / "data"
    server.Highwater(users=8, data=data).__exit__(None, None, None)
    with server.Highwater(users=0, data=data, wrapper=wrapper) as running:
        client = workload.Changes(running.imap, "user1", "a")
        client.everything("Alone")
        alone = client.done + workload.deliver(running.lmtp, "user2", "b", rounds)
        alone += workload.deliver(running.lmtp, "user2", "c", 2, workload.LARGE)
        client.connection.close()
        together = all_at_once(running, rounds)
    with open(output, encoding="utf-8", errors="replace") as lines:
        return alone, together, strace.read(lines, str(data))


def all_at_once(running, rounds):
    """Four clients on flags, two that append, two that deliver, all together."""
    done, threads = [], []
    shared = workload.Changes(running.imap, "user3", "s")
    shared.append("INBOX")
    for number in range(8):
        work = (flag_work, append_work, deliver_work)[0 if number < 4 else number // 2 - 1]
        threads.append(threading.Thread(target=work, args=(running, number, rounds, done)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def flag_work(running, number, rounds, done):
    """Flag changes on the message that all share."""
    client = workload.Changes(running.imap, "user3", f"f{number}")
    client.connection.must("SELECT INBOX")
    for turn in range(rounds):
        client.command(f"STORE 1 +FLAGS ($own{number}x{turn})")
        client.command(f"STORE 1 -FLAGS ($own{number}x{turn})")
    done.extend(client.done)


def append_work(running, number, rounds, done):
    """Messages into one mailbox."""
    client = workload.Changes(running.imap, "user4", f"p{number}")
    for turn in range(rounds):
        client.append("INBOX", 300 + 3000 * (turn % 3))
    done.extend(client.done)


def deliver_work(running, number, rounds, done):
    """Deliveries to one mailbox."""
    done.extend(workload.deliver(running.lmtp, "user4", f"d{number}", rounds))


def judge(outcome, changes, calls, quiet):
    """One check per rule over all `changes`."""
    faults = {"log": [], "body": [], "name": [], "unsynced": [], "lost": []}
    files = [call for call in calls if not call.port]
    for change in changes:
        asked, answered = find_exchange(change, calls)
        if asked is None or answered is None:
            faults["lost"].append(change.what)
            continue
        before = [call for call in files if call.ended < answered.begun]
        if not log_synced(before, asked.begun):
            faults["log"].append(change.what)
        for mark in change.marks:
            if not body_synced(before, mark):
                faults["body"].append(f"{change.what} ({mark})")
        if change.marks and not names_synced(before):
            faults["name"].append(change.what)
        if quiet and (left := unsynced(before)):
            faults["unsynced"].append(f"{change.what}: {left}")
    when = "alone" if quiet else "together"
    rules = {
        "lost": "is found in the trace with its answer",
        "log": "was answered after a sync that covers its commit",
        "body": "was answered after a sync that covers its message",
        "name": "was answered after the folder of a new body file was synced",
        "unsynced": "left nothing unsynced behind it",
    }
    for rule, words in rules.items():
        if rule == "unsynced" and not quiet:
            continue
        detail = f"{len(faults[rule])} of {len(changes)}: " + "; ".join(faults[rule][:4])
        outcome.check(not faults[rule], f"{when}: each of {len(changes)} changes {words}", detail)


def find_exchange(change, calls):
    """The receive that brought the request and the send that answered it."""
    asked = answered = None
    for call in calls:
        if call.port != change.port or call.result <= 0:
            continue
        if asked is None and call.name in RECEIVES and change.asked in call.data:
            asked = call
        if asked and call.name in SENDS and call.ended > asked.ended and change.answer in call.data:
            answered = call
            break
    return asked, answered


def log_synced(before, since):
    """Whether a log write begun after `since` was followed by a completed sync."""
    writes = [call for call in before if is_write(call, LOG) and call.begun > since]
    syncs = [call for call in before if is_sync(call, LOG)]
    return any(sync.begun > write.ended for write in writes[:1] for sync in syncs)


def body_synced(before, mark):
    """Whether the write that holds `mark` was followed by a sync of its file."""
    write = next((call for call in before if is_write(call, BODIES) and mark in call.data), None)
    if write is None:
        return False
    names = {write.path} | {call.data for call in before if call.name.startswith("rename") and call.path == write.path}
    return any(is_sync(call, BODIES) and call.path in names and call.begun > write.ended for call in before)


def names_synced(before):
    """Whether every new or renamed body file's folder was synced after it."""
    synced = {}
    for call in before:
        if call.name in SYNCS and call.result == 0:
            synced[call.path] = call.begun
    for call in before:
        path = call.path if call.created else call.data if call.name.startswith("rename") else ""
        if BODIES not in path or path.endswith(".tmp"):
            continue
        if synced.get(path.rsplit("/", 1)[0], -1) < call.ended:
            return False
    return True


def unsynced(before):
    """Files of log or bodies with a write that no completed sync covers."""
    dirty = {}
    for call in before:
        if is_write(call, LOG) or is_write(call, BODIES):
            dirty.setdefault(call.path, []).append(call.ended)
        elif call.name.startswith("rename") and call.path in dirty:
            dirty[call.data] = dirty.pop(call.path)
        elif call.name in SYNCS and call.result == 0 and call.path in dirty:
            dirty[call.path] = [ended for ended in dirty[call.path] if ended > call.begun]
    return sorted(path.rsplit("/", 1)[1] for path, left in dirty.items() if left)


def is_write(call, part):
    """A write of at least one octet to a file whose path has `part`."""
    return call.name in WRITES and call.result > 0 and part in call.path


def is_sync(call, part):
    """A completed sync of a file whose path has `part`."""
    return call.name in SYNCS and call.result == 0 and part in call.path


if __name__ == "__main__":
    main()
