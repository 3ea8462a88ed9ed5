#!/usr/bin/env bash
# A backup, and a store restored from it: a copy that is verified, made while another process appends
# without a pause; the copy has no key, records under a source of its own, and everything that was
# recorded before stays verifiable.
#   backup.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
note() {
    printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":{"n":%d}}\n' \
        "$1" "$2"
}
"$quipu" init >/dev/null
for n in $(seq 1 50); do note a "$n"; done | "$quipu" append - >/dev/null
old_source=$("$quipu" status --json | member source)

# Backups while events come in one by one: each is whole, and ends where the log ended some time.
(
    n=0
    until [ -e "$dir/enough" ]; do
        n=$((n + 1))
        note b "$n" | "$quipu" append - >/dev/null || exit 1
    done
) &
writer=$!
before=50
for copy in 1 2 3 4 5; do
    events=$("$quipu" backup --json "$dir/copy-$copy" | member events)
    kill -0 "$writer" 2>/dev/null || fail "the writer has ended"
    [ "$events" -ge "$before" ] || fail "copy $copy has $events events, the one before $before"
    before=$events
    has "verify of copy $copy" "$("$quipu" --store "$dir/copy-$copy" verify)" "intact: "
    # More has been appended before the next one.
    until [ "$("$quipu" status --json | member events)" -gt "$events" ]; do
        kill -0 "$writer" 2>/dev/null || fail "the writer has ended"
    done
done
: >"$dir/enough"
wait "$writer" || fail "an append failed while a backup was made"
has "verify" "$("$quipu" verify)" "intact: "

# What it says.
has "backup" "$("$quipu" backup "$dir/said" 2>/dev/null)" ", in $dir/said, verified"
equal "backup --no-verify" "$("$quipu" backup --no-verify --json "$dir/unverified" | member verified)" false
has "backup --progress" "$("$quipu" backup --progress "$dir/progress" 2>&1 >/dev/null)" \
    "events of the copy verified, "
refused 4 'not empty' EXISTS backup "$dir/said"

# Restored: no key, no loss, and a new source from the first event on.
restored=$dir/said
equal "keys in the copy" "$(find "$restored" -name '*.key' | wc -l)" 0
events=$("$quipu" status --json | member events)
equal "events of the copy" "$("$quipu" --store "$restored" log --json | sha256sum)" \
    "$("$quipu" log --json | sha256sum)"
note c 1 | "$quipu" --store "$restored" append - >/dev/null
new_source=$("$quipu" --store "$restored" status --json | member source)
if [ -z "$new_source" ] || [ "$new_source" = "$old_source" ]; then
    fail "the source is still $old_source"
fi
has "a new event" "$("$quipu" --store "$restored" show --json "$((events + 1))")" "$new_source"
has "an old event" "$("$quipu" --store "$restored" show --json 1)" "$old_source"
verdict=$("$quipu" --store "$restored" verify --json)
equal "sources" "$(member sources <<<"$verdict")" 2
equal "events" "$(member events <<<"$verdict")" "$((events + 1))"
equal "problems" "$(member problems <<<"$verdict")" 0
equal "the old store's source" "$("$quipu" status --json | member source)" "$old_source"

# What the restored store has recorded comes back to the first one as a foreign store's.
"$quipu" --store "$restored" export --since "$((events + 1))" "$dir/new.car" >/dev/null
"$quipu" import --yes "$dir/new.car" >/dev/null
equal "events" "$("$quipu" status --json | member events)" "$((events + 1))"
has "verify" "$("$quipu" verify)" "intact: "

# Put back over the store's own folder, where the key still is: nothing is numbered twice, though what
# came after the backup was recorded under that key and is with others already.
first=$dir/first
peer=$dir/peer
"$quipu" --store "$first" init >/dev/null
for n in $(seq 1 20); do note r "$n"; done | "$quipu" --store "$first" append - >/dev/null
first_source=$("$quipu" --store "$first" status --json | member source)
"$quipu" --store "$first" backup "$dir/of-first" >/dev/null 2>&1
for n in $(seq 21 25); do note r "$n"; done | "$quipu" --store "$first" append - >/dev/null
"$quipu" --store "$first" export "$dir/first.car" >/dev/null 2>&1
"$quipu" --store "$peer" init >/dev/null
"$quipu" --store "$peer" import --yes "$dir/first.car" >/dev/null
cp -r "$dir/of-first/." "$first/"
key=$(sha256sum <"$first/signing.key")
equal "reading leaves the key" "$("$quipu" --store "$first" log 2>&1 | wc -l)" 20
equal "the key" "$(sha256sum <"$first/signing.key")" "$key"
for n in $(seq 31 35); do note s "$n"; done | "$quipu" --store "$first" append - >/dev/null 2>"$dir/err"
has "append after the restore" "$(cat "$dir/err")" "was restored from a backup: it records under a new source"
second_source=$("$quipu" --store "$first" status --json | member source)
[ "$second_source" != "$first_source" ] || fail "the source is still $first_source"
has "append after the restore" "$(cat "$dir/err")" "$second_source"
equal "the retired key" "$(sha256sum <"$first/signing.key.retired")" "$key"
for n in $(seq 21 25); do
    equal "source of $n" "$("$quipu" --store "$first" show --json "$n" | member source)" "$second_source"
    equal "number of $n" "$("$quipu" --store "$first" show --json "$n" | member source_seq)" "$((n - 20))"
done
note s 36 | "$quipu" --store "$first" append - >/dev/null 2>"$dir/err"
equal "said once" "$(cat "$dir/err")" ""
equal "the source stays" "$("$quipu" --store "$first" status --json | member source)" "$second_source"
# Both ways: what the backup lacks comes home, what was recorded since goes out, and no source forks.
"$quipu" --store "$peer" export "$dir/peer.car" >/dev/null 2>&1
"$quipu" --store "$first" import --yes --unproven "$dir/peer.car" >/dev/null
"$quipu" --store "$first" export "$dir/first-again.car" >/dev/null 2>&1
"$quipu" --store "$peer" import --yes --trust "$second_source" "$dir/first-again.car" >/dev/null
for store in "$first" "$peer"; do
    equal "events of $store" "$("$quipu" --store "$store" status --json | member events)" 31
    equal "forks of $store" "$("$quipu" --store "$store" forks --json | wc -l)" 0
    has "verify $store" "$("$quipu" --store "$store" verify)" "intact: 31 events"
done

# A damaged store gives a damaged copy, and says so.
data=$QUIPU_STORE/data.mdb
note d 1 | sed 's/"n":1/"text":"needle-in-the-log"/' | "$quipu" append - >/dev/null
at=$(grep -abo 'needle-in-the-log' "$data" | head -n 1 | cut -d: -f1)
printf 'N' | dd of="$data" bs=1 seek="$at" conv=notrunc status=none
refused_once() {
    local found=0
    "$quipu" backup "$dir/bad" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of backup" "$found" 6
    has "backup" "$(cat "$dir/err")" "the copy in $dir/bad is damaged: position $((events + 2)): the payload"
    has "backup" "$(cat "$dir/err")" "quipu verify"
}
refused_once
passed
