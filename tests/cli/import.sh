#!/usr/bin/env bash
# Import from a pipe, encrypted, by allowed signers, over a gap, too large for one transaction's
# patience; and what the operations log says of it.
#   import.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

# event ID TEXT: one JSON line of aggregate note/ID.
event() {
    printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":{"text":"%s"}}\n' \
        "$1" "$2"
}
one=$dir/one
"$quipu" init --store "$one" >/dev/null
event a first | "$quipu" append --store "$one" - >/dev/null
"$quipu" export --store "$one" "$dir/1.car" >/dev/null
event b second | "$quipu" append --store "$one" - >/dev/null
"$quipu" export --store "$one" --since-last "$dir/2.car" >/dev/null
event c third | "$quipu" append --store "$one" - >/dev/null
"$quipu" export --store "$one" --since-last "$dir/3.car" >/dev/null
source=$("$quipu" status --store "$one" --json | member source)

export QUIPU_STORE=$dir/two
"$quipu" init >/dev/null
equal "operations of a new store" "$("$quipu" operations)" ""
before=$("$quipu" status --json | member events)

# Nothing is taken in that was not accepted.
refused 2 '--yes' INVALID import "$dir/1.car"
equal "events" "$("$quipu" status --json | member events)" "$before"
has "a look" "$("$quipu" import --dry-run "$dir/1.car")" "        1         0           0  note.written"
has "a look by aggregate" "$("$quipu" import --dry-run "$dir/1.car")" "note/a"
has "a look as JSON" "$("$quipu" import --dry-run --json "$dir/1.car")" \
    '"types":[{"name":"note.written","added":1,"known":0,"conflicting":0}],"aggregates":[{"name":"note/a"'

# From a pipe.
has "a pipe" "$("$quipu" import --yes - <"$dir/1.car")" "1 added, 0 known already"
head -c 300 "$dir/2.car" >"$dir/cut"
input=$dir/cut
refused 6 'standard input' CAR_TRUNCATED import --yes -
input=/dev/null

# In order.
refused 4 '--accept-gap' GAP import --yes "$dir/3.car"
has "a gap" "$("$quipu" import --yes --accept-gap 'the stick broke' --operator Ada "$dir/3.car")" "1 bundle before it, accepted"
has "it is filled" "$("$quipu" import --yes "$dir/2.car")" "1 added"
has "played again" "$("$quipu" import --yes --json "$dir/1.car")" '"was_known":true'

# Missing events are not missing bundles: no reason puts them there, a whole export does.
event d fourth | "$quipu" append --store "$one" - >/dev/null
"$quipu" export --store "$one" --since-last "$dir/4.car" >/dev/null
event d fifth | "$quipu" append --store "$one" - >/dev/null
"$quipu" export --store "$one" --since-last "$dir/5.car" >/dev/null
cp -r "$QUIPU_STORE" "$dir/gapped"
gapped() {
    "$quipu" --store "$dir/gapped" "$@"
}
refused 4 '--accept-gap REASON' GAP --store "$dir/gapped" import --yes "$dir/5.car"
refused 4 'quipu export all.car' GAP --store "$dir/gapped" import --yes --accept-gap lost "$dir/5.car"
equal "the cure is not what was done" "$(grep -c 'with --accept-gap' "$dir/err" || true)" 0
"$quipu" export --store "$one" "$dir/all.car" >/dev/null
has "the cure" "$(gapped import --yes --accept-gap lost "$dir/all.car")" "2 added, 3 known already"

# A source that was rolled back: another bundle with a number that is here, and what can be done.
cp -r "$one" "$dir/twin"
event e here | "$quipu" append --store "$one" - >/dev/null
"$quipu" export --store "$one" "$dir/honest.car" >/dev/null
event e there | "$quipu" append --store "$dir/twin" - >/dev/null
"$quipu" export --store "$dir/twin" "$dir/twin.car" >/dev/null
gapped import --yes --accept-gap lost "$dir/honest.car" >/dev/null
refused 4 'restore the backup from before' FORK --store "$dir/gapped" import --yes "$dir/twin.car"
equal "no cure that does not help" "$(grep -c 'keep-forks' "$dir/err" || true)" 0

# On whose word. The second store sends on what the first one recorded.
"$quipu" export "$dir/onward.car" >/dev/null
"$quipu" init --store "$dir/onward" >/dev/null
refused 6 '--unproven' UNTRUSTED --store "$dir/onward" import --yes "$dir/onward.car"
refused 6 '3 of 3 events' UNTRUSTED --store "$dir/onward" import --yes "$dir/onward.car"
has "a look at it" "$("$quipu" --store "$dir/onward" import --dry-run "$dir/onward.car")" \
    "3 events of other sources: taken on the signer's word"
has "on its word" "$("$quipu" --store "$dir/onward" import --yes --unproven --json "$dir/onward.car")" '"unproven":3'
two=$("$quipu" status --json | member source)
has "by name" "$("$quipu" --store "$dir/onward" import --yes --trust "$two" "$dir/onward.car")" "3 known already"

# What was damaged on its way is not bad input.
cp "$dir/1.car" "$dir/damaged.car"
printf '\377' | dd of="$dir/damaged.car" bs=1 seek=3 conv=notrunc status=none
refused 6 'get the file again' CBOR_UTF8 import --yes "$dir/damaged.car"
cp "$dir/1.car" "$dir/damaged.car"
printf '\377\377\377\377\177' | dd of="$dir/damaged.car" bs=1 seek=59 conv=notrunc status=none
refused 6 'get the file again' TOO_LARGE import --yes "$dir/damaged.car"

# By allowed signers.
"$quipu" verify --unpack "$dir/folder" "$dir/1.car" >/dev/null
has "allowed signers" "$("$quipu" import --yes --allowed-signers "$dir/folder/allowed_signers" "$dir/1.car")" "signed  $source"
sed 's/quipu-bundle@v1/git/' "$dir/folder/allowed_signers" >"$dir/signers"
refused 6 'namespace' UNTRUSTED import --yes --allowed-signers "$dir/signers" "$dir/1.car"
printf 'a cert-authority b\n' >"$dir/signers"
refused 3 'line 1: cert-authority' INVALID import --yes --allowed-signers "$dir/signers" "$dir/1.car"
refused 5 'allowed signers' NOT_FOUND import --yes --allowed-signers "$dir/nowhere" "$dir/1.car"

# Encrypted.
if command -v age-keygen >/dev/null && command -v age >/dev/null; then
    age-keygen -o "$dir/key" 2>/dev/null
    recipient=$(age-keygen -y "$dir/key")
    age -r "$recipient" -o "$dir/1.age" "$dir/1.car"
    has "an age file" "$("$quipu" import --yes --json --identity "$dir/key" "$dir/1.age")" '"encrypted":true'
    has "age in a pipe" "$(age -d -i "$dir/key" "$dir/1.age" | "$quipu" import --yes -)" "1 known already"
    refused 3 'identity' AGE_NO_MATCH import --yes "$dir/1.age"
fi

# Lines, which nobody signs.
"$quipu" export --format jsonl "$dir/all.jsonl" >/dev/null
refused 2 '--yes' INVALID import --unproven --format jsonl "$dir/all.jsonl"
refused 2 '--unproven' INVALID import --yes --format jsonl "$dir/all.jsonl"
refused 2 'neither signed' INVALID import --yes --format jsonl --trust "$source" "$dir/all.jsonl"
"$quipu" init --store "$dir/three" >/dev/null
before=$(digest "$dir/three")
look=$("$quipu" import --store "$dir/three" --dry-run --format jsonl "$dir/all.jsonl")
has "a look at lines" "$look" "lines   3 events"
has "a look at lines" "$look" "sha256  $(sha256sum <"$dir/all.jsonl" | cut -d ' ' -f 1)"
has "a look at lines by type" "$look" "        3         0           0  note.written"
has "a look at lines by aggregate" "$look" "        1         0           0  note/a"
has "a look at lines as JSON" "$("$quipu" import --store "$dir/three" --dry-run --json --format jsonl - <"$dir/all.jsonl")" \
    '"types":[{"name":"note.written","added":3,"known":0,"conflicting":0}],"aggregates":[{"name":"note/a"'
head -c -10 "$dir/all.jsonl" >"$dir/cut"
input=$dir/cut
refused 3 'line 3' JSON --store "$dir/three" import --yes --unproven --format jsonl -
input=/dev/null
equal "the store after looks" "$(digest "$dir/three")" "$before"
has "lines" "$("$quipu" import --store "$dir/three" --yes --unproven --format jsonl - <"$dir/all.jsonl")" "3 added, 0 known already"
has "lines of a named pipe" "$("$quipu" import --store "$dir/three" --yes --unproven --json --format jsonl <(cat "$dir/all.jsonl"))" \
    '"added":0,"forks":0,"known":3,"dry_run":false,"events":3,"signer":null,"operation":2,'
has "the row of lines" "$("$quipu" operations --store "$dir/three" --json | head -n 1)" '"kind":"import-lines","events":3,"added":3,"known":0'
printf 'age-encryption.org/v1\n' >"$dir/sealed"
refused 3 'decrypt it first' AGE_NO_MATCH import --yes --unproven --format jsonl "$dir/sealed"
"$quipu" export --store "$one" --format jsonl - | grep fifth >"$dir/fifth.jsonl"
refused 4 'quipu export all.car' GAP --store "$dir/three" import --yes --unproven --format jsonl "$dir/fifth.jsonl"
equal "the same CIDs" "$("$quipu" log --json | member cid | sort)" "$("$quipu" log --store "$dir/three" --json | member cid | sort)"
sed 's/second/2nd/' "$dir/all.jsonl" >"$dir/changed.jsonl"
refused 6 'line ' CID_MISMATCH import --yes --unproven --format jsonl "$dir/changed.jsonl"

# What happened.
"$quipu" operations --json >"$dir/log"
equal "the second row" "$(sed -n 2p "$dir/log" | sed 's/"at":"[^"]*",//; s/"source".*//')" \
    '{"number":2,"kind":"import","events":1,"added":1,"known":0,"bundle":3,"missing":1,"operator":"Ada","reason":"the stick broke",'
equal "digest of the first" "$(head -n 1 "$dir/log" | member sha256)" "$(sha256sum <"$dir/1.car" | cut -d ' ' -f 1)"
equal "rows behind the first" "$("$quipu" operations --after 1 --json | wc -l)" "$(($(wc -l <"$dir/log") - 1))"
has "for people" "$("$quipu" operations)" "  reason   the stick broke"
has "verify" "$("$quipu" verify)" "intact: 3 events"
passed
