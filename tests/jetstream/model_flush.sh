#!/usr/bin/env bash
# The flush protocol's model (docs/model), checked by spin in every state: the assertions and dead
# ends first, then that every event is published in the end. Then again with one guard taken away at
# a time: each time the check must fail, and in the way that is expected.
#   model_flush.sh MODEL
set -euo pipefail
model=$1
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
        cp "$model" flush.pml
        spin "$@" -a flush.pml >spin.out
        if [ "$kind" = safety ]; then
            cc -O2 -w -DSAFETY -DNOCLAIM -o pan pan.c
            ./pan -m1000000 >pan.out
        else
            cc -O2 -w -DNFAIR=5 -o pan pan.c
            ./pan -a -f -m1000000 >pan.out
        fi
    )
}

errors() {
    sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$1/pan.out"
}

holds() {
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
    local words=$1
    shift
    check "$@"
    if [ "$(errors "$1")" = 0 ] || ! grep -qF -- "$words" "$1/pan.out"; then
        cat "$1/pan.out" >&2
        echo "the model holds without the guard that is taken away, or fails otherwise: $1" >&2
        exit 1
    fi
    echo "$1: fails, as it must ($words)"
}

holds two-stores-safety safety
holds two-stores-progress progress
holds two-events-safety safety -DEVENTS=2 -DALONE
holds two-events-progress progress -DEVENTS=2 -DALONE
fails 'assertion violated (envelopes[' no-expectation safety -DWITHOUT_EXPECTATION
fails 'assertion violated has_payload[' no-wait-for-payloads safety -DWITHOUT_WAITING_FOR_PAYLOADS
fails 'assertion violated ((envelopes[' no-wait-for-acks safety -DWITHOUT_WAITING_FOR_ACKS
fails 'acceptance cycle' no-sending-again progress -DWITHOUT_SENDING_AGAIN
fails 'acceptance cycle' exists-is-a-failure progress -DWITHOUT_TAKING_EXISTS_FOR_STORED
