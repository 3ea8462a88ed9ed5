#!/usr/bin/env bash
# One flipped bit in the index of event_ids hides an event, and its retry is stored beside it: verify
# names the index, and where that is mended it names both events; export makes no bundle that nobody
# can import, and verify of one that was made names it. What comes in by a bundle is not stored twice.
#   repeated.sh QUIPU FORGE
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
forge=$2
export LC_ALL=C

id() { printf '0190b5%02x-%02x07-7%03x-8000-%012x' $(($1 >> 8)) $(($1 & 255)) "$1" "$1"; }
line() {
    printf '{"aggregate_type":"key","aggregate_id":"k%d","event_id":"%s","event_type":"key.used","payload":{"n":%d}}\n' \
        $(($1 % 10)) "$(id "$1")" "$1"
}
# More than the 1,024 of which the index makes a run.
for ((n = 1; n <= 1100; n++)); do line "$n"; done >"$dir/lines"
line 500 >"$dir/retry"

# flip STORE: a bit of the entry of event 500: eight bytes of its event_id, and 499 behind the run's first.
flip() {
    local bytes at
    bytes=$(id 500 | tr -d - | cut -c1-16 | sed 's/../\\x&/g')
    at=$(grep -obUaP "$bytes\\x00\\x00\\x01\\xf3" "$1/data.mdb" | cut -d: -f1)
    [ "$(wc -w <<<"$at")" = 1 ] || fail "the entry of event 500 is in $1 once, not at: $at"
    printf '%b' "\\x$(printf %02x $((0xf4 ^ 1)))" | dd of="$1/data.mdb" bs=1 seek=$((at + 7)) conv=notrunc status=none
}

# ------------------------------------------------------------------ a retry
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
"$quipu" append - <"$dir/lines" >/dev/null
"$quipu" export "$dir/before.car" >/dev/null
cp -r "$QUIPU_STORE" "$dir/kept"
flip "$QUIPU_STORE"
"$quipu" append - <"$dir/retry" >/dev/null

verify() {
    found=0
    "$quipu" verify "$@" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of verify $*" "$found" 6
}
verify
has "verify" "$(cat "$dir/out")" "position 500: run 1 of eidrun has a wrong entry"
has "verify" "$(cat "$dir/err")" "rebuild what derives from the log with \`quipu verify --repair-indexes\`"
verify --repair-indexes
equal "what verify says" "$(grep -c 'data.mdb: ' "$dir/out")" 1
has "verify" "$(cat "$dir/out")" \
    "data.mdb: position 1101: REPEATED event_id $(id 500), which position 500 has too, another event: the first one counts"
has "verify" "$(cat "$dir/out")" "damaged: 1,101 events"
has "verify" "$(cat "$dir/err")" "export --until POSITION"
one_cure "verify" "$(cat "$dir/err")"
verify --json
has "verify --json" "$(head -n 1 "$dir/out")" '{"problem":{"position":1101,"line":"position 1101: REPEATED event_id'
equal "what a retry finds now" "$("$quipu" append --json - <"$dir/retry" | member position)" 500

# ------------------------------------------------------------------ its bundle
refused 4 'events 500 and 1101 of 1101 have one' EVENT_ID_CONFLICT export "$dir/all.car"
equal "files of the refused export" "$(find "$dir" -name 'all*' | wc -l)" 0
"$quipu" export --until 1100 "$dir/until.car" >/dev/null
"$quipu" init --store "$dir/new" >/dev/null
"$quipu" import --store "$dir/new" --yes --accept-gap "a part" "$dir/until.car" >/dev/null
equal "verify of the new store" "$("$quipu" verify --store "$dir/new" --json | member events)" 1100

# No export makes one any more: a forger with the store's key does.
"$quipu" init --store "$dir/few" >/dev/null
head -n 12 "$dir/lines" | "$quipu" append --store "$dir/few" - >/dev/null
"$quipu" export --store "$dir/few" "$dir/few.car" >/dev/null
"$forge" "$dir/few" "$dir/few.car" "$dir/twice.car" "event_id twice"
refused 31 "repeated event_id: $dir/twice.car: events 1 and 12 of 12 have one and the same event_id $(id 1)" \
    EVENT_ID_CONFLICT verify "$dir/twice.car"
"$quipu" verify "$dir/few.car" >/dev/null

# ------------------------------------------------------------------ a bundle that is known
"$quipu" init --store "$dir/far" >/dev/null
"$quipu" import --store "$dir/far" --yes "$dir/before.car" >/dev/null
flip "$dir/far"
for forks in '' --keep-forks; do
    refused 6 'stands here already, position 500' CORRUPT \
        import --store "$dir/far" --yes ${forks:+"$forks"} "$dir/before.car"
done
"$quipu" verify --store "$dir/far" --repair-indexes >/dev/null
"$quipu" import --store "$dir/far" --yes "$dir/before.car" >/dev/null
equal "events after all that" "$("$quipu" verify --store "$dir/far" --json | member events)" 1100

# Its own store is told so too.
flip "$dir/kept"
refused 6 'stands here already, position 500' CORRUPT import --store "$dir/kept" --yes "$dir/before.car"
passed
