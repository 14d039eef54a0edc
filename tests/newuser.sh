#!/usr/bin/env bash
# What a new user does from the README alone: start the server, log in with curl
# and with Python's imaplib, bring in a real mbox and a real Maildir, then list,
# search, fetch and store. Prints what it checked and "N passed, N failed".
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
highwater=${HIGHWATER_BIN:-$target/release/highwater}
mkdir -p "$here/.cache/scratch"
scratch=$(mktemp -d "$here/.cache/scratch/newuser-XXXXXX")
server=
passed=0
failed=0

finish() {
    if [ -n "$server" ]; then kill -TERM "$server" 2>/dev/null || true; wait "$server" || true; fi
    rm -rf "$scratch"
}
trap finish EXIT

check() { # WHAT COMMAND...: one check
    local what=$1
    shift
    if "$@" >"$scratch/out" 2>&1; then
        passed=$((passed + 1))
        echo "  ok    $what"
    else
        failed=$((failed + 1))
        echo "  FAIL  $what"
        sed 's/^/        /' "$scratch/out" | tail -15
    fi
}

serve() { # start the server and wait for its ready line
    mkfifo "$scratch/said"
    "$highwater" serve --data "$scratch/data" --imap 127.0.0.1:0 --imaps 127.0.0.1:0 --lmtp 127.0.0.1:0 \
        >"$scratch/said" 2>"$scratch/log" &
    server=$!
    while read -r line; do
        echo "$line" >>"$scratch/stdout"
        case $line in ready*) ready=$line && break ;; esac
    done <"$scratch/said"
    imap=$(sed -n 's/.* imap=\([^ ]*\).*/\1/p' <<<"${ready:-}")
    [ -n "$imap" ]
}

make_mail() { # a real mbox and a real Maildir from the corpus
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here/tests" python3 - "$scratch" <<'PYTHON'
import mailbox, sys
from kit import corpus
folder = sys.argv[1]
messages = corpus.messages(150)
box = mailbox.mbox(folder + "/mail.mbox")
for message in messages[:100]:
    box.add(message.replace(b"\r\n", b"\n"))
box.flush()
maildir = mailbox.Maildir(folder + "/Maildir")
for number, message in enumerate(messages[100:]):
    entry = mailbox.MaildirMessage(message.replace(b"\r\n", b"\n"))
    entry.set_subdir("cur")
    entry.set_flags("S" if number % 2 else "FS")
    maildir.add(entry)
PYTHON
}

password() { # the demo account's password, shown once at the first start
    cat "$scratch/log" "$scratch/stdout" | awk '/password is/ { next_word = 1; next } next_word && NF { print $1; exit }'
}

ask() { # COMMAND: one IMAP command through curl on INBOX
    curl -sS --max-time 30 -u "alice:wonderland" --url "imap://$imap/$2" -X "$1"
}

with_imaplib() {
    python3 - "$imap" <<'PYTHON'
import imaplib, sys
host, port = sys.argv[1].rsplit(":", 1)
client = imaplib.IMAP4(host, int(port))
client.login("alice", "wonderland")
kind, [count] = client.select("INBOX")
assert kind == "OK" and int(count) == 50, count
kind, [found] = client.search(None, "FLAGGED")
assert len(found.split()) == 25, found
kind, data = client.store("1", "+FLAGS", r"(\Answered)")
assert kind == "OK" and b"\\Answered" in data[0], data
kind, data = client.fetch("1", "(FLAGS BODY.PEEK[HEADER])")
assert kind == "OK" and b"\\Answered" in data[0][0], data
client.logout()
PYTHON
}

counts() { # MAILBOX NUMBER: how many messages it holds
    ask "STATUS $1 (MESSAGES)" "" | grep -q "MESSAGES $2)"
}

check "the server starts and says where it listens" serve
if [ -z "${imap:-}" ]; then
    tail -5 "$scratch/log"
    echo "newuser: $passed passed, $failed failed"
    exit 1
fi
check "the demo account's password was printed" test -n "$(password)"
check "demo logs in with it" curl -sS --max-time 30 -u "demo:$(password)" "imap://$imap/"
check "an account is added while the server runs" \
    bash -c "printf 'wonderland\n' | '$highwater' user add alice --password-stdin --data '$scratch/data'"
check "curl logs in and lists" bash -c "curl -sS -u alice:wonderland imap://$imap/ | grep -q INBOX"
check "real mail is at hand" make_mail
check "a Maildir goes in" "$highwater" import --data "$scratch/data" --user alice "$scratch/Maildir"
check "an mbox goes in" "$highwater" import --data "$scratch/data" --user alice --mailbox Old "$scratch/mail.mbox"
check "INBOX has the 50 messages of the Maildir" counts INBOX 50
check "Old has the 100 messages of the mbox" counts Old 100
check "the same mbox again brings nothing twice" bash -c "
    '$highwater' import --data '$scratch/data' --user alice --mailbox Old '$scratch/mail.mbox'"
check "Old still has 100 messages" counts Old 100
check "curl searches" bash -c "curl -sS -u alice:wonderland 'imap://$imap/Old' -X 'SEARCH ALL' | grep -q 'SEARCH 1 2'"
check "curl fetches a message" bash -c "curl -sS -u alice:wonderland 'imap://$imap/Old/;MAILINDEX=1' | grep -qi '^subject:\|^from:'"
check "imaplib selects, searches, stores and fetches" with_imaplib
check "the account is listed" bash -c "'$highwater' user list --data '$scratch/data' | grep -q alice"
check "the server ends with 0 when asked to" bash -c "kill -TERM $server"
code=0
wait "$server" || code=$?
server=
check "its exit code is 0" test "$code" -eq 0
echo "newuser: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
