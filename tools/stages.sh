# The stages of ./test: what each is for, its budget in seconds, and how it runs.
# Sourced by ./test; each stage_NAME runs in a shell of its own.
# shellcheck shell=bash disable=SC2034

STAGES=(fmt clippy build unit contract postgres transcripts simulation race queue doctor bench durability crash newuser clients docs faults)
declare -A BUDGET=(
    [fmt]=10 [clippy]=130 [build]=180 [unit]=150 [contract]=40 [postgres]=330 [transcripts]=30 [simulation]=40
    [race]=40 [queue]=60 [doctor]=40 [bench]=80 [durability]=30 [crash]=40 [newuser]=20 [clients]=200 [docs]=40 [faults]=10
)
declare -A PURPOSE=(
    [fmt]="every file is formatted by rustfmt"
    [clippy]="no warning in any target"
    [build]="the server, as users run it"
    [unit]="unit and documentation tests"
    [contract]="the engines on one machine keep the contract"
    [postgres]="the engine on PostgreSQL keeps the contract, and nodes that share it have one winner"
    [transcripts]="the dialogues, in process and against the server, replay --builtin included"
    [simulation]="clients that drop and resync never lose a change"
    [race]="many clients claim one message: one winner; Dovecot has several"
    [queue]="workers that are killed and frozen acknowledge each job once"
    [doctor]="highwater doctor finds what is planted, nothing on Highwater, and leaves nothing behind"
    [bench]="highwater bench has figures of what was done, and an error for a lie"
    [durability]="under strace, nothing is acknowledged before it is synced"
    [crash]="kill -9 under load loses nothing that was acknowledged"
    [newuser]="the README's way, from the first command to a stored flag"
    [clients]="real mail clients and Postfix on 2,000 real messages"
    [docs]="documentation builds, its commands exist, the requirement table holds"
    [faults]="planted faults are noticed (built and run with --long; else: they apply)"
)
CLIENTS=(tour mbsync offlineimap neomutt imapfilter fetch imapflow lmtp)
SEPARATE=" contract transcripts simulation "
APART=highwater-store-postgres # its tests need a server: see stage_postgres
target=${CARGO_TARGET_DIR:-target}

# program, and the Debian package that brings it
NEEDED=(
    mbsync:isync offlineimap:offlineimap3 neomutt:neomutt imapfilter:imapfilter interimap:interimap
    swaks:swaks curl:curl openssl:openssl strace:strace node:nodejs npm:npm python3:python3 cc:gcc
    unshare:util-linux setpriv:util-linux nsenter:util-linux ip:iproute2 pip3:python3-pip
)

missing_packages() {
    local pair names=""
    for pair in "${NEEDED[@]}"; do
        command -v "${pair%%:*}" >/dev/null || names+="${pair#*:} "
    done
    echo "${names% }"
}

install_packages() { # one by one, so that one that cannot be had does not stop the others
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update >/dev/null || return 1
    local package code=0
    for package in "$@"; do
        apt-get -q -y --no-install-recommends install "$package" >/dev/null || code=1
    done
    return $code
}

stage_fmt() { cargo fmt --all --check; }

stage_clippy() { cargo clippy -q --workspace --all-targets -- -D warnings; }

stage_build() { cargo build --release --bin highwater; }

integration_tests() { # the test targets that have no stage of their own
    cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "'$APART'":
        continue
    for target in package["targets"]:
        if "test" in target["kind"]:
            print(target["name"])' | sort -u | while read -r name; do
        [[ $SEPARATE == *" $name "* ]] || printf -- '--test %s ' "$name"
    done
}

stage_unit() {
    # shellcheck disable=SC2046
    cargo test -q --workspace --exclude $APART --lib --bins $(integration_tests) && cargo test -q --workspace --doc
}

stage_contract() { cargo test -q -p highwater-store --test contract; }

postgres_programs() { # the folder of PostgreSQL's programs: installed, or unpacked from Debian's package
    PYTHONPATH=tests python3 -B -c 'from kit import postgres; print(postgres.programs())'
}

stage_postgres() {
    local rounds=100 disconnects=40 times=6 changes=5
    [ -z "${LONG:-}" ] || rounds=5000 disconnects=600 times=50 changes=100
    cargo test -q -p $APART -- --test-threads=4 || return 1 # most of them wait
    export STORE=postgres NODES=3
    tests/race/claim.py --rounds $rounds --clients 24 --seed "$SEED" && tests/race/move.py &&
        tests/clients/reconnect.py --disconnects $disconnects --seed "$SEED" &&
        tests/cluster/balancer.py && tests/cluster/migrate.py --seed "$SEED" && tests/cluster/bodies.py && tests/cluster/checker.py --self-test && tests/cluster/idle.py --changes $changes &&
        tests/cluster/faults.py --times $times --seed "$SEED" --planted-async || return 1
    [ -z "${LONG:-}" ] || many_nodes_at_length $times
}

many_nodes_at_length() { # TIMES: what other stages do with a directory, and faults under Patroni
    local kind nodes
    for kind in patroni partition; do
        tests/cluster/faults.py --kind $kind --times "$1" --seed "$SEED" || return 1
    done
    for nodes in 1 2 3; do
        NODES=$nodes tests/crash/kill.py --times "$1" --seed "$SEED" || return 1
    done
    tests/cluster/replay.py && stage_clients
}

highwater_binary() { # the absolute path of the release build
    echo "${HIGHWATER_BIN:-$(cd "$target" && pwd)/release/highwater}"
}

stage_transcripts() {
    cargo test -q -p highwater-session --test transcripts &&
        PEER=$(highwater_binary) cargo test -q -p highwater-session --test transcripts every_transcript_holds &&
        tests/replay.sh "$(highwater_binary)"
}

stage_simulation() {
    local steps=20000
    [ -z "$LONG" ] || steps=1000000
    SIM_STEPS=$steps SIM_SEED=$SEED cargo test -q -p highwater-session --test simulation -- --nocapture
}

stage_race() {
    local rounds=250
    [ -z "$LONG" ] || rounds=5000
    tests/race/claim.py --rounds $rounds --seed "$SEED" &&
        PEER=dovecot tests/race/claim.py --rounds 250 --seed "$SEED" --expect several &&
        tests/race/move.py
}

stage_queue() {
    local form=(--jobs 300 --workers 6 --rounds 20)
    [ -z "${LONG:-}" ] || form=()
    tests/queue/chaos.py --seed "$SEED" "${form[@]}" && tests/queue/liar.py || return 1
    [ -z "${LONG:-}" ] || PEER=dovecot tests/queue/chaos.py --seed "$SEED"
}

stage_doctor() { tests/doctor/verdicts.py --seed "$SEED" ${LONG:+--long}; }

stage_bench() { tests/bench/verdicts.py ${LONG:+--long}; }

stage_durability() { tests/durability/check.py ${LONG:+--rounds 100}; }

stage_crash() {
    local times=10
    [ -z "$LONG" ] || times=100
    tests/crash/kill.py --times $times --seed "$SEED"
}

stage_newuser() { tests/newuser.sh; }

stage_clients() {
    local name code=0 messages=300 seconds=6 disconnects=60
    [ -z "$LONG" ] || messages=2000 seconds=240 disconnects=600
    for name in "${CLIENTS[@]}"; do
        "tests/clients/$name.py" || code=1
    done
    tests/clients/interimap.py --messages $messages --seconds $seconds --seed "$SEED" || code=1
    tests/clients/reconnect.py --disconnects $disconnects --seed "$SEED" || code=1
    return $code
}

stage_docs() { RUSTDOCFLAGS="-D warnings" cargo doc -q --workspace --no-deps && tools/check-docs; }

stage_faults() {
    if [ -n "$LONG" ]; then tests/faults/run; else tests/faults/run --only-apply; fi
}
