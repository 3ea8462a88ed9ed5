#!/usr/bin/env bash
# Events that DAG-JSON cannot carry (a map that begins with the key "/") are shown as bytes, and hide
# nothing that is before or behind them: log, show, cat, query, replay, export, unpack, import.
#   not_json.sh QUIPU APPEND_BLOCK with|without      with: the program has a network
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
append_block=$2
network=$3
export QUIPU_STORE=$dir/store
input=/dev/null
serving=

end_all() {
    local code=$?
    [ -z "$serving" ] || kill -KILL "$serving" 2>/dev/null || true
    stop_server
    rm -rf "$dir"
    exit "$code"
}
trap end_all EXIT

"$quipu" init >/dev/null

append() { # AGGREGATE
    printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":{"n":1}}\n' "$1" |
        "$quipu" append >/dev/null
}
append first
"$append_block" "$QUIPU_STORE" odd a1612fa16562797465736441414141         # {"/": {"bytes": "AAAA"}}
"$append_block" "$QUIPU_STORE" meta a1616e01 a1616da1612f6178             # meta {"m": {"/": "x"}}
"$append_block" "$QUIPU_STORE" both a1612f60 a1612f6178
append last
bytes='{"/":{"bytes":"oWEvoWVieXRlc2RBQUFB"}}'

"$quipu" log --json >"$dir/log"
equal "log --json" "$(member aggregate_id <"$dir/log" | tr '\n' ' ')" 'first odd meta both last '
has "log --json" "$(sed -n 2p "$dir/log")" "\",\"payload_bytes\":$bytes}"
has "log --json" "$(sed -n 3p "$dir/log")" '"meta_bytes":{"/":{"bytes":"oWFtoWEvYXg"}},"payload_cid":'
has "log --json" "$(sed -n 3p "$dir/log")" ',"payload":{"n":1}}'
equal "log" "$("$quipu" log | wc -l)" 5

# The bytes are the block's: they hash to its CID.
cid=$(sed -n 2p "$dir/log" | member payload_cid)
sed -n 2p "$dir/log" | sed 's/.*"payload_bytes":{"\/":{"bytes":"\([^"]*\)".*/\1/' | base64 -d >"$dir/block"
equal "CID of the bytes" "$("$quipu" cid --codec dag-cbor "$dir/block")" "$cid"

equal "show --json" "$("$quipu" show 2 --json)" "$(sed -n 2p "$dir/log")"
"$quipu" show 2 >"$dir/shown"
has "show" "$(cat "$dir/shown")" 'payload_bytes'
has "show" "$(cat "$dir/shown")" '"oWEvoWVieXRlc2RBQUFB"'
"$quipu" show 4 >"$dir/shown"
has "show" "$(cat "$dir/shown")" 'meta_bytes'
has "show" "$(cat "$dir/shown")" 'payload_bytes'
"$quipu" show 3 >"$dir/shown"
has "show" "$(cat "$dir/shown")" 'meta_bytes'
equal "show" "$(grep -c payload_bytes "$dir/shown" || true)" 0

# A block by itself has no other form: what is said leads to the bytes.
"$quipu" cat "$cid" >"$dir/cat"
equal "cat" "$(od -An -tx1 "$dir/cat")" "$(od -An -tx1 "$dir/block")"
refuses 3 'leave --json out' cat --json "$cid"

"$quipu" query '{"query":"events"}' >"$dir/reply"
equal "query events" "$(grep -oE '"aggregate_id":"[a-z]*"' "$dir/reply" | wc -l)" 3
has "query events" "$(cat "$dir/reply")" "\"raw_payload\":$bytes"
has "query events" "$(cat "$dir/reply")" '"aggregate_id":"last"'
has "query event" "$("$quipu" query '{"query":"event","position":3}')" '"raw_envelope":{"/":{"bytes":"'

# Rows of a projection: a device with a slot of that name, which a line of JSON brings.
printf '%s\n' '{"aggregate_type":"yubikey","aggregate_id":"1","event_type":"yubikey.registered","payload":{"name":"one","firmware":"5.4.3"}}' \
    '{"aggregate_type":"yubikey","aggregate_id":"1","event_type":"yubikey.provisioned","payload":{"slot":"/","key":"k"}}' \
    '{"aggregate_type":"yubikey","aggregate_id":"2","event_type":"yubikey.registered","payload":{"name":"two","firmware":"5.4.3"}}' |
    "$quipu" append >/dev/null
"$quipu" replay --projection catalogue >/dev/null
"$quipu" replay --projection catalogue --show >"$dir/rows"
grep -qE '^yubikey/1 raw \{"/":\{"bytes":"[A-Za-z0-9+/]+"\}\}$' "$dir/rows" || fail "row: $(cat "$dir/rows")"
grep -qE '^yubikey/2 \{.*"name":"two"' "$dir/rows" || fail "rows: $(cat "$dir/rows")"
has "replay --json" "$("$quipu" replay --projection catalogue --show --json)" \
    '"key":"yubikey/1","raw":{"/":{"bytes":"'
has "query list" "$("$quipu" query '{"query":"list","projection":"catalogue","prefix":"yubikey/"}')" \
    '{"key":"yubikey/1","raw":{"/":{"bytes":"'

# The auditor's folder, with the export and behind it; a line of it is one of `export --format jsonl`.
"$quipu" export --quiet --unpack "$dir/audit" "$dir/one.car" >/dev/null
"$quipu" verify --quiet --unpack "$dir/again" "$dir/one.car" >/dev/null
"$quipu" export --quiet --format jsonl "$dir/events.jsonl" >/dev/null
cmp "$dir/audit/events.ndjson" "$dir/again/events.ndjson"
equal "lines of the folder" "$(sort "$dir/audit/events.ndjson" | sha256sum)" \
    "$(sort "$dir/events.jsonl" | sha256sum)"
has "events.ndjson" "$(sed -n 2p "$dir/audit/events.ndjson")" ",\"payload_bytes\":$bytes}"
has "events.ndjson" "$(sed -n 4p "$dir/audit/events.ndjson")" '"envelope_bytes":{"/":{"bytes":"'
equal "number of the bundle" "$("$quipu" verify --json "$dir/one.car" | member number)" 1

# They go in again, and are the same.
"$quipu" --store "$dir/office" init >/dev/null
"$quipu" --store "$dir/office" import --quiet --format jsonl --unproven --yes "$dir/audit/events.ndjson" >/dev/null
"$quipu" --store "$dir/office" export --quiet --format jsonl "$dir/office.jsonl" >/dev/null
cmp "$dir/events.jsonl" "$dir/office.jsonl"

# Who asks a service for them in JSON gets them the same way.
if [ "$network" = with ]; then
    start_server
    "$quipu" serve --server "$url" 2>"$dir/serve" &
    serving=$!
    tries=0
    until grep -q 'state=connected' "$dir/serve"; do
        kill -0 "$serving" 2>/dev/null || fail "serve: $(cat "$dir/serve")"
        tries=$((tries + 1))
        [ "$tries" -lt 3000 ] || fail "no connection: $(cat "$dir/serve")"
        sleep 0.01
    done
    answer=
    for ((tries = 0; tries < 6 && ${#answer} == 0; tries++)); do # it subscribes in a moment of its own
        answer=$(nats_request svc.cim.keys.query '{"query":"events"}')
    done
    has "answer of a service" "$answer" "\"raw_payload\":$bytes"
    has "answer of a service" "$answer" '"aggregate_id":"last"'
    kill "$serving"
    wait "$serving" || true
    serving=
fi
passed
