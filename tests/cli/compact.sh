#!/usr/bin/env bash
# The upkeep of a store: compact makes it smaller and changes nothing that can be read; nobody else may
# have it open. Progress is said where it is asked for.
#   compact.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
for round in 1 2 3 4; do
    for n in $(seq 1 600); do
        printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":{"text":"%s-%s"}}\n' \
            "$((n % 20))" "$round" "$n"
    done | "$quipu" append - >/dev/null
done
before=$("$quipu" log --json | sha256sum)
source_before=$("$quipu" status --json | member source)
figures=$("$quipu" compact --json)
equal "events" "$(member events <<<"$figures")" 2400
equal "runs after" "$(member runs_after <<<"$figures")" 1
[ "$(member bytes_after <<<"$figures")" -lt "$(member bytes_before <<<"$figures")" ] ||
    fail "not smaller: $figures"
equal "bytes after" "$(member bytes_after <<<"$figures")" "$(stat -c %s "$QUIPU_STORE/data.mdb")"
equal "the log" "$("$quipu" log --json | sha256sum)" "$before"
equal "the source" "$("$quipu" status --json | member source)" "$source_before"
has "verify" "$("$quipu" verify)" "intact: 2,400 events"
has "compact" "$("$quipu" compact)" "2,400 events, "

# Progress: nothing unless it is asked for, then lines on stderr, and the last one is the whole.
equal "stderr of verify" "$("$quipu" verify 2>&1 >/dev/null)" ""
has "verify --progress" "$("$quipu" verify --progress 2>&1 >/dev/null)" \
    "2,400 of 2,400 events verified, "
has "verify --progress" "$("$quipu" verify --progress 2>&1 >/dev/null)" \
    "2,400 of 2,400 events held against the indexes"
has "verify --progress --json" "$("$quipu" verify --progress --json 2>&1 >/dev/null)" \
    '{"progress":{"what":"events verified","done":2400,"total":2400,"bytes":'
has "compact --progress" "$("$quipu" compact --progress 2>&1 >/dev/null)" "rows compared"
has "verify --json" "$("$quipu" verify --json)" '"first":null}'

# A process that follows the log has the store open.
"$quipu" log --follow --json >"$dir/follow" &
follower=$!
until [ -s "$dir/follow" ]; do
    kill -0 "$follower" 2>/dev/null || fail "log --follow has ended"
    sleep 0.01
done
refused 4 'close it there first' BUSY compact
has "compact" "$(cat "$dir/err")" "is open in process $follower"
kill "$follower"
wait "$follower" 2>/dev/null || true
has "compact" "$("$quipu" compact)" "1 run merged into 1"

# Rebuilding changes nothing that is sound, and verifies afterwards.
has "verify --repair-indexes" "$("$quipu" verify --repair-indexes)" \
    "rebuilt: the indexes of 2,400 events; put right: 0 links, 0 counters of the outbox"
has "verify --repair-indexes --json" "$("$quipu" verify --repair-indexes --json)" \
    '{"rebuilt":{"events":2400,"aggregates":20,"relinked":0,'
equal "the log" "$("$quipu" log --json | sha256sum)" "$before"
equal "the source" "$("$quipu" status --json | member source)" "$source_before"
has "verify" "$("$quipu" verify)" "intact: 2,400 events"

# An entry of an index that is not true: verify says what mends it, and that does.
data=$QUIPU_STORE/data.mdb
# grep reads lines: an id with 0a in it would be two.
position=1700
until event_id=$("$quipu" show --json "$position" | member event_id) &&
    bytes=$(printf '%s' "${event_id//-/}" | sed 's/../\\x&/g') && [[ $bytes != *x0a* ]]; do
    position=$((position + 1))
done
flipped=0
# Its first half where the second half does not follow: in the index, not in the envelope.
while read -r at; do
    printf '\x00' | dd of="$data" bs=1 seek=$((at + 7)) conv=notrunc status=none
    flipped=$((flipped + 1))
done < <(LC_ALL=C grep -abPo "${bytes:0:32}(?!${bytes:32:32})" "$data" | cut -d: -f1)
[ "$flipped" -ge 1 ] || fail "the index has no entry for $event_id"
found=0
"$quipu" verify >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of verify" "$found" 6
has "verify" "$(cat "$dir/out")" "data.mdb: position "
has "verify" "$(cat "$dir/err")" "quipu verify --repair-indexes"
has "verify --repair-indexes" "$("$quipu" verify --repair-indexes)" "intact: 2,400 events"
equal "the log" "$("$quipu" log --json | sha256sum)" "$before"
refused 2 'quipu verify --help' INVALID verify --repair-indexes some.car

QUIPU_STORE=$dir/nowhere
refused 5 'quipu init' NOT_FOUND compact
passed
