#!/usr/bin/env bash
# Forks: two devices go on from the same event by themselves; a bundle carries one branch to the other.
# Refused unless it is to be kept; then listed, exported, verified, merged.
#   forks.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

# event ID TEXT: one JSON line of aggregate note/ID.
event() {
    printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":{"text":"%s"}}\n' \
        "$1" "$2"
}
one=$dir/one
two=$dir/two
"$quipu" init --store "$one" >/dev/null
event a first | "$quipu" append --store "$one" - >/dev/null
"$quipu" init --store "$two" >/dev/null
"$quipu" export --store "$one" "$dir/first.car" >/dev/null
"$quipu" import --yes --store "$two" "$dir/first.car" >/dev/null
event a ours | "$quipu" append --store "$one" - >/dev/null
event a theirs | "$quipu" append --store "$two" - >/dev/null
event a more | "$quipu" append --store "$two" - >/dev/null
"$quipu" export --store "$two" "$dir/branch.car" >/dev/null
"$quipu" export --store "$one" "$dir/ours.car" >/dev/null
equal "forks" "$("$quipu" forks --store "$one")" "no forks"
equal "forks --json" "$("$quipu" forks --store "$one" --json)" ""

export QUIPU_STORE=$one
refused 4 '--keep-forks' FORK import --yes --unproven "$dir/branch.car"
equal "events" "$("$quipu" status --json | member events)" 2
has "import --keep-forks" "$("$quipu" import --yes --unproven --keep-forks "$dir/branch.car")" "2 added"
has "import" "$("$quipu" import --yes --unproven "$dir/branch.car")" "0 added"
has "import" "$("$quipu" import --yes --store "$two" --keep-forks "$dir/ours.car")" "1 added"

# Both hold the same conflict, and the way on says what to do.
list=$("$quipu" forks --json)
equal "forks of the other store" "$("$quipu" forks list --store "$two" --json)" "$list"
cid=$(member cid <<<"$list")
equal "kind" "$(member kind <<<"$list")" aggregate
equal "state" "$(member state <<<"$list")" open
equal "version" "$(member version <<<"$list")" 2
has "forks" "$("$quipu" --quiet forks)" "open     note/a from version 2"
has "stderr of forks" "$("$quipu" forks 2>&1 >/dev/null)" "quipu merge"
has "forks show" "$("$quipu" forks show "$cid")" "state    open"
has "status" "$("$quipu" status)" "open forks"
has "status --json" "$("$quipu" status --json)" '"forks":{"open":1,"aggregates":1,"sources":0}'
has "verify" "$("$quipu" verify)" "intact: 4 events"
event a onward >"$dir/onward"
input=$dir/onward refused 4 'quipu merge' FORK append -
event b elsewhere | "$quipu" append - >/dev/null

# Evidence stands alone.
has "forks export" "$("$quipu" forks export "$cid" "$dir/evidence")" "evidence: "
equal "CID of the file" "$("$quipu" cid --codec dag-cbor "$dir/evidence")" "$cid"
"$quipu" forks export "$cid" - | cmp - "$dir/evidence" || fail "stdout is not the file"
(
    unset QUIPU_STORE
    cd "$dir"
    verified=$("$quipu" forks verify evidence)
    has "forks verify" "$verified" "holds: two envelopes claim one place; envelopes are not signed one by one"
    has "forks verify" "$verified" "signed bundles and checkpoints of their sources"
    ! grep -qi proven <<<"$verified" || fail "evidence proves no author: $verified"
    equal "cid" "$("$quipu" forks verify --json - <evidence | member cid)" "$cid"
)
refused 4 'name a new file' EXISTS forks export "$cid" "$dir/evidence"
cp "$dir/evidence" "$dir/tampered"
printf '\x00' | dd of="$dir/tampered" bs=1 seek=200 conv=notrunc status=none
tampered=0
"$quipu" forks verify "$dir/tampered" >/dev/null 2>&1 || tampered=$?
[ "$tampered" -ne 0 ] || [ "$("$quipu" cid "$dir/tampered")" != "$cid" ] || fail "tampered evidence"
head -c 100 "$dir/evidence" >"$dir/short"
refused 3 'evidence again' CBOR_TRUNCATED forks verify "$dir/short"
none=bafyreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
refused 5 'quipu forks' NOT_FOUND forks show "$none"
refused 5 'quipu forks' NOT_FOUND forks export "$none" "$dir/none"
refused 2 'quipu forks --help' INVALID forks nonsense
refused 2 'quipu forks --help' INVALID forks show

# The merge.
refused 3 'name the same one in both' INVALID merge note/b "$dir/onward"
input=/dev/null refused 3 '' INVALID merge note/a -
merged=$("$quipu" merge --json note/a "$dir/onward")
equal "version" "$(member version <<<"$merged")" 4
equal "tips_joined" "$(member tips_joined <<<"$merged")" 2
equal "tips_left" "$(member tips_left <<<"$merged")" 1
equal "state" "$("$quipu" forks --json | member state)" closed
refused 3 'append to it instead' INVALID merge note/a "$dir/onward"
event a after | "$quipu" append - >/dev/null
has "verify" "$("$quipu" verify)" "intact: 7 events"

# The other store takes the merge, which closes the conflict there too.
"$quipu" export "$dir/merged.car" >/dev/null
"$quipu" import --yes --unproven --store "$two" "$dir/merged.car" >/dev/null
equal "state" "$("$quipu" forks --store "$two" --json | member state)" closed
has "verify" "$("$quipu" verify --store "$two")" "intact: 7 events"

# The events came in different orders; in causal order the projections are the same.
equal "replay --causal" \
    "$("$quipu" replay --causal --json --projection inventory | member digest)" \
    "$("$quipu" replay --causal --json --projection inventory --store "$two" | member digest)"
passed
