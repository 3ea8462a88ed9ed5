#!/usr/bin/env bash
# One flipped byte on the disk: verify finds it and names the event; nothing damaged is shown, exported
# or published.
#   damage.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
for n in 1 2 3; do
    printf '{"aggregate_type":"note","aggregate_id":"a","event_type":"note.written","payload":{"text":"needle-%d-in-the-log"}}\n' "$n"
done | "$quipu" append - >/dev/null
payload=$("$quipu" show --json 2 | member payload_cid)

data=$(find "$QUIPU_STORE" -name data.mdb)
at=$(grep -abo 'needle-2-in-the-log' "$data" | head -n 1 | cut -d: -f1)
[ -n "$at" ] || fail "the payload is not in $data"
printf 'N' | dd of="$data" bs=1 seek="$at" conv=notrunc status=none

# verify says every problem on stdout, then fails with one line.
found=0
"$quipu" verify >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of verify" "$found" 6
has "verify" "$(cat "$dir/out")" "data.mdb: position 2: the payload does not hash to its CID $payload"
has "verify" "$(cat "$dir/out")" "damaged: 3 events"
equal "lines on stderr of verify" "$(wc -l <"$dir/err")" 1
has "verify" "$(cat "$dir/err")" "restore a backup"
found=0
"$quipu" verify --json >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of verify --json" "$found" 6
has "verify --json" "$(head -n 1 "$dir/out")" '{"problem":{"position":2,'
has "verify --json" "$(tail -n 1 "$dir/out")" '{"intact":false,"events":3,'
has "verify --json" "$(tail -n 1 "$dir/out")" '"first":{"position":2,"line":"position 2: the payload'
has "verify --json" "$(tail -n 1 "$dir/out")" '"file":"data.mdb"}'
has "verify --json" "$(cat "$dir/err")" '{"error":{"status":"CORRUPT"'

refused 6 '; ' CORRUPT show 2
refused 6 '; ' CORRUPT cat "$payload"
refused 6 '; ' CORRUPT export "$dir/all.car"
refused 6 '; ' CORRUPT export --format jsonl "$dir/all.jsonl"

# ends COMMAND…: what is before the damaged event may be shown, it and what is behind it are not; exit
# code 6, and one line that names the position and the block.
ends() {
    local found=0
    "$quipu" "$@" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of $*: $(cat "$dir/err")" "$found" 6
    equal "lines on stderr of $*" "$(wc -l <"$dir/err")" 1
    has "$*" "$(cat "$dir/err")" "position 2: the payload should hash to $payload, but hashes to "
    equal "what $* shows of it" "$(grep -cE 'eedle-[23]-in' "$dir/out")" 0
}
ends log
ends log --reverse
ends log --json
equal "positions that log --json shows" "$(member position <"$dir/out")" 1
ends log --since 2
ends log --follow --limit 3
ends replay --causal
ends log --type note.written
ends log --aggregate note/a
ends query '{"query":"event","position":2}'
ends query '{"query":"events"}'
for turn in first second rebuild; do
    rebuild=()
    [ "$turn" != rebuild ] || rebuild=(--rebuild)
    ends replay "${rebuild[@]}"
    has "list after the $turn replay" "$("$quipu" projections list --json)" '"position":1,'
    equal "parked after the $turn replay" "$("$quipu" projections list --json | grep -c '"parked":{')" 0
done

equal "files of refused exports" "$(find "$dir" -name 'all*' | wc -l)" 0
equal "the events around it" "$("$quipu" show --json 1 | member position) $("$quipu" show --json 3 | member position)" \
    "1 3"
equal "export without it" "$("$quipu" export --until 1 --json "$dir/first.car" | member events)" 1

# The byte is what it was: all goes on, and nobody need say so.
printf 'n' | dd of="$data" bs=1 seek="$at" conv=notrunc status=none
equal "replay when it is sound again" "$("$quipu" replay --json | member position | sort -u)" 3
equal "log when it is sound again" "$("$quipu" log --json | member position | tr '\n' ' ')" "1 2 3 "
passed
