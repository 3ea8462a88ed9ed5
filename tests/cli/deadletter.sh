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
# aside WHAT COMMAND…: done, but something was set aside: a report on stdout, one line on stderr, 9.
aside() {
    local what=$1 found=0
    shift
    "$quipu" "$@" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of $what: $(cat "$dir/err")" "$found" 9
    equal "lines on stderr of $what" "$(wc -l <"$dir/err")" 1
}
aside "second flush" flush
has "second flush" "$(cat "$dir/out")" "1 published, 0 there already, 1 dead letter"
has "second flush" "$(cat "$dir/err")" "quipu flush: 1 dead letter, the first at position 1: "
has "second flush" "$(cat "$dir/err")" "; \`quipu deadletter list\` shows all; then retry or drop"
aside "third flush" flush --json --quiet
equal "third flush" "$(member published <"$dir/out") $(member dead <"$dir/out")" "0 0"
has "third flush" "$(cat "$dir/err")" '{"error":{"status":"EVENT_ID_CONFLICT"'
has "third flush" "$(cat "$dir/err")" '"exit":9,'
"$quipu" deadletter list --json >"$dir/out"
equal "dead letters" "$(member position <"$dir/out") $(member dropped <"$dir/out")" "1 false"
has "its line names its own CID" "$(member line <"$dir/out")" "$("$quipu" show --json 1 | member cid)"
has "its line names the other CID" "$(member line <"$dir/out")" \
    "$("$quipu" show --store "$dir/first" --json 1 | member cid)"
has "as text" "$("$quipu" deadletter list)" "       1  20"
equal "status" "$("$quipu" status --json | member dead) $("$quipu" status --json | member pending)" "1 0"

equal "retry" "$("$quipu" deadletter retry 1 --json)" '{"position":1,"became":"pending"}'
equal "pending after retry" "$("$quipu" status --json | member pending)" 1
aside "flush after retry" flush --json
equal "flush after retry" "$(member dead <"$dir/out")" 1
equal "drop" "$("$quipu" deadletter drop 1 2>"$dir/err")" "position 1 is given up"
has "drop" "$(cat "$dir/err")" "later events of its aggregate cannot be read elsewhere without it"
equal "dropped" "$("$quipu" deadletter list --json | member dropped)" true
equal "flush after drop" "$("$quipu" flush --json | member published)" 0
equal "messages in the stream" "$("$quipu" provision --json | member stream_messages)" 3
has "verify" "$("$quipu" verify)" "intact: 2 events"

# The first version of an aggregate is lost from the stream, so a fresh store cannot take the later ones
# in. The second store's "b" claims the place of the first one's: that is a fork, and it is kept.
export QUIPU_STORE=$dir/third
"$quipu" init >/dev/null
printf '{"aggregate_type":"key","aggregate_id":"c","event_type":"key.used","payload":%d}\n' 1 2 3 |
    "$quipu" append - >/dev/null
"$quipu" flush >/dev/null
# shellcheck disable=SC2016 # a subject of the server, not a variable
has "delete the first of them" \
    "$(nats_request '$JS.API.STREAM.MSG.DELETE.CIM_KEYS_EVENTS' '{"seq":4,"no_erase":true}')" '"success":true'
export QUIPU_STORE=$dir/fourth
"$quipu" init >/dev/null
aside "pull behind a hole" pull
has "pull behind a hole" "$(cat "$dir/out")" "3 added, 0 known already, 2 in quarantine"
has "pull behind a hole" "$(cat "$dir/err")" "quipu pull: 2 events went to quarantine, the first at sequence 5: "
has "pull behind a hole" "$(cat "$dir/err")" "; \`quipu quarantine list\` shows all with their reasons"
equal "pull again" "$("$quipu" pull --json | member quarantined)" 0

# What is in quarantine can be seen, comes in when its reason is gone, and can be dropped.
"$quipu" quarantine list --json >"$dir/out"
equal "reasons" "$(member reason <"$dir/out" | sort | tr '\n' ' ')" "GAP GAP "
equal "sequences" "$(member sequence <"$dir/out" | sort | tr '\n' ' ')" "5 6 "
equal "streams" "$(member stream <"$dir/out" | sort -u)" CIM_KEYS_EVENTS
first=$("$quipu" show --store "$dir/third" --json 1 | member cid)
has "what the second waits for" "$(grep '"sequence":5' "$dir/out")" "\"waits_for\":{\"cid\":\"$first\"}"
last=$(grep '"sequence":6' "$dir/out" | member cid)
"$quipu" quarantine list >"$dir/out"
equal "lines of the list" "$(wc -l <"$dir/out")" 2
has "the list" "$(grep "^$last " "$dir/out")" "CIM_KEYS_EVENTS 6  "
has "the list" "$(cat "$dir/out")" "(waits for $first)"
has "the fork" "$("$quipu" --quiet forks)" "open     key/b from version 1"
"$quipu" quarantine retry --json >"$dir/out"
equal "retry" "$(member added <"$dir/out")" 0
equal "after retry" "$("$quipu" status --json | member quarantined)" 2
input=/dev/null
refused 5 'quipu quarantine list' NOT_FOUND quarantine drop "$("$quipu" show --json 1 | member cid)"
refused 3 'quipu quarantine list' MULTIBASE quarantine drop ''
equal "drop" "$("$quipu" quarantine drop "$last")" "$last is dropped"
equal "after drop" "$("$quipu" quarantine list --json | member reason | tr '\n' ' ')" "GAP "
"$quipu" export --store "$dir/third" --until 1 "$dir/first.car" >/dev/null
has "the missing one by a bundle" "$("$quipu" import --yes "$dir/first.car")" "2 added"
equal "nothing is left" "$("$quipu" quarantine list | wc -l)" 0
"$quipu" export --store "$dir/third" --since 1 "$dir/all.car" >/dev/null
has "the dropped one comes back" "$("$quipu" import --yes "$dir/all.car")" "1 added, 2 known already"
has "verify the fourth" "$("$quipu" verify)" "intact: 6 events"
passed
