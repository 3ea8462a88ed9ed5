#!/usr/bin/env bash
# A store whose folder cannot be written, such as an auditor's read-only mount: it is read and verified,
# what would write is refused with a cure, and nothing in it changes. Nobody writes under such a reader,
# and it reads nothing while somebody may write.
#   read_only.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
writer=$quipu
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
line='{"aggregate_type":"key","aggregate_id":"root","event_type":"key.generated","payload":{"n":1}}'
printf '%s\n%s\n' "$line" "$line" | "$quipu" append - >/dev/null
"$quipu" export "$dir/all.car" >/dev/null

# For root no folder is closed until the capability that opens them all is given up.
if [ "$(id -u)" = 0 ]; then
    setpriv --bounding-set -dac_override,-dac_read_search true 2>/dev/null ||
        skip "root cannot be kept out of a folder here"
    printf '#!/bin/sh\nexec setpriv --bounding-set -dac_override,-dac_read_search %s "$@"\n' "$quipu" \
        >"$dir/quipu"
    chmod +x "$dir/quipu"
    quipu=$dir/quipu
fi
follower=
leave() {
    local code=$?
    set +e
    [ -z "$follower" ] || kill "$follower" 2>/dev/null
    chmod -R u+rw "$dir/store"
    (exit "$code") # what cleanup ends with
    cleanup
}
trap leave EXIT

# whole: every file of the store with its content.
whole() {
    (cd "$QUIPU_STORE" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

input=$dir/input
printf '%s\n' "$line" >"$input"
for locks in with without; do
    [ "$locks" = with ] || rm -f "$QUIPU_STORE"/*lock*
    chmod a-w "$QUIPU_STORE" "$QUIPU_STORE"/*
    before=$(whole)
    has "verify $locks locks" "$("$quipu" verify)" "intact: 2 events"
    equal "log $locks locks" "$("$quipu" log | wc -l)" 2
    equal "show $locks locks" "$("$quipu" show --json 2 | member version)" 2
    equal "status $locks locks" "$("$quipu" status --json | member events)" 2
    equal "backup $locks locks" "$("$quipu" backup --json --quiet "$dir/backup-$locks" | member events)" 2
    "$quipu" export "$dir/$locks.car" >/dev/null 2>"$dir/err"
    has "export $locks locks" "$(cat "$dir/err")" "the bundle has no number"
    has "verify of the bundle $locks locks" "$("$quipu" verify "$dir/$locks.car")" "2 events"
    equal "lines $locks locks" "$("$quipu" export --format jsonl - | wc -l)" 2
    refused 1 'make its folder writable, or work on a backup of it' PERMISSION append -
    refused 1 'make its folder writable, or work on a backup of it' PERMISSION import --yes "$dir/all.car"
    equal "the store $locks locks" "$(whole)" "$before"
    chmod u+w "$QUIPU_STORE" "$QUIPU_STORE"/*
done

# follows NAME PROGRAM: have the store open, in the background, until the process $follower is killed.
follows() {
    "$2" log --follow --json >"$dir/$1" &
    follower=$!
    until [ "$(wc -l <"$dir/$1")" -ge 2 ]; do
        kill -0 "$follower" 2>/dev/null || fail "log --follow has ended"
        sleep 0.01
    done
}
ends() {
    kill "$follower"
    wait "$follower" || true
    follower=
}

# Who may write has it open: what is read beside it proves nothing, damage least of all.
follows written "$writer"
chmod a-w "$QUIPU_STORE" "$QUIPU_STORE"/*
refused 4 "open in process $follower, which may write" BUSY verify
refused 4 "open in process $follower, which may write" BUSY log
ends
has "verify when it has ended" "$("$quipu" verify)" "intact: 2 events"

# And the other way round.
follows read "$quipu"
reads=$quipu
quipu=$writer
chmod u+w "$QUIPU_STORE" "$QUIPU_STORE"/*
input=/dev/null
refused 4 "being read by process" BUSY log
input=$dir/input
refused 4 "try again when it has ended" BUSY append -
ends
quipu=$reads

# Who cannot see whether anybody writes does not read either.
chmod a-w "$QUIPU_STORE" "$QUIPU_STORE"/*
chmod 0 "$QUIPU_STORE/open.lock"
refused 1 'chmod a+r' PERMISSION verify
chmod u+rw "$QUIPU_STORE" "$QUIPU_STORE"/*
equal "writable again" "$("$quipu" append - <"$input")" "1 appended, 0 duplicates"
refused 5 'quipu init' NOT_FOUND log --store "$dir/nowhere"
passed
