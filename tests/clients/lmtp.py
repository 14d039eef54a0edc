#!/usr/bin/env python3
"""Mail comes by LMTP from swaks and from Postfix; nothing of it is lost.

swaks shows each recipient's own answer. Postfix, unpacked by tools/peers, then
delivers real mail to one, several and unknown recipients while the server is
restarted twice, once asked to end and once killed; every message Postfix took
must be there afterwards, and the sender must have been told of the unknown. Of
Highwater's, an address that Postfix maps to a shared mailbox is one of them.
"""

import json
import re
import smtplib
import subprocess
import time

from client import SECONDS, begin, corpus, mailboxes, need, server, wire

COUNT = 240
DOMAIN = "example.org"


def main():
    """Both senders against one server."""
    need("swaks", "swaks")
    with server.start(users=8) as running:
        outcome, home = begin("lmtp", running)
        by_swaks(outcome, running, home)
        settings = [f"transport=lmtp:inet:{running.lmtp}", f"domain={DOMAIN}", "alias=support:shared+Support"]
        with server.Peer("postfix", settings=settings) as postfix:
            by_postfix(outcome, running, postfix)
            if running.name == "highwater":
                to_all(outcome, running, postfix)
    outcome.finish()


def by_swaks(outcome, running, home):
    """One delivery with two known recipients and one unknown."""
    message = corpus.messages()[3]
    (home / "message").write_bytes(message.replace(b"\r\n", b"\n"))
    host, port = running.lmtp.rsplit(":", 1)
    done = subprocess.run(
        ["swaks", "--protocol", "LMTP", "--server", host, "--port", port, "--from", "sender@example.org",
         "--to", "user1,user2,nobody-here", "--data", f"@{home}/message", "--suppress-data"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
    )
    replies = re.findall(r"^<[-~*]+ +(\d{3}) ?(.*)$", done.stdout, re.M)
    accepted = [text for code, text in replies if code == "250"]
    refused = [text for code, text in replies if code == "550"]
    outcome.check(len(refused) == 1 and "5.1.1" in refused[0], "swaks: the unknown recipient is answered 550 5.1.1",
                  done.stdout[-1500:])
    outcome.check(len(accepted) >= 4, "swaks: known recipients are accepted", done.stdout[-1500:])
    for user in ("user1", "user2"):
        found = [octets for _, _, octets in mailboxes.fetch_all(wire.Connection(running.imap, user), "INBOX")]
        outcome.check(len(found) == 1 and message.rstrip(b"\r\n") in found[0], f"swaks: {user} has the message whole")


def by_postfix(outcome, running, postfix):
    """Send, restarting the server meanwhile; then look who has what."""
    messages = corpus.messages(COUNT)
    smtp = smtplib.SMTP(*postfix.smtp.split(":"))
    wanted = {f"user{number}": set() for number in range(1, 9)}
    unknown = 0
    for number, message in enumerate(messages):
        recipients = choose(number)
        marked = b"X-Number: %d\r\n" % number + message
        smtp.sendmail(f"user8@{DOMAIN}", [f"{name}@{DOMAIN}" for name in recipients], marked)
        for name in recipients:
            if name in wanted:
                wanted[name].add(number)
            else:
                unknown += 1
        if number in (COUNT // 3, 2 * COUNT // 3) and running.name == "highwater":
            restart(outcome, running, killed=number > COUNT // 2)
    smtp.quit()
    judge(outcome, running, wanted, unknown)


def to_all(outcome, running, postfix):
    """Mail for the address that stands for a shared mailbox, before and after everyone may post there."""
    running.administer("mailbox", "create", "--shared", "Support")
    before = bounces_of(running)
    smtp = smtplib.SMTP(*postfix.smtp.split(":"))
    smtp.sendmail(f"user8@{DOMAIN}", [f"support@{DOMAIN}"], corpus.messages()[1])
    wait(lambda: bounces_of(running) > before, running)
    outcome.equal(bounces_of(running), before + 1, "Postfix: a shared mailbox that takes no mail is unknown")
    running.administer("mailbox", "acl", "set", "--shared", "Support", "anyone", "p")
    for message in corpus.messages(5):
        smtp.sendmail(f"user8@{DOMAIN}", [f"support@{DOMAIN}"], message)
    smtp.quit()
    wait(lambda: messages_in_support(running) == 5, running)
    outcome.equal(messages_in_support(running), 5, "Postfix: mail for support@ is in Shared/Support")


def messages_in_support(running):
    """How many messages the shared mailbox has."""
    return json.loads(running.administer("mailbox", "list", "--shared", "--json"))["messages"]


def choose(number):
    """The recipients of message `number`: one, several, or some unknown."""
    one = f"user{number % 7 + 1}"
    if number % 10 == 0:
        return [one, f"nobody{number}"]
    if number % 3 == 0:
        return sorted({one, "user1", "user2", f"user{number % 5 + 3}"})
    return [one]


def restart(outcome, running, killed):
    """End the server and start it again at the same addresses."""
    if killed:
        running.kill()
    else:
        running.stop()
    running.run()
    outcome.note(f"restarted after {'SIGKILL' if killed else 'SIGTERM'} in {running.start_seconds:.2f} s")


def judge(outcome, running, wanted, unknown):
    """Wait until everything is there, then count."""
    wait(lambda: complete(*deliveries(running, wanted), wanted, unknown), running)
    found, bounces = deliveries(running, wanted)
    missing = {name: sorted(numbers - set(found[name])) for name, numbers in wanted.items() if numbers - set(found[name])}
    sent = sum(map(len, wanted.values()))
    outcome.check(not missing, f"Postfix: all {sent} deliveries of {COUNT} messages are there", missing)
    strangers = {name: sorted(set(found[name]) - wanted[name]) for name in wanted if set(found[name]) - wanted[name]}
    outcome.check(not strangers, "Postfix: nobody got what was not theirs", strangers)
    outcome.equal(bounces, unknown, f"Postfix: the sender was told of all {unknown} unknown recipients")
    twice = sum(len(numbers) - len(set(numbers)) for numbers in found.values())
    outcome.note(f"{twice} deliveries came twice (LMTP allows it when an answer was lost)")


def complete(found, bounces, wanted, unknown):
    """Whether nothing is outstanding."""
    return bounces >= unknown and all(numbers <= set(found[name]) for name, numbers in wanted.items())


def wait(done, running):
    """Wait until it is done, but not for ever."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not done():
        await_arrival(running)


def await_arrival(running):
    """Wait for news: a change of some INBOX, or two seconds."""
    connection = wire.Connection(running.imap, "user8", timeout=2)
    connection.must("SELECT INBOX")
    connection.send("i IDLE")
    try:
        connection.response()
        connection.response()
    except TimeoutError:
        pass
    connection.close()


def deliveries(running, wanted):
    """({user: [message numbers]}, count of bounces in the sender's INBOX)."""
    found, bounces = {}, 0
    for name in wanted:
        connection = wire.Connection(running.imap, name)
        found[name] = []
        for _, _, octets in mailboxes.fetch_all(connection, "INBOX"):
            header = octets.split(b"\r\n\r\n", 1)[0]
            number = re.search(rb"^X-Number: (\d+)\r\n", header, re.M)
            if number:
                found[name].append(int(number.group(1)))
            elif b"multipart/report" in header:
                bounces += octets.count(b"\r\nStatus: 5.1.1")
        connection.close()
    return found, bounces


def bounces_of(running):
    """How many bounces the sender has."""
    return deliveries(running, ["user8"])[1]


if __name__ == "__main__":
    main()
