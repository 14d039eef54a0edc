#!/usr/bin/env python3
"""Workers that are killed and frozen, a server that is killed, lines that are cut: each job is acknowledged once.

Every worker speaks through a proxy that cuts its connections in the middle of what the
server says. Meanwhile workers get SIGKILL, or SIGSTOP for longer than a lease and then
SIGCONT, and the server gets SIGKILL, with all its processes, and is started again on its data.
With PEER=dovecot the same program runs against that.

The handlers write a ledger of who ran which job with which token, the workers one of
events. At the end: the queue is empty, no job was run by nobody, none was acknowledged
twice, none was begun with a token above the one of its acknowledgement, and whoever was
frozen for longer than a lease acknowledged nothing that somebody else had taken over.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import proxy, report, server  # noqa: E402

HANDLER = Path(__file__).resolve().parent / "handler"
LEASE = 2.0
MAILBOX = "Jobs"
MANY = 2000  # so many jobs that somebody holds one whatever moment a bad thing happens at


class Worker:
    """One `queue work` process after the other, and what they have said."""

    def __init__(self, number, url, folder, slots=2):
        self.number, self.url, self.folder, self.slots = number, url, folder, slots
        self.starts = 0
        self.process = None
        self.frozen_until = None
        self.start()

    def start(self):
        """Start a process, its events in a file of its own."""
        self.starts += 1
        events = self.folder / f"events-{self.number}-{self.starts}"
        environment = {**os.environ, "HIGHWATER_PASSWORD": server.PASSWORD, "LEDGER": str(self.folder / "ledger")}
        command = [str(server.binary()), "queue", "work", self.url, "-n", str(self.slots), "--json", "--patience", "5s",
                   "--max-attempts", "15", "--backoff", "200ms..1s", "--", str(HANDLER)]
        with open(events, "wb") as out, open(self.folder / "errors", "ab") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=environment)

    def kill(self):
        """SIGKILL, and another one in its place."""
        self.thaw()
        self.process.kill()
        self.process.wait()
        self.start()

    def freeze(self, seconds):
        """SIGSTOP for so long."""
        self.process.send_signal(signal.SIGSTOP)
        self.frozen_until = time.monotonic() + seconds

    def thaw(self):
        """SIGCONT if it is frozen."""
        if self.frozen_until is not None:
            self.process.send_signal(signal.SIGCONT)
            self.frozen_until = None

    def look(self):
        """Thaw it when it is time, start it when it has ended by itself."""
        if self.frozen_until is not None and time.monotonic() >= self.frozen_until:
            self.thaw()
        if self.process.poll() is not None:
            self.start()

    def stop(self):
        """Ask it to end, and see that it does."""
        self.thaw()
        self.process.terminate()
        return self.process.wait(60)


def main():
    """Put jobs, let workers and chaos loose on them, and read the ledgers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=40, help="how often something bad happens")
    parser.add_argument("--seconds", type=float, default=600, help="how long all may take")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"queue: {arguments.workers} workers, {arguments.jobs} jobs, {arguments.rounds} bad things, seed {arguments.seed}")
    outcome = report.Report("queue")
    scratch = server.Scratch("queue-")
    try:
        with server.start(users=1) as running, proxy.Proxy(running.imap, arguments.seed, cuts(arguments)) as line:
            run(outcome, running, line, scratch.path, arguments)
    finally:
        scratch.remove()
    outcome.finish()


def cuts(arguments):
    """After how many octets a line is cut: a worker must be able to read the queue once, or nobody begins."""
    return 2000, max(400_000, arguments.jobs * 400)


def run(outcome, running, line, folder, arguments):
    """The whole of it, on a server that runs."""
    direct = f"imap://user1@{running.imap}/{MAILBOX}"
    queue("init", direct, "--lease", f"{int(LEASE * 1000)}ms", "--max-attempts", "15", "--backoff", "200ms..1s")
    put = set(put_jobs(direct, arguments.jobs))
    (folder / "ledger").touch()
    begun = time.monotonic()
    url = f"imap://user1@127.0.0.1:{line.port}/{MAILBOX}"
    workers = [Worker(number, url, folder) for number in range(arguments.workers)]
    done = collections.Counter()
    try:
        wreak(running, workers, done, random.Random(arguments.seed), arguments)
        left = wait_until_empty(direct, workers, begun + arguments.seconds)
        seconds = time.monotonic() - begun
        line.hold.set()
        codes = [worker.stop() for worker in workers]
    finally:
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
    outcome.equal(codes, [0] * len(workers), "every worker ended when asked to")
    taken_over = judge(outcome, put, left, folder)
    if arguments.jobs >= MANY and done["kill"] and done["freeze"]:
        outcome.check(taken_over > 0, f"{taken_over} jobs of the killed and the frozen were taken over")
    outcome.note(f"{running.name}: {len(put) / seconds:.0f} jobs/s; {dict(done)}, {line.cuts} lines cut, {seconds:.0f} s")


def queue(verb, url, *more, **options):
    """Run a queue command; its output."""
    environment = {**os.environ, "HIGHWATER_PASSWORD": server.PASSWORD}
    command = [str(server.binary()), "queue", verb, url, *more]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, **options)
    if done.returncode != 0:
        raise server.ServerError(f"{' '.join(command)}: {done.returncode} {done.stderr.strip()}")
    return done.stdout


def put_jobs(url, count):
    """Put so many jobs; their UIDs."""
    lines = "".join(f"job {number}\n" for number in range(count))
    answer = json.loads(queue("put", url, "--lines", "--json", input=lines))
    return answer["uids"]


def wreak(running, workers, done, chance, arguments):
    """Let bad things happen, one after the other."""
    kinds = ["kill", "freeze", "freeze", "crash"]
    for _ in range(arguments.rounds):
        until = time.monotonic() + chance.uniform(0.1, 0.6)
        while time.monotonic() < until:
            for worker in workers:
                worker.look()
            time.sleep(0.02)
        kind, worker = chance.choice(kinds), chance.choice(workers)
        if kind == "kill":
            worker.kill()
        elif kind == "crash":
            running.crash()
        elif worker.frozen_until is None:
            worker.freeze(LEASE * chance.uniform(1.2, 2.5))
        done[kind] += 1


def wait_until_empty(url, workers, until):
    """Wait until the queue says that it is; what is left in it at the end."""
    while True:
        for worker in workers:
            worker.look()
        try:
            jobs = json.loads(queue("stats", url, "--json"))["jobs"]
        except server.ServerError:
            if time.monotonic() > until:
                raise
            continue  # Dovecot, once killed, may wait for a lock of nobody's for a minute
        if sum(jobs.values()) == 0 or time.monotonic() > until:
            return jobs
        time.sleep(0.3)


def judge(outcome, put, left, folder):
    """Read the ledgers; how many jobs were taken over."""
    events = read_events(folder)
    runs = collections.defaultdict(list)
    for entry in (folder / "ledger").read_text().splitlines():
        uid, token, _ = map(int, entry.split())
        runs[uid].append(token)
    acked = collections.defaultdict(list)
    lost, finished, taken_over = collections.Counter(), set(), 0
    for event in events:
        if event["event"] == "acked":
            acked[event["uid"]].append(event["modseq"])
        elif event["event"] == "claimed":
            taken_over += event["taken_over"]
        elif event["event"] == "lost":
            lost[event["uid"]] += 1
        elif event["event"] == "finished" and event["how"] == "":
            finished.add(event["uid"])
    outcome.equal({state: count for state, count in left.items() if count}, {}, "the queue is empty, and nothing is dead")
    outcome.equal(set(runs), put, "every job was run, and nothing else")
    twice = {uid: tokens for uid, tokens in acked.items() if len(tokens) > 1}
    outcome.equal(twice, {}, "no job was acknowledged twice")
    late = {uid: (runs[uid], tokens) for uid, tokens in acked.items() if max(runs[uid]) >= tokens[0]}
    outcome.equal(late, {}, "no job was begun after it was acknowledged")
    same = {uid: tokens for uid, tokens in runs.items() if len(set(tokens)) < len(tokens)}
    outcome.equal(same, {}, "no two runs had the same token")
    unsaid = put - set(acked)
    outcome.check(unsaid <= finished, f"{len(unsaid)} acknowledged without a word had a handler that succeeded",
                  f"{sorted(unsaid - finished)[:10]}")
    again = sum(len(tokens) - 1 for tokens in runs.values())
    outcome.note(f"{sum(map(len, runs.values()))} runs, {again} again; {sum(lost.values())} results refused or discarded")
    return taken_over


def read_events(folder):
    """All events of all workers; the last line of one that was killed may be cut."""
    events = []
    for path in sorted(folder.glob("events-*")):
        for entry in path.read_text().splitlines():
            try:
                events.append(json.loads(entry))
            except ValueError:
                continue
    return events


if __name__ == "__main__":
    main()
