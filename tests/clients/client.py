"""What every client script needs: the path to the kit, a program, its output."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from kit import corpus, mailboxes, report, server, wire  # noqa: E402,F401

SECONDS = 300


def need(program, package):
    """The path of `program`; its absence is a failure, never a skip."""
    path = shutil.which(program)
    if path is None:
        print(f"{program} is missing: install the Debian package {package}")
        print("0 passed, 1 failed")
        sys.exit(1)
    return path


def run(command, home, outcome, what, seconds=SECONDS, **options):
    """Run a client with `home` as its home folder; its success is a check."""
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(word) for word in command], env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", timeout=seconds, **options,
    )
    outcome.check(done.returncode == 0, what, f"exit {done.returncode}\n{(done.stdout + done.stderr)[-1500:]}")
    return done.stdout + done.stderr


def run_in_terminal(command, home, outcome, what):
    """Run a client that insists on a terminal; reads its screen until it ends."""
    environment = {**os.environ, "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8", "LINES": "40", "COLUMNS": "120"}
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [str(word) for word in command], env=environment, stdin=terminal, stdout=terminal, stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    screen = b""
    try:
        while chunk := os.read(control, 65536):
            screen = (screen + chunk)[-20000:]
    except OSError:
        pass
    os.close(control)
    code = process.wait(SECONDS)
    outcome.check(code == 0, what, f"exit {code}\n{screen[-1500:]!r}")


def begin(title, account):
    """The report, and a home folder for the client."""
    print(f"{title}: {corpus.describe()}")
    home = account.scratch.path / "home"
    home.mkdir()
    return report.Report(title), home
