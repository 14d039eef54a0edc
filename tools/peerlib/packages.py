"""Fetch Debian packages by name and unpack them into a folder of their own.

Nothing is installed: `apt-get -s install` tells which packages this machine
lacks, `apt-get download` fetches them, `dpkg -x` unpacks them. Packages of mail
transport agents that others only recommend by dependency are left out, since
nothing here ever starts them.
"""

import os
import shutil
import subprocess

from .place import PeerError, cache_folder

NEVER = ("exim4",)


def unpacked(name, packages):
    """The root folder that holds `packages` and what they need; fetched once."""
    root = cache_folder() / "packages" / name
    if (root / "complete").is_file():
        return root
    shutil.rmtree(root, ignore_errors=True)
    archives = root / "archives"
    archives.mkdir(parents=True)
    wanted = missing(packages)
    fetch(wanted, archives)
    for archive in sorted(archives.glob("*.deb")):
        run(["dpkg", "-x", str(archive), str(root)])
    merge_usr(root)
    shutil.rmtree(archives)
    (root / "complete").write_text("\n".join(wanted) + "\n")
    return root


def missing(packages):
    """`packages` and those of their dependencies that this machine lacks."""
    answer = simulate(packages)
    if answer.returncode != 0 and os.geteuid() == 0:
        run(["apt-get", "-q", "update"])
        answer = simulate(packages)
    if answer.returncode != 0:
        raise PeerError(
            f"apt-get knows no way to {', '.join(packages)}; run 'apt-get update' as root first\n"
            f"{answer.stderr.strip()}"
        )
    names = [line.split()[1] for line in answer.stdout.splitlines() if line.startswith("Inst ")]
    names = [name for name in names if not name.startswith(NEVER)]
    return sorted(set(names) | set(packages))


def simulate(packages):
    """What apt-get would install for `packages`."""
    command = ["apt-get", "-s", "--no-install-recommends", "install", *packages]
    return subprocess.run(command, capture_output=True, text=True, env=plain_locale())


def fetch(names, archives):
    """Download `names` into the folder `archives`, refreshing old lists once."""
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names]
    first = subprocess.run(command, cwd=archives, capture_output=True, text=True)
    if first.returncode == 0:
        return
    if os.geteuid() != 0:
        raise PeerError(f"apt-get download failed:\n{first.stderr.strip()}")
    run(["apt-get", "-q", "update"])
    run(command, cwd=archives)


def merge_usr(root):
    """Put /lib, /bin and /sbin of old packages below /usr, as Debian itself does."""
    for name in ("lib", "bin", "sbin"):
        old = root / name
        if old.is_dir():
            shutil.copytree(old, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(old)
    (root / "etc").mkdir(exist_ok=True)


def run(command, cwd=None):
    """Run `command`; its own words are the error when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=plain_locale())
    if done.returncode != 0:
        raise PeerError(f"{' '.join(command[:4])} … failed:\n{done.stderr.strip()}")
    return done.stdout


def plain_locale():
    """The environment with messages in English, since they are read here."""
    return {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
