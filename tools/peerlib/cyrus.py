"""Cyrus IMAP on loopback: IMAP and LMTP in plaintext, passwords in a sasldb.

Its programs insist on the accounts `cyrus` and `mail` and on a log socket that
they may do without; the accounts exist only in the overlay. It needs root.
"""

import os

from . import packages
from .place import PeerError, START_SECONDS, free_port

UID = 64992
MAIL_GID = 8
USERS = 32

IMAPD = """
configdirectory: {folder}/lib
partition-default: {folder}/spool
defaultpartition: default
admins: cyrus
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb2
sasl_mech_list: PLAIN
allowplaintext: yes
autocreate_quota: 0
autocreate_post: yes
unixhierarchysep: yes
altnamespace: yes
virtdomains: off
lmtp_downcase_rcpt: yes
lmtpsocket: {folder}/lmtp.sock
idlesocket: {folder}/idle.sock
notifysocket: {folder}/notify.sock
proc_path: {folder}/proc
servername: localhost
"""

SERVICES = """
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="/usr/lib/cyrus/bin/imapd -C {folder}/imapd.conf" listen="127.0.0.1:{imap}" prefork=2 maxchild=2000
  lmtp cmd="/usr/lib/cyrus/bin/lmtpd -C {folder}/imapd.conf -a" listen="127.0.0.1:{lmtp}" prefork=1 maxchild=20
}}
DAEMON {{
  idled cmd="/usr/lib/cyrus/bin/idled -C {folder}/imapd.conf"
}}
"""


def start(place, settings):
    """Start Cyrus in `place`; it knows no settings."""
    if os.geteuid() != 0:
        raise PeerError("cyrus wants accounts of its own and needs root")
    root = packages.unpacked("cyrus", ["cyrus-imapd", "cyrus-common", "sasl2-bin"])
    folder = place.fresh()
    imap, lmtp = free_port(), free_port()
    (folder / "imapd.conf").write_text(IMAPD.format(folder=folder))
    (folder / "cyrus.conf").write_text(SERVICES.format(folder=folder, imap=imap, lmtp=lmtp))
    for name in ("lib", "spool", "proc", "lib/db", "lib/user", "lib/socket", "lib/log", "lib/msg"):
        (folder / name).mkdir()
    etc = accounts(folder)
    add_users(place, root, etc)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, UID, MAIL_GID)
    master = ["/usr/lib/cyrus/bin/master", "-D", "-C", str(folder / "imapd.conf"),
              "-M", str(folder / "cyrus.conf"), "-p", str(folder / "master.pid")]
    process = place.launch(root, master, etc=etc)
    place.await_greeting(process, f"127.0.0.1:{imap}", b"* OK")
    listeners = {"imap": f"127.0.0.1:{imap}", "lmtp": f"127.0.0.1:{lmtp}"}
    return place.record(process.pid, listeners)


def add_users(place, root, etc):
    """Write the sasldb with the users that every peer has."""
    database = place.folder / "sasldb2"
    script = "; ".join(
        f"printf secret | saslpasswd2 -c -p -f {database} -u localhost user{n}" for n in range(1, USERS + 1)
    )
    process = place.launch(root, ["sh", "-c", script], etc=etc)
    if process.wait(START_SECONDS) != 0:
        raise PeerError(f"saslpasswd2 failed:\n{place.logs()}")


def accounts(folder):
    """A folder with a passwd file that knows Cyrus's account."""
    etc = folder / "etc"
    etc.mkdir()
    passwd = open("/etc/passwd").read()
    if "\ncyrus:" not in passwd:
        passwd += f"cyrus:x:{UID}:{MAIL_GID}::/nonexistent:/usr/sbin/nologin\n"
    (etc / "passwd").write_text(passwd)
    return etc
