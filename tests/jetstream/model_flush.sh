#!/usr/bin/env bash
# The flush protocol's models (docs/model), checked by spin in every state: the assertions and dead
# ends first, then that every event is published in the end. Then again with one guard taken away at
# a time: each time the check must fail, and in the way that is expected.
#   model_flush.sh FOLDER
set -euo pipefail
folder=$1
for tool in spin cc; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: there is no $tool; ./scripts/setup test installs it"
        exit 77
    fi
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# check NAME KIND [DEFINE…]: what pan found, in $dir/NAME. KIND: safety or progress.
check() {
    local name=$1 kind=$2
    shift 2
    mkdir "$name"
    (
        cd "$name"
        cp "$folder/$model" .
        spin "$@" -a "$model" >spin.out
        if [ "$kind" = safety ]; then
            cc "$speed" -w -DSAFETY -DNOCLAIM -o pan pan.c
            ./pan -m1000000 >pan.out
        else
            cc "$speed" -w -DNFAIR=5 -o pan pan.c
            ./pan -a -f -m1000000 >pan.out
        fi
    )
}

errors() {
    sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$1/pan.out"
}

holds() {
    local speed=-O1 # there are many states to visit
    check "$@"
    if [ "$(errors "$1")" != 0 ] || grep -q 'max search depth too small\|out of memory' "$1/pan.out"; then
        cat "$1/pan.out" >&2
        echo "the model does not hold: $1" >&2
        exit 1
    fi
    echo "$1: holds in $(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$1/pan.out") states"
}

# fails WORDS NAME KIND DEFINE…
fails() {
    local words=$1 speed=-O0 # what must fail does so at once
    shift
    check "$@"
    if [ "$(errors "$1")" = 0 ] || ! grep -qF -- "$words" "$1/pan.out"; then
        cat "$1/pan.out" >&2
        echo "the model holds without the guard that is taken away, or fails otherwise: $1" >&2
        exit 1
    fi
    echo "$1: fails, as it must ($words)"
}

model=flush.pml
holds two-stores-safety safety
holds two-stores-progress progress
holds two-events-safety safety -DEVENTS=2 -DALONE
holds two-events-progress progress -DEVENTS=2 -DALONE
fails 'assertion violated (envelopes[' no-expectation safety -DWITHOUT_EXPECTATION
fails 'assertion violated has_payload[' no-wait-for-payloads safety -DWITHOUT_WAITING_FOR_PAYLOADS
fails 'assertion violated ((envelopes[' no-wait-for-acks safety -DWITHOUT_WAITING_FOR_ACKS
fails 'acceptance cycle' no-sending-again progress -DWITHOUT_SENDING_AGAIN
fails 'acceptance cycle' exists-is-a-failure progress -DWITHOUT_TAKING_EXISTS_FOR_STORED

model=window.pml
holds window-safety safety
holds window-progress progress -DSLOW=1 -DFAULTS=1
holds window-remembered-safety safety -DREMEMBERED -DFAULTS=1
holds window-remembered-progress progress -DREMEMBERED -DSLOW=1 -DFAULTS=1
fails 'assertion violated (envelopes<=1)' window-no-question safety -DWITHOUT_ASKING
fails 'assertion violated (envelopes<=1)' window-no-age safety -DWITHOUT_AGE
fails 'assertion violated (envelopes<=1)' window-no-rounds safety -DWITHOUT_ROUNDS
fails 'assertion violated (envelopes<=1)' window-no-id safety -DWITHOUT_ID
fails 'assertion violated (envelopes<=1)' window-of-a-replica safety -DWITHOUT_ASKING_THE_LEADER
fails 'assertion violated (envelopes<=1)' window-too-short safety -DWINDOW=1
fails 'assertion violated (envelopes<=1)' window-slow-network safety -DTRANSIT=2
fails 'assertion violated (envelopes<=1)' window-no-id-once-missed safety -DREMEMBERED -DLEAVING_THE_ID_OUT
fails 'assertion violated ((envelopes==1)' window-exists-unseen safety -DREMEMBERED -DTAKING_EXISTS_FOR_STORED
fails 'assertion violated has_payload' window-no-wait-for-payloads safety -DWITHOUT_WAITING_FOR_PAYLOADS
fails 'acceptance cycle' window-no-sending-again progress -DSLOW=1 -DFAULTS=1 -DWITHOUT_SENDING_AGAIN
