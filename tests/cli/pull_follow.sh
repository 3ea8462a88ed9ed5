#!/usr/bin/env bash
# `quipu pull --follow`: what others publish comes in while it runs, over a restart of the server, and
# it ends well when it is told to.
#   pull_follow.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
start_server
export QUIPU_SERVER=$url
for store in there here; do "$quipu" init --store "$dir/$store" >/dev/null; done
"$quipu" provision >/dev/null

# publish WORD: one event of the other store.
publish() {
    printf '{"aggregate_type":"note","aggregate_id":"a","event_type":"note.written","payload":"%s"}\n' "$1" |
        "$quipu" append --store "$dir/there" - >/dev/null
    "$quipu" flush --store "$dir/there" >/dev/null
}

# await FILE PATTERN: until a line of it matches.
await() {
    local tries=0
    until grep -q -- "$2" "$1"; do
        tries=$((tries + 1))
        [ "$tries" -lt 1000 ] || fail "no $2 in: $(cat "$1")"
        sleep 0.01
    done
    checks=$((checks + 1))
}

publish one
"$quipu" pull --store "$dir/here" --follow --interval 50ms --log-format json --json >"$dir/out" 2>"$dir/err" &
follow=$!
await "$dir/out" '"added":1,'
publish two
await "$dir/out" '"last_sequence":2,'
await "$dir/err" '"event":"pull.done",.*"last_sequence":2,'
stop_server
await "$dir/err" '"level":"warn","event":"pull.failed",.*"status":"OFFLINE"'
kill -TERM "$follow"
wait "$follow" || fail "it ended with $?: $(cat "$dir/err")"
equal "events" "$("$quipu" status --store "$dir/here" --json | member events)" 2
equal "pulls that were told" "$(wc -l <"$dir/out")" 2
refused 2 '--follow' INVALID pull --store "$dir/here" --interval 5s
refused 2 'without --follow' INVALID pull --store "$dir/here" --missing --follow
passed
