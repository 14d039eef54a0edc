"""An S3-speaking server of a test's own: s3rver from npm, on loopback, with its objects in a temporary directory.

It tests whose key a request is signed with, and not the signature (version 4). The package is installed by npm into the cache folder, once.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from peerlib.place import cache_folder  # noqa: E402

from .postgres import free_port  # noqa: E402

PACKAGE, VERSION = "s3rver", "3.7.1"
KEY = "S3RVER"  # the one that it knows, and the secret as well
START_SECONDS = 60


def program():
    """The folder of the package; fetched once."""
    root = cache_folder() / "packages" / f"{PACKAGE}-{VERSION}"
    if not (root / "complete").is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(root), f"{PACKAGE}@{VERSION}"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        (root / "complete").touch()
    return root / "node_modules" / ".bin" / PACKAGE


class Bucket:
    """A server with one bucket; `stop` and `start` are an outage of it."""

    def __init__(self, folder, name="mail"):
        self.folder, self.name, self.port = Path(folder), name, free_port()
        self.process = None
        self.start()

    def start(self):
        """Start it on what it has, and wait until it answers."""
        command = [
            "node", str(program()), "-d", str(self.folder), "-a", "127.0.0.1", "-p", str(self.port),
            "--configure-bucket", self.name,
        ]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **quiet)
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise OSError(f"{PACKAGE} does not come up")
            time.sleep(0.05)

    def stop(self):
        """End it; its objects stay."""
        self.process.kill()
        self.process.wait()

    def environment(self):
        """What a node needs to be told."""
        return {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.port}", "AWS_ALLOW_HTTP": "true",
        }

    def objects(self):
        """How many bodies there are: all objects but the mark."""
        files = (self.folder / self.name).rglob("*._S3rver_object")
        return sum(file.name != "highwater._S3rver_object" for file in files)

    def __enter__(self):
        os.environ.update(self.environment())
        return self

    def __exit__(self, *_):
        self.stop()


def answers(port):
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
