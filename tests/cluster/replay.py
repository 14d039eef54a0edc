#!/usr/bin/env python3
"""The dialogues that are in the binary, played against each of the nodes (STORE and NODES, as tests/kit/server.py takes them)."""

import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import report, server  # noqa: E402

SECONDS = 300


def main():
    """One node after the other."""
    outcome = report.Report("replay")
    environment = {**os.environ, "HIGHWATER_PASSWORD": server.PASSWORD}
    with server.start(users=1) as running:
        for number, node in enumerate(running.nodes, 1):
            command = [str(server.binary()), "replay", "--builtin", "--insecure", f"imaps://user1@{node.imaps}"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
            sums = re.findall(r"^(\d+) passed, (\d+) failed, .*$", done.stdout, re.M)
            good = done.returncode == 0 and sums and int(sums[-1][0]) > 0
            what = f"{sums[-1][0]} dialogues" if sums else "the dialogues"
            outcome.check(good, f"node {number}: {what} hold", (done.stdout + done.stderr)[-3000:])
    outcome.finish()


if __name__ == "__main__":
    main()
