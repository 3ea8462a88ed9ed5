#!/usr/bin/env bash
# The modes against a real server: Online publishes what it appends and says where it could not; Hybrid
# publishes where there is a server; either way nothing is lost and nothing is twice. And the settings of
# [nats] do what they say.
#   config_modes.sh QUIPU with|without TOML
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
[ "$2" = with ] || skip "settings from files are not in this build"
start_server
gone=$url
stop_server
cat >"$dir/quipu.toml" <<X
mode = "Online"
[nats]
url = "$gone"
stream_name = "KEYS"
object_store_bucket = "keys"
subject_template = "acme.{aggregate_type}.events.{event_type}.{event_id}"
[nats.jetstream]
duplicate_window = "1m"
[storage]
dir = "store"
[offline]
probe_timeout_secs = "5s" # a slow machine must find the server that is there
X
export QUIPU_CONFIG=$dir/quipu.toml
"$quipu" init >/dev/null
event='{"aggregate_type":"key","aggregate_id":"root","event_type":"key.used","payload":1}'

# append CODE: one event, with that exit code; it is stored in any case.
append() {
    local found=0 before
    before=$("$quipu" log | wc -l)
    printf '%s\n' "$event" | "$quipu" append - >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of append: $(cat "$dir/err")" "$found" "$1"
    equal "events" "$("$quipu" log | wc -l)" $((before + 1))
    has "append" "$(cat "$dir/out")" "1 appended"
}
pending() { "$quipu" status --json | member pending; }

# ------------------------------------------------------------------ no server

append 7
equal "lines on stderr" "$(wc -l <"$dir/err")" 1
has "Online without a server" "$(cat "$dir/err")" "quipu append: flush: "
has "Online without a server" "$(cat "$dir/err")" "(1 event is stored and waits in the outbox)"
equal "pending" "$(pending)" 1
found=0
printf '%s\n' "$event" | "$quipu" append --json - >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of append --json" "$found" 7
equal "its receipt" "$(member position <"$dir/out")" 2
has "its failure" "$(cat "$dir/err")" '{"error":{"status":"OFFLINE"'
has "its failure" "$(cat "$dir/err")" '"note":"1 event is stored and waits in the outbox"'
export QUIPU_MODE=Hybrid
append 0
equal "Hybrid without a server" "$(cat "$dir/err")" "no server; what was added waits in the outbox"
printf '%s\n' "$event" | "$quipu" append --json - >"$dir/out" 2>"$dir/err"
equal "Hybrid, quiet for scripts" "$(cat "$dir/err")" ""
equal "pending" "$(pending)" 4
# The retries are of connecting alone.
QUIPU_MODE=Online QUIPU_NATS_MAX_RETRIES=1 append 7
equal "pending after retries" "$(pending)" 5

# ------------------------------------------------------------------ a server

start_server
export QUIPU_NATS_URL=$url
append 7
has "not provisioned" "$(cat "$dir/err")" "quipu provision"
equal "provision" "$("$quipu" provision --json | member stream)" KEYS
# shellcheck disable=SC2016 # a subject of the server, not a variable
info=$(nats_request '$JS.API.STREAM.INFO.KEYS' '')
has "the stream's subjects" "$info" '"subjects":["acme.\u003e"]'
has "the stream's window" "$info" '"duplicate_window":60000000000'
append 0
equal "Hybrid with a server" "$(cat "$dir/err")" "7 events published"
equal "pending" "$(pending)" 0
unset QUIPU_MODE
append 0
equal "Online with a server" "$(cat "$dir/err")" "1 event published"
first=$("$quipu" log --json --limit 1 | member event_id)
# shellcheck disable=SC2016
has "a subject by the template" \
    "$(nats_request '$JS.API.STREAM.MSG.GET.KEYS' "{\"last_by_subj\":\"acme.key.events.key.used.$first\"}")" \
    '"seq":1,'
equal "messages in the stream" "$("$quipu" provision --json | member stream_messages)" 8
equal "a flush finds nothing more" "$("$quipu" flush --json | member published)" 0

# What comes in by other ways is published too; reading and the network verbs publish nothing by themselves.
"$quipu" log >/dev/null 2>"$dir/err"
equal "reading" "$(cat "$dir/err")" ""
QUIPU_MODE=Offline "$quipu" init --store "$dir/other" >/dev/null
printf '{"aggregate_type":"key","aggregate_id":"b","event_type":"key.used","payload":1}\n' |
    QUIPU_MODE=Offline "$quipu" append --store "$dir/other" - >/dev/null
QUIPU_MODE=Offline "$quipu" export --store "$dir/other" "$dir/other.car" >/dev/null
"$quipu" import --yes "$dir/other.car" >/dev/null 2>"$dir/err"
has "import" "$(cat "$dir/err")" "1 event published"
"$quipu" pull --store "$dir/other" >"$dir/out" 2>"$dir/err"
has "pull" "$(cat "$dir/out")" "8 added"
equal "pull publishes nothing" "$(cat "$dir/err")" ""

# Only the store that is meant.
source=$("$quipu" status --json | member source)
export QUIPU_NATS_SOURCE_ID=$source
equal "the store that is meant" "$("$quipu" flush --json | member pending)" 0
refused 3 "name the store that is meant" INVALID flush --store "$dir/other"
unset QUIPU_NATS_SOURCE_ID

# Options over settings, for these too.
found=0
"$quipu" provision --stream OTHER --prefix other --bucket other --json >"$dir/out" 2>"$dir/err" || found=$?
equal "an option over the setting" "$(member stream <"$dir/out")" ""
has "the template does not have the prefix" "$(cat "$dir/err")" "takes subjects of"
equal "another template" "$(QUIPU_NATS_SUBJECT_TEMPLATE='{prefix}.{event_id}' \
    "$quipu" provision --stream OTHER --prefix other --bucket other --json | member stream)" OTHER
# The same window of deduplication, by its name.
QUIPU_NATS_DEDUP=window append 0
equal "dedup = window" "$(cat "$dir/err")" "1 event published"
equal "messages in the stream" "$("$quipu" provision --json | member stream_messages)" 10
has "verify" "$("$quipu" verify)" "intact: "
passed
