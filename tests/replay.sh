#!/usr/bin/env bash
# Plays the dialogues that are in the binary against the binary's own server: all that can be played must hold.
#
#   tests/replay.sh target/release/highwater
set -euo pipefail
highwater=${1:?the binary}
coproc SERVER { exec "$highwater" serve --ephemeral --account replay:secret --exit-with-parent 2>/dev/null; }
read -r -t 30 ready <&"${SERVER[0]}"
address=$(sed -nE 's/^ready .*imaps=([^ ]+).*/\1/p' <<<"$ready")
code=0
out=$(HIGHWATER_PASSWORD=secret timeout 120 "$highwater" replay --builtin --insecure "imaps://replay@$address") || code=$?
kill "$SERVER_PID"
echo "$out"
[ "$code" -eq 0 ] && echo "replay: $(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, .*/\1 passed, \2 failed/p' <<<"$out")"
exit "$code"
