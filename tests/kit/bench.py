"""Measure servers with `highwater bench`, and put what came of it into docs/performance.md."""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

from . import server

PAGE = server.CHECKOUT / "docs" / "performance.md"
SECONDS_MAX = 3600


def measure(running, workloads=(), secure=False, **options):
    """The report of one run on a server, with TLS if `secure`: `highwater bench --json`. Options are the command's."""
    report = running.scratch.path / "bench.json"
    url = f"imaps://user1@{running.imaps}" if secure else f"imap://user1@{running.imap}"
    if secure:
        options["ca"] = running.certificate
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [
        str(server.binary()), "bench", url, *workloads, "--users", "user{}",
        "--pid", str(running.pid), "--lmtp", running.lmtp, "--json", str(report), *words,
    ]
    environment = {**os.environ, "HIGHWATER_PASSWORD": server.PASSWORD}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=SECONDS_MAX)
    if not report.is_file():
        raise server.ServerError(f"bench on {running.name} ended with {done.returncode}: {done.stderr.strip()}")
    figures = json.loads(report.read_text())
    report.unlink()
    if figures["failed"]:
        raise server.ServerError(f"bench on {running.name}: {figures['failed']}")
    return figures


def rows(report):
    """The rows of a report by workload: the figures of those that have some, why not for the others."""
    return {row["workload"]: row for row in report["rows"]}


def machine():
    """The processor, how many, memory, kernel and file system: one line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) / 1024**2
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(server.CHECKOUT)], capture_output=True, text=True).stdout.strip()
    name = cpu[1] if cpu else platform.machine()
    return f"{name}, {os.cpu_count()} processors, {memory:.0f} GiB, Linux {platform.release()}, {kind}"


def number(value):
    """A figure with as many digits as count."""
    if value is None:
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4 if size else 0
    return f"{value:,.{digits}f}"


def table(head, lines):
    """A Markdown table: the first column is text, others are figures."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, rule, *lines))


def put(name, text, page=PAGE):
    """Replace what stands between the page's marks of this name."""
    begin, end = f"<!-- measured: {name} -->", f"<!-- end: {name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} has no marks {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
