#!/usr/bin/env bash
# What `quipu status` knows of publishing without asking a server, and the lines that flush and pull
# write about themselves.
#   status_figures.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
start_server
export QUIPU_SERVER=$url QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
# append COUNT: as of 2020, so that their age can be told.
append() {
    for ((i = 0; i < $1; i++)); do
        printf '{"aggregate_type":"note","aggregate_id":"a","event_type":"note.written","payload":%d,"occurred_at":"2020-01-01T00:00:00Z"}\n' "$i"
    done | "$quipu" append - >/dev/null
}
status() { "$quipu" status --json; }

# ------------------------------------------------------------------ what waits, what was published

has "nothing waits" "$(status)" '"oldest":null'
has "no flush yet" "$(status)" '"flush":null,"credentials":null}'
append 3
has "the oldest" "$(status)" '"oldest":{"position":1,"occurred_at":"2020-01-01T00:00:00Z","age_us":'
[ "$(status | member age_us)" -gt 86400000000 ] || fail "its age is $(status | member age_us)"
has "the oldest, for people" "$("$quipu" status)" "position 1, of 2020-01-01T00:00:00Z, "
"$quipu" provision >/dev/null
"$quipu" flush >/dev/null
has "nothing waits any more" "$(status)" '"oldest":null'
has "figures" "$(status)" '"published":3,"duplicates":0,"dead":0,"resent":0,"reconnects":0}'
has "figures, for people" "$("$quipu" status)" "in all 3 published, 0 there already, 0 sent again"
append 2
"$quipu" flush --log-format json >/dev/null 2>"$dir/err"
has "figures of both" "$(status)" '"published":5,"duplicates":0,'

# ------------------------------------------------------------------ lines about a run

equal "lines" "$(member event <"$dir/err" | sort -u | tr '\n' ' ')" "flush.done nats.state "
equal "published, in a line" "$(grep flush.done "$dir/err" | member published)" 2
[ "$(grep -vc '^{"time":"' "$dir/err")" = 0 ] || fail "no JSON: $(cat "$dir/err")"
"$quipu" flush --log-format text >/dev/null 2>"$dir/err"
has "as text" "$(cat "$dir/err")" " info flush.done published=0 duplicates=0 dead=0 pending=0 "
"$quipu" flush --log-format text --quiet >/dev/null 2>"$dir/err"
equal "quiet: warnings only" "$(cat "$dir/err")" ""
"$quipu" init --store "$dir/there" >/dev/null
"$quipu" pull --store "$dir/there" --log-format json >/dev/null 2>"$dir/err"
equal "pulled, in a line" "$(grep pull.done "$dir/err" | member added)" 5
has "when the server stored it" "$("$quipu" show --store "$dir/there" 1)" ", sequence 1, stored 20"
has "in the list" "$("$quipu" status --store "$dir/there" --receipts)" " 1 to 5, stored 20"
refused 2 'text or json' INVALID flush --log-format xml
refused 2 'text or json' INVALID pull --log-format xml

has "not known from acks" "$("$quipu" status --receipts --json)" '"first_stored_at":null,"last_stored_at":null}'
equal "noted" "$("$quipu" reconcile --times --json | member times)" 5
equal "noted once" "$("$quipu" reconcile --times --json | member times)" 0
equal "the same as there" "$("$quipu" status --receipts)" "$("$quipu" status --receipts --store "$dir/there")"

# A watch says the same, and what it waits for.
"$quipu" flush --watch --log-format json >/dev/null 2>"$dir/err" &
watch=$!
append 1
tries=0
until grep -q '"event":"flush.done","published":1,' "$dir/err"; do
    tries=$((tries + 1))
    [ "$tries" -lt 1000 ] || fail "the watch says nothing: $(cat "$dir/err")"
    sleep 0.01
done
stop_server
tries=0
until grep -q '"level":"warn","event":"nats.state"' "$dir/err"; do
    tries=$((tries + 1))
    [ "$tries" -lt 1000 ] || fail "the watch does not notice: $(cat "$dir/err")"
    sleep 0.01
done
kill -TERM "$watch"
wait "$watch" || fail "the watch ended with $?"
checks=$((checks + 2))

# ------------------------------------------------------------------ how long credentials hold

# The marks are in two parts, so that nobody takes this file for one with a secret in it.
mark='-----BEGIN '
seed=$(tr -d '[:space:]' <"$dir/there/signing.key")
base64url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
# credentials FILE EXPIRES: a user's JWT (0: never expires) and its seed.
credentials() {
    local claims header
    claims=$(printf '{"sub":"%s","iss":"%s","iat":1,%s"nats":{"type":"user","version":2}}' \
        "$("$quipu" status --store "$dir/there" --json | member source)" "$account" \
        "$([ "$2" = 0 ] || printf '"exp":%d,' "$2")" | base64url)
    header=$(printf '{"typ":"JWT","alg":"ed25519-nkey"}' | base64url)
    install -m 600 /dev/null "$1"
    {
        printf '%sNATS USER JWT-----\n%s.%s.%s\n------END-----\n' "$mark" "$header" "$claims" \
            "$(head -c 64 /dev/zero | base64url)"
        printf '%sUSER NKEY SEED-----\n%s\n------END-----\n' "$mark" "$seed"
    } >"$1"
}
account=A$(printf 'A%.0s' $(seq 55))
now=$(date +%s)
credentials "$dir/user.creds" $((now + 3 * 86400))
export QUIPU_NATS_CREDENTIALS_FILE=$dir/user.creds
has "credentials" "$(status)" "\"credentials\":{\"file\":\"$dir/user.creds\",\"expires_at\":\"20"
left=$(status | member left_seconds)
if [ "$left" -le $((3 * 86400 - 60)) ] || [ "$left" -gt $((3 * 86400)) ]; then fail "$left s are left"; fi
has "for people" "$("$quipu" status)" "user.creds: 2 d left, until 20"
credentials "$dir/user.creds" $((now - 5))
equal "expired" "$(status | member left_seconds)" 0
has "expired, for people" "$("$quipu" status)" "user.creds: expired at 20"
credentials "$dir/user.creds" 0
has "for ever" "$(status)" '"expires_at":null,"left_seconds":null}'
chmod 644 "$dir/user.creds"
has "others may read them" "$("$quipu" status)" "chmod 600"
has "others may read them, as JSON" "$(status)" "\"file\":\"$dir/user.creds\",\"line\":\""
unset QUIPU_NATS_CREDENTIALS_FILE
mkdir -p "$XDG_CONFIG_HOME/quipu"
credentials "$XDG_CONFIG_HOME/quipu/nats.creds" 0
has "at the usual place" "$("$quipu" status)" "quipu/nats.creds: never expire"
has "somebody else" "$(QUIPU_NATS_USER=ada status)" '"credentials":null}'
passed
