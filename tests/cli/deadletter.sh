#!/usr/bin/env bash
# Two stores give one event_id to different events: the second one's becomes a dead letter that says so,
# and can be listed, retried and dropped. What is behind it is published all the same.
#   deadletter.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
start_server
export QUIPU_SERVER=$url
"$quipu" provision >/dev/null

# store NAME TEXT: a store with that event, and one of its own behind it.
store() {
    "$quipu" init --store "$dir/$1" >/dev/null
    {
        printf '{"aggregate_type":"key","aggregate_id":"a","event_type":"key.used","event_id":"018f2b1c-0000-7000-8000-000000000001","payload":"%s"}\n' "$2"
        printf '{"aggregate_type":"key","aggregate_id":"b","event_type":"key.used","payload":"%s"}\n' "$2"
    } | "$quipu" append --store "$dir/$1" - >/dev/null
}
store first one
store second two
equal "first flush" "$("$quipu" flush --store "$dir/first" --json | member published)" 2

export QUIPU_STORE=$dir/second
"$quipu" flush >"$dir/out" 2>"$dir/err"
has "second flush" "$(cat "$dir/out")" "1 published, 0 there already, 1 dead letter"
has "second flush" "$(cat "$dir/err")" "quipu deadletter list"
"$quipu" deadletter list --json >"$dir/out"
equal "dead letters" "$(member position <"$dir/out") $(member dropped <"$dir/out")" "1 false"
has "its line names its own CID" "$(member line <"$dir/out")" "$("$quipu" show --json 1 | member cid)"
has "its line names the other CID" "$(member line <"$dir/out")" \
    "$("$quipu" show --store "$dir/first" --json 1 | member cid)"
has "as text" "$("$quipu" deadletter list)" "       1  20"
equal "status" "$("$quipu" status --json | member dead) $("$quipu" status --json | member pending)" "1 0"

equal "retry" "$("$quipu" deadletter retry 1 --json)" '{"position":1,"became":"pending"}'
equal "pending after retry" "$("$quipu" status --json | member pending)" 1
equal "flush after retry" "$("$quipu" flush --json | member dead)" 1
equal "drop" "$("$quipu" deadletter drop 1)" "position 1 is given up"
equal "dropped" "$("$quipu" deadletter list --json | member dropped)" true
equal "flush after drop" "$("$quipu" flush --json | member published)" 0
equal "messages in the stream" "$("$quipu" provision --json | member stream_messages)" 3
has "verify" "$("$quipu" verify)" "intact: 2 events"
passed
