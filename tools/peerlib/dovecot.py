"""Dovecot on loopback: IMAP and LMTP in plaintext, without any rights."""

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
ssl = no
disable_plaintext_auth = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_process_limit = 300
default_client_limit = 2000
mail_location = {storage}:~/{storage}
mail_fsync = {fsync}
mail_max_userip_connections = 300
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
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
"""


def start(place, settings):
    """Start Dovecot in `place`; settings: storage, fsync."""
    root = packages.unpacked("dovecot", PACKAGES)
    folder = place.fresh()
    user, uid, gid = service_user()
    imap, lmtp = free_port(), free_port()
    text = CONFIGURATION.format(
        folder=folder, user=user, group=group_name(gid), uid=uid, gid=gid, imap=imap, lmtp=lmtp,
        storage=settings.get("storage", "sdbox"), fsync=settings.get("fsync", "optimized"),
    )
    (folder / "dovecot.conf").write_text(text)
    users = "".join(f"user{n}:secret\n" for n in range(1, USERS + 1))
    (folder / "users").write_text(users)
    (folder / "mail").mkdir()
    own(folder)
    return run(place, root, {"imap": f"127.0.0.1:{imap}", "lmtp": f"127.0.0.1:{lmtp}"})


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
