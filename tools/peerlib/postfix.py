"""Postfix on loopback: takes mail by SMTP and hands all of it to one LMTP server.

Postfix changes users while it runs, so it needs root. Its accounts exist only in
the overlay that its own processes see.
"""

import os
import shutil

from . import packages
from .place import PeerError, free_port

UID, POSTDROP = 64990, 64991

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.{domain}
mydomain = {domain}
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
mydestination =
local_recipient_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_maps =
virtual_alias_maps = {aliases}
virtual_transport = {transport}
virtual_destination_recipient_limit = 50
lmtp_destination_recipient_limit = 50
message_size_limit = 60000000
mailbox_size_limit = 0
disable_dns_lookups = yes
biff = no
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
transport_retry_time = 1s
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_rate_limit = 0
"""

SERVICES = """
{smtp} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def start(place, settings):
    """Start Postfix in `place`; settings: transport, domain, and alias=FROM:TO for an address that stands for another."""
    if os.geteuid() != 0:
        raise PeerError("postfix changes users while it runs and needs root")
    root = packages.unpacked("postfix", ["postfix"])
    folder = place.fresh()
    port = free_port()
    configuration = folder / "conf"
    configuration.mkdir()
    domain = settings.get("domain", "example.org")
    alias, _, to = settings.get("alias", "").partition(":")
    text = MAIN.format(
        folder=folder,
        domain=domain,
        aliases=f"inline:{{ {alias}@{domain}={to}@{domain} }}" if alias else "",
        transport=settings.get("transport", "discard:"),
    )
    (configuration / "main.cf").write_text(text)
    (configuration / "master.cf").write_text(SERVICES.format(smtp=f"127.0.0.1:{port}"))
    for name in ("postfix-files", "dynamicmaps.cf"):
        shipped = root / "etc" / "postfix" / name
        if shipped.is_file():
            shutil.copy(shipped, configuration / name)
    etc = accounts(folder)
    (folder / "queue").mkdir()
    (folder / "data").mkdir()
    os.chown(folder / "data", UID, UID)
    run = f"postfix -c {configuration} check && exec /usr/lib/postfix/sbin/master -c {configuration} -d"
    process = place.launch(root, ["sh", "-c", run], etc=etc)
    place.await_greeting(process, f"127.0.0.1:{port}", b"220")
    return place.record(process.pid, {"smtp": f"127.0.0.1:{port}"})


def accounts(folder):
    """A folder with passwd and group files that know Postfix's accounts."""
    etc = folder / "etc"
    etc.mkdir()
    passwd = open("/etc/passwd").read()
    group = open("/etc/group").read()
    if "\npostfix:" not in passwd:
        passwd += f"postfix:x:{UID}:{UID}::/nonexistent:/usr/sbin/nologin\n"
    for name, gid in (("postfix", UID), ("postdrop", POSTDROP)):
        if f"\n{name}:" not in group:
            group += f"{name}:x:{gid}:\n"
    (etc / "passwd").write_text(passwd)
    (etc / "group").write_text(group)
    return etc
