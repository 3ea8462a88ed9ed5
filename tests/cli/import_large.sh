#!/usr/bin/env bash
# Import of more than a small transaction takes, of a bundle and of lines: into a copy of the store;
# not into a copy where little of it is new, nor where somebody has the store open; in little memory.
#   import_large.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

# events FIRST LAST: JSON lines with payloads of 200,000 bytes.
events() {
    awk -v first="$1" -v last="$2" 'BEGIN {
        text = "0123456789abcdefghij"
        for (i = 0; i < 4; i++) text = text text text text text text text text text text
        for (i = first; i <= last; i++)
            printf "{\"aggregate_type\":\"note\",\"aggregate_id\":\"n%d\",\"event_type\":\"note.written\",\"payload\":{\"n\":%d,\"text\":\"%s\"}}\n", i, i, text
    }'
}
# inode STORE: another one where the data file was put in the place of the old one.
inode() {
    stat -c %i "$1/data.mdb"
}
# wait_for LINES FILE
wait_for() {
    for _ in $(seq 1000); do
        [ "$(wc -l <"$2")" -lt "$1" ] || return 0
        sleep 0.01
    done
    fail "$2 has $(wc -l <"$2") of $1 lines"
}

one=$dir/one
"$quipu" init --store "$one" >/dev/null
events 1 240 | "$quipu" append --store "$one" - >/dev/null
"$quipu" export --store "$one" "$dir/1.car" >/dev/null

# Into a copy, which takes the store's place.
two=$dir/two
"$quipu" init --store "$two" >/dev/null
before=$(inode "$two")
has "a look" "$("$quipu" import --store "$two" --dry-run --json "$dir/1.car" 2>"$dir/said")" '"added":240'
has "said" "$(cat "$dir/said")" "into a copy of the store"
equal "the file after a look" "$(inode "$two")" "$before"
has "taken in" "$("$quipu" import --store "$two" --yes "$dir/1.car" 2>"$dir/said")" "240 added, 0 known already"
has "said" "$(cat "$dir/said")" "into a copy of the store"
[ "$(inode "$two")" != "$before" ] || fail "the file is the same: there was no copy"

# All of it is known: no copy is made, and nobody has to leave the store.
before=$(inode "$two")
has "again" "$("$quipu" import --store "$two" --yes "$dir/1.car" 2>"$dir/said")" "0 added, 240 known already"
equal "said of duplicates" "$(cat "$dir/said")" ""
equal "the file after duplicates" "$(inode "$two")" "$before"

# A few more, in a bundle of all: as little is new.
events 241 243 | "$quipu" append --store "$one" - >/dev/null
"$quipu" export --store "$one" "$dir/2.car" >/dev/null
has "a few" "$("$quipu" import --store "$two" --yes "$dir/2.car" 2>"$dir/said")" "3 added, 240 known already"
equal "said of a few" "$(cat "$dir/said")" ""
equal "the file after a few" "$(inode "$two")" "$before"

# Somebody reads the store and does not leave it: in one transaction, then.
three=$dir/three
"$quipu" init --store "$three" >/dev/null
events 1 1 | sed 's/"n1"/"own"/' | "$quipu" append --store "$three" - >/dev/null
"$quipu" log --store "$three" --follow --json >"$dir/followed" &
reader=$!
wait_for 1 "$dir/followed"
before=$(inode "$three")
has "in use" "$("$quipu" import --store "$three" --yes "$dir/1.car" 2>"$dir/said")" "240 added, 0 known already"
has "said" "$(cat "$dir/said")" "the store is in use: not into a copy, but in one transaction"
equal "the file in use" "$(inode "$three")" "$before"
wait_for 241 "$dir/followed"
kill -INT "$reader"
wait "$reader"
has "verify" "$("$quipu" verify --store "$three")" "intact: 241 events"

# Lines the same way, from a file and from standard input.
"$quipu" export --store "$one" --format jsonl "$dir/all.jsonl" >/dev/null
take_lines() {
    "$quipu" import --yes --unproven --format jsonl "$@"
}
for name in "$dir/all.jsonl" -; do
    rm -rf "$dir/four"
    "$quipu" init --store "$dir/four" >/dev/null
    before=$(inode "$dir/four")
    has "lines from $name" "$(take_lines --store "$dir/four" "$name" <"$dir/all.jsonl" 2>"$dir/said")" \
        "243 added, 0 known already"
    has "said of lines" "$(cat "$dir/said")" "into a copy of the store"
    [ "$(inode "$dir/four")" != "$before" ] || fail "the file is the same: there was no copy"
    before=$(inode "$dir/four")
    has "lines again from $name" "$(take_lines --store "$dir/four" "$name" <"$dir/all.jsonl" 2>"$dir/said")" \
        "0 added, 243 known already"
    equal "said of known lines" "$(cat "$dir/said")" ""
    equal "the file after known lines" "$(inode "$dir/four")" "$before"
done
has "verify lines" "$("$quipu" verify --store "$dir/four")" "intact: 243 events"

# 48 MB of events in 48 MiB of memory, all but mapped files: one transaction would not fit.
within() {
    (ulimit -d 49152 && "$quipu" "$@")
}
if within status --store "$one" >/dev/null 2>&1; then
    for carrier in "$dir/1.car" "--unproven --format jsonl $dir/all.jsonl"; do
        rm -rf "$dir/four"
        "$quipu" init --store "$dir/four" >/dev/null
        # shellcheck disable=SC2086 # options and a path without spaces
        has "in little memory" "$(within import --store "$dir/four" --yes --json $carrier 2>/dev/null)" '"added":24'
    done
    equal "lines in little memory" "$(within export --store "$one" --format jsonl - | sha256sum)" \
        "$(sha256sum <"$dir/all.jsonl")"
fi
has "verify the copy" "$("$quipu" verify --store "$two")" "intact: 243 events"
passed
