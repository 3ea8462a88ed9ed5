#!/usr/bin/env bash
# reconcile tells what the stream has lost or has twice, and --repair sends again what is missing; and
# flush --watch publishes what is appended while it runs, and ends well when it is told to.
#   reconcile.sh QUIPU with|without TOML
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
start_server
export QUIPU_SERVER=$url QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
append() {
    printf '{"aggregate_type":"key","aggregate_id":"%s","event_type":"key.used","payload":%d}\n' "$1" "$2" |
        "$quipu" append - >/dev/null
}
messages() { "$quipu" provision --json | member stream_messages; }
for n in 1 2 3 4 5; do append a $n; done
"$quipu" provision >/dev/null
"$quipu" flush >/dev/null
append b 6
"$quipu" reconcile --json >"$dir/out"
equal "same" "$(member same <"$dir/out")" 5
equal "not published yet" "$(member waiting <"$dir/out")" 1
"$quipu" flush >/dev/null

delete() { has "deleting $1 of $2" "$(nats_request "\$JS.API.STREAM.MSG.DELETE.$2" "{\"seq\":$1}")" '"success":true'; }
delete 2 CIM_KEYS_EVENTS
delete 1 OBJ_cim-keys-objects
found=0
"$quipu" reconcile --json >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code: $(cat "$dir/err")" "$found" 6
equal "differences" "$(member difference <"$dir/out" | sort -r | tr "\n" " ")" "payload missing "
has "the missing one" "$(grep '"missing"' "$dir/out" | head -1)" '"position":2'
has "the cure" "$(cat "$dir/err")" "--repair"
one_cure "reconcile" "$(cat "$dir/err")"
found=0
"$quipu" reconcile --no-payloads --json >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code without payloads" "$found" 6
equal "differences without payloads" "$(member difference <"$dir/out" | tr '\n' ' ')" "missing "

"$quipu" reconcile --repair >"$dir/out"
has "repair" "$(cat "$dir/out")" "sent again: 1 event, "
equal "after the repair" "$("$quipu" reconcile --json | member same)" 6
equal "messages" "$(messages)" 6

# ---------------------------------------------------------------------------- watch
"$quipu" flush --watch --interval 1h --json >"$dir/out" 2>"$dir/err" &
watcher=$!
append a 7
append c 8
for _ in $(seq 1000); do
    [ "$(messages)" != 8 ] || break
    sleep 0.01
done
equal "messages while it watches" "$(messages)" 8
for _ in $(seq 1000); do
    [ "$(member published <"$dir/out" | awk '{ n += $1 } END { print n + 0 }')" != 2 ] || break
    sleep 0.01
done
kill -TERM "$watcher"
found=0
wait "$watcher" || found=$?
equal "exit code after a signal: $(cat "$dir/err")" "$found" 0
equal "published as it says" "$(member published <"$dir/out" | awk '{ n += $1 } END { print n + 0 }')" 2
equal "pending" "$("$quipu" status --json | member pending)" 0

# ---------------------------------------------------------------------------- options
refused 2 'wants --watch too' INVALID flush --interval 5s
refused 2 'wants subject or window' INVALID flush --dedup never
append d 9
equal "asked first" "$("$quipu" flush --dedup window --json | member published)" 1
equal "asked first, again" "$("$quipu" flush --dedup window --again --json | tee "$dir/out" | member published) $(member duplicates <"$dir/out")" "0 9"
equal "messages in the end" "$(messages)" 9

# ---------------------------------------------------------------------------- nats.dedup in a repair
# A repair goes by the settings, as a flush does: what is sent again names its id and expects nothing.
if [ "$2" = with ]; then
    delete 3 CIM_KEYS_EVENTS
    stop_server # a server that begins anew has forgotten the ids of what was deleted
    start_server
    export QUIPU_SERVER=$url
    printf '[nats]\ndedup = "window"\n' >"$dir/quipu.toml"
    QUIPU_CONFIG=$dir/quipu.toml "$quipu" reconcile --repair >"$dir/out"
    has "repair by window" "$(cat "$dir/out")" "sent again: 1 event, "
    stored=$(nats_request "\$JS.API.STREAM.MSG.GET.CIM_KEYS_EVENTS" \
        '{"last_by_subj":"cim.keys.key.key.used.>"}')
    headers=$(printf '%s' "$stored" | member hdrs | base64 -d)
    has "the id" "$headers" "Nats-Msg-Id:"
    case $headers in
    *Nats-Expected*) fail "a repair by window expects something: $headers" ;;
    esac
fi
passed
