#!/usr/bin/env bash
# Four processes make a store in one folder at once: one of them makes it, and the others say that it is
# there. Nobody takes the half of it that he sees for somebody else's folder.
#   init_at_once.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
for round in $(seq 1 60); do
    export QUIPU_STORE=$dir/$round
    mkdir "$QUIPU_STORE"
    for each in 1 2 3 4; do
        { "$quipu" init >"$dir/out.$each" 2>"$dir/err.$each" || true; } &
    done
    wait
    equal "who made the store of round $round" "$(cat "$dir"/out.? | grep -c '^source')" 1
    equal "who found it there" "$(cat "$dir"/err.? | grep -c 'there is a store in')" 3
    "$quipu" verify >/dev/null || fail "round $round: the store is not sound"
    rm -rf "$QUIPU_STORE"
done
passed
