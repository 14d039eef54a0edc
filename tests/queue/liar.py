#!/usr/bin/env python3
"""Workers on a server that lies to losers: jobs may be run twice then, and are acknowledged once.

A proxy before Highwater (tests/doctor/liar.py) tells losers of a claim what a winner is
told: a FETCH with their own marks and a later mod-sequence, and a plain OK. No client can
see through that when it is told; the job is run by two. What cannot be forged so is the
acknowledgement, which the server grants on condition of the state that it really has:
one of the two is refused. `highwater doctor` finds such a server (tests/doctor/verdicts.py).
"""

import argparse
import collections
import re
import sys
import time

import chaos
from chaos import server

sys.path.insert(0, str(server.CHECKOUT / "tests" / "doctor"))

import liar  # noqa: E402


MARKS = re.compile(rb"(\$q\d ?){5}")


class ClaimLiar(liar.Liar):
    """Lies about writes that leave a worker's five marks and nothing else: claims, and some renewals."""

    def is_to_lie(self, claim):
        """Every loser of such a write."""
        if not MARKS.fullmatch(claim[2]):
            return False
        with self.lock:
            self.lies.append(claim)
        return True


def main():
    """Put jobs, let workers race for them through the liar, and read the ledgers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=120, help="how long all may take")
    arguments = parser.parse_args()
    outcome = chaos.report.Report("liar")
    scratch = server.Scratch("liar-")
    try:
        with server.Highwater(users=1) as running, ClaimLiar(running.imap, 1, 1) as lying:
            run(outcome, running, lying, scratch.path, arguments)
    finally:
        scratch.remove()
    outcome.finish()


def run(outcome, running, lying, folder, arguments):
    """The whole of it."""
    direct = f"imap://user1@{running.imap}/{chaos.MAILBOX}"
    chaos.queue("init", direct, "--lease", "2s", "--max-attempts", "15", "--backoff", "200ms..1s")
    put = set(chaos.put_jobs(direct, arguments.jobs))
    (folder / "ledger").touch()
    url = f"imap://user1@{lying.here}/{chaos.MAILBOX}"
    workers = [chaos.Worker(number, url, folder, slots=1) for number in range(arguments.workers)]
    try:
        left = chaos.wait_until_empty(direct, workers, time.monotonic() + arguments.seconds)
        codes = [worker.stop() for worker in workers]
    finally:
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
    acked, lost = collections.Counter(), collections.Counter()
    for event in chaos.read_events(folder):
        {"acked": acked, "lost": lost}.get(event["event"], collections.Counter())[event.get("uid")] += 1
    lied = {int(uid) for uid, _, _ in lying.lies}
    outcome.equal(codes, [0] * len(workers), "every worker ended when asked to")
    outcome.equal({state: count for state, count in left.items() if count}, {}, "the queue is empty, and nothing is dead")
    outcome.check(len(lied) > 0, f"{len(lying.lies)} losers of {len(lied)} jobs were told that they had won")
    outcome.equal(acked, collections.Counter(put), "each job was acknowledged once")
    outcome.check(sum(lost.values()) > 0, f"{sum(lost.values())} who believed the lie were refused")


if __name__ == "__main__":
    main()
