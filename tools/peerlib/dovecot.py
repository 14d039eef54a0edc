"""Dovecot on loopback: IMAP and LMTP, without any rights; in plaintext unless TLS is asked for."""

import subprocess

from . import packages
from .place import free_port, own, service_user

PACKAGES = ["dovecot-core", "dovecot-imapd", "dovecot-lmtpd"]
USERS = 32

CONFIGURATION = """
protocols = imap lmtp
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
listen = 127.0.0.1
ssl = {ssl}
disable_plaintext_auth = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_process_limit = 2000
default_client_limit = 4000
mail_location = {storage}:~/{storage}
mail_fsync = {fsync}
mail_max_userip_connections = 2000
auth_verbose = yes
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%n {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%n
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  process_min_avail = 2
  service_count = 0
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = {ssl}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
"""

# COMPRESS as well, which is worth most where TLS is.
WITH_TLS = """
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
auth_mechanisms = plain login scram-sha-256
protocol imap {{
  mail_plugins = imap_zlib
}}
"""


def start(place, settings):
    """Start Dovecot in `place`; settings: storage, fsync, tls."""
    root = packages.unpacked("dovecot", PACKAGES)
    folder = place.fresh()
    user, uid, gid = service_user()
    imap, lmtp = free_port(), free_port()
    tls = settings.get("tls") == "yes"
    imaps = free_port() if tls else 0
    text = CONFIGURATION.format(
        folder=folder, user=user, group=group_name(gid), uid=uid, gid=gid, imap=imap, lmtp=lmtp,
        storage=settings.get("storage", "sdbox"), fsync=settings.get("fsync", "optimized"),
        imaps=imaps, ssl="yes" if tls else "no",
    )
    if tls:
        make_certificate(folder)
        text += WITH_TLS.format(folder=folder)
    (folder / "dovecot.conf").write_text(text)
    users = "".join(f"user{n}:secret\n" for n in range(1, USERS + 1))
    (folder / "users").write_text(users)
    (folder / "mail").mkdir()
    own(folder)
    listeners = {"imap": f"127.0.0.1:{imap}", "lmtp": f"127.0.0.1:{lmtp}"}
    if tls:
        listeners["imaps"] = f"127.0.0.1:{imaps}"
    return run(place, root, listeners)


def make_certificate(folder):
    """A certificate of its own for 127.0.0.1, and its key."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem"), "-days", "2",
               "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
               "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)


def crash(place):
    """Kill Dovecot and start it again, on the same files and ports."""
    listeners = place.kill()
    (place.folder / "run" / "master.pid").unlink(missing_ok=True)
    return run(place, packages.unpacked("dovecot", PACKAGES), listeners)


def run(place, root, listeners):
    """Start the process in a folder that is ready."""
    user, _, _ = service_user()
    process = place.launch(root, ["dovecot", "-F", "-c", str(place.folder / "dovecot.conf")], user=user)
    place.await_greeting(process, listeners["imap"], b"* OK")
    return place.record(process.pid, listeners)


def group_name(gid):
    """The name of group `gid`, as Dovecot's configuration wants it."""
    import grp

    return grp.getgrgid(gid).gr_name
