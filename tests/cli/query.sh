#!/usr/bin/env bash
# Queries in DAG-JSON: each kind, page by page, from stdin, and what is refused; status shows the same.
#   query.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
input=/dev/null

refused 5 'quipu init' NOT_FOUND query '{"query":"status"}'
"$quipu" init >/dev/null
for n in 1 2 3 4 5 6 7; do
    printf '{"aggregate_type":"key","aggregate_id":"k%d","event_type":"key.generated","payload":{"name":"%d"}}\n' \
        "$n" "$n"
done | "$quipu" append >/dev/null
refused 5 'show what there is' NOT_FOUND query '{"query":"get","projection":"inventory","key":"item/key/k1"}'
has "status before" "$("$quipu" status)" 'inventory: not built, '
"$quipu" replay --projection inventory >/dev/null

equal "get" "$("$quipu" query '{"query":"get","projection":"inventory","key":"item/key/k1"}')" \
    '{"key":"item/key/k1","position":7,"projection":"inventory","query":"get","v":1,"value":{"events":1,"name":"1","state":"active"},"version":1}'
equal "event" "$("$quipu" query '{"query":"event","position":7}' | member aggregate_id)" k7
id=$("$quipu" log --json --limit 1 | member event_id)
cid=$("$quipu" log --json --limit 1 | member cid)
equal "event by id" "$("$quipu" query "{\"query\":\"event\",\"event_id\":\"$id\"}")" \
    "$("$quipu" query "{\"query\":\"event\",\"cid\":{\"/\":\"$cid\"}}")"

# The block in the reply is the event's: it hashes to the CID.
"$quipu" query "{\"query\":\"event\",\"cid\":\"$cid\"}" |
    sed 's/.*"envelope":\(.*\),"payload":{"name".*/\1/' | tr -d '\n' >"$dir/envelope"
equal "CID of the envelope in a reply" "$("$quipu" cid --codec dag-json "$dir/envelope")" "$cid"

# Page by page, each row and each event once.
after=''
rows=''
while :; do
    reply=$("$quipu" query "{\"query\":\"list\",\"projection\":\"inventory\",\"prefix\":\"item/\",\"limit\":3$after}")
    rows+=$(printf '%s' "$reply" | grep -oE '"key":"[^"]*"')$'\n'
    next=$(printf '%s' "$reply" | member next)
    [ -n "$next" ] || break
    after=",\"after\":\"$next\""
done
equal "rows over pages" "$(printf '%s' "$rows" | tr -d '\n')" \
    "$(printf '"key":"item/key/k%d"' 1 2 3 4 5 6 7)"
equal "newest" "$("$quipu" query '{"query":"events","order":"newest","limit":2}' |
    grep -oE '"position":[0-9]+' | tr -d '\n')" '"position":7"position":6'
equal "where to go on" "$("$quipu" query '{"query":"events","order":"newest","limit":2}' | member next)" 6

# Lines of stdin, in order, until one fails.
printf '%s\n' '{"query":"event","position":1}' '' '{"query":"event","position":2}' >"$dir/requests"
equal "replies to lines" "$("$quipu" query - <"$dir/requests" | member aggregate_id | tr '\n' ' ')" 'k1 k2 '
printf '%s\n' '{"query":"event","position":1}' '{"query":"event","position":99}' \
    '{"query":"event","position":2}' >"$dir/requests"
found=0
"$quipu" query - <"$dir/requests" >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of a line that fails" "$found" 5
equal "replies in front of it" "$(wc -l <"$dir/out")" 1
has "which line" "$(cat "$dir/err")" "line 2: no event at position 99, the last is 7"

refused 3 'query --help' INVALID query '{"query":"frobnicate"}'
refused 3 'query --help' INVALID query '{"query":"status","limit":1}'
refused 3 'query --help' INVALID query '[]'
refused 3 'query --help' JSON query '{"query":'
refused 3 'query --help' DAGJSON query '{"query":"event","cid":{"/":"nonsense"}}'
refused 6 "; " FORMAT_NEWER query "{\"query\":\"status\",\"v\":2}"
refused 2 'query --help' INVALID query
refused 2 'query --help' INVALID query 1 2

# What JSON allows raw and a terminal obeys leaves the program escaped, and the value is the same.
"$quipu" init --store "$dir/notes" >/dev/null
printf '{"aggregate_type":"note","aggregate_id":"n","event_type":"note.made","payload":{"t":"a\302\233b\177"}}\n' |
    "$quipu" append --store "$dir/notes" >/dev/null
payload=$("$quipu" log --store "$dir/notes" --json | member payload_cid)
for shown in "$("$quipu" log --store "$dir/notes" --json)" \
    "$("$quipu" show --store "$dir/notes" --json 1)" \
    "$("$quipu" cat --store "$dir/notes" --json "$payload")" \
    "$("$quipu" query --store "$dir/notes" '{"query":"event","position":1}')"; do
    has "controls in JSON" "$shown" '{"t":"a\u009bb\u007f"}'
done
"$quipu" cat --store "$dir/notes" --json "$payload" | tr -d '\n' >"$dir/envelope"
equal "CID of what was escaped" "$("$quipu" cid --codec dag-json "$dir/envelope")" "$payload"

# status is the query of that name, for people.
"$quipu" append >/dev/null <<<'{"aggregate_type":"key","aggregate_id":"k8","event_type":"key.generated","payload":{}}'
has "status" "$("$quipu" status)" "inventory: catching up, 1 event behind"
has "status --json" "$("$quipu" status --json)" '"projections":[{"lag":1,"name":"inventory"'
equal "events in the query" "$("$quipu" query '{"query":"status"}' | member events)" 8
equal "events in the verb" "$("$quipu" status --json | member events)" 8
passed
