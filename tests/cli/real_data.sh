#!/usr/bin/env bash
# The real history of a public root of trust: 3,288 events in, twice; read, verified, projected,
# exported, imported, backed up, published, pulled.
#   real_data.sh QUIPU CHECK_ROLES with|without
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
check_roles=$2
has_jetstream=$3
events=$(shared data/root-signing.events.jsonl.gz)
history=$(shared data/raw/sigstore/root_history)
export QUIPU_STORE=$dir/a

zcat "$events" >"$dir/input"
equal "source of init" "$("$quipu" init --json | member source | cut -c1)" U
equal "first append" "$(zcat "$events" | "$quipu" append -)" "3,288 appended, 0 duplicates"
before=$(digest "$dir/a")
equal "second append" "$("$quipu" append "$dir/input")" "0 appended, 3,288 duplicates"
equal "third append" "$("$quipu" append --atomic-lines 7 <"$dir/input")" "0 appended, 3,288 duplicates"
equal "store after duplicates" "$(digest "$dir/a")" "$before"
has "verify" "$("$quipu" verify)" "intact: 3,288 events, 239 aggregates, 1 source, "
equal "verify --json" "$("$quipu" verify --json | member intact)" true

# The history of one aggregate is numbered without gaps and every event names its aggregate.
equal "versions of role/root" \
    "$("$quipu" log --aggregate role/root --json | member version | tr '\n' ' ')" \
    "$(seq "$(grep -c '"aggregate_id":"root","aggregate_type":"role"' "$dir/input")" | tr '\n' ' ')"
equal "log lines" "$("$quipu" log | wc -l)" 3288
equal "event ids in order" "$("$quipu" log --json | member event_id | sha256sum)" \
    "$(member event_id <"$dir/input" | sha256sum)"
equal "log of one type" "$("$quipu" log --type signature_added | wc -l)" 272
equal "log of one aggregate type" "$("$quipu" log --aggregate artifact | wc -l)" \
    "$(grep -c '"aggregate_type":"artifact"' "$dir/input")"
equal "log --since --until" "$("$quipu" log --since 101 --until 110 --json | member position | tr '\n' ' ')" \
    "$(seq 101 110 | tr '\n' ' ')"
equal "log --reverse --limit" "$("$quipu" log --reverse --limit 3 --json | member position | tr '\n' ' ')" \
    "3288 3287 3286 "
correlation=0ccdd4e9-c512-5fa6-a9e4-19b8fd4e5a07
equal "log --correlation" "$("$quipu" log --correlation "$correlation" | wc -l)" \
    "$(grep -c "\"correlation_id\":\"$correlation\"" "$dir/input")"
"$quipu" log | head -n 1 >/dev/null || true # a reader that leaves early is no failure of ours

# One event by its three names, and its blocks by theirs.
line=$("$quipu" show --json 1234)
equal "show by event_id" "$("$quipu" show --json "$(printf '%s\n' "$line" | member event_id)")" "$line"
cid=$(printf '%s\n' "$line" | member cid)
payload=$(printf '%s\n' "$line" | member payload_cid)
equal "show by CID" "$("$quipu" show --json "$cid")" "$line"
equal "show" "$("$quipu" show 1234 | sed -n 's/^cid  *//p')" "$cid"
"$quipu" cat "$payload" >"$dir/block"
equal "cat and cid" "$("$quipu" cid --codec dag-cbor "$dir/block")" "$payload"
"$quipu" cat --json "$payload" >"$dir/block.json"
equal "cat --json and cid" "$("$quipu" cid --codec dag-json "$dir/block.json")" "$payload"
"$quipu" cat "$cid" >"$dir/block"
equal "cid of an envelope" "$("$quipu" cid --codec dag-cbor - <"$dir/block")" "$cid"

# The projection agrees with the signed files.
has "replay" "$("$quipu" replay --projection roles)" "roles version 1: position 3288, 15 rows"
"$quipu" replay --projection roles --show --json >"$dir/roles"
"$check_roles" "$dir/roles" "$history"
digest_a=$("$quipu" replay --rebuild --json | member digest)
equal "projections" "$(printf '%s\n' "$digest_a" | wc -l)" 3
equal "status" "$("$quipu" status --json | member pending)" 3288

# Over the air gap, all and then a part, with and without trust.
source=$("$quipu" status --json | member source)
equal "export" "$("$quipu" export --json --operator tester "$dir/all.car" | member events)" 3288
equal "verify a bundle" "$("$quipu" verify --json "$dir/all.car" | member signer)" "$source"
blocks=$("$quipu" car verify --json "$dir/all.car" | member blocks)
equal "car ls" "$("$quipu" car ls --json "$dir/all.car" | grep -c '"offset"')" "$blocks"
"$quipu" car unpack "$dir/all.car" "$dir/unpacked" >/dev/null
equal "unpacked payload" "$("$quipu" cid --codec dag-cbor "$dir/unpacked/$payload")" "$payload"
export QUIPU_STORE=$dir/b
"$quipu" init >/dev/null
before=$(digest "$dir/b")
equal "dry run" "$("$quipu" import --dry-run --json "$dir/all.car" | member added)" 3288
equal "store after a dry run" "$(digest "$dir/b")" "$before"
refused 6 '; ' UNTRUSTED import --yes --trust "$("$quipu" status --json | member source)" "$dir/all.car"
equal "store after a refused import" "$(digest "$dir/b")" "$before"
equal "import" "$("$quipu" import --yes --trust "$source" --json "$dir/all.car" | member added)" 3288
equal "import again" "$("$quipu" import --yes --json "$dir/all.car" | member known)" 3288
has "verify the second store" "$("$quipu" verify)" "intact: 3,288 events"
equal "digests of the second store" "$("$quipu" replay --json | member digest)" "$digest_a"
equal "export a part" "$("$quipu" export --json --aggregate role/root "$dir/root.car" | member events)" \
    "$("$quipu" log --aggregate role/root | wc -l)"
"$quipu" init --store "$dir/lined" >/dev/null
equal "lines there and back" "$("$quipu" export --format jsonl - |
    "$quipu" import --store "$dir/lined" --yes --unproven --json --format jsonl - | member added)" 3288
equal "the same lines" "$("$quipu" export --format jsonl - | sha256sum)" \
    "$("$quipu" export --store "$dir/lined" --format jsonl - | sha256sum)"
"$quipu" export --format jsonl "$dir/lines" >/dev/null
equal "exported lines" "$(sha256sum <"$dir/lines")" "$("$quipu" export --format jsonl - | sha256sum)"
equal "files left behind" "$(find "$dir" -maxdepth 1 -name 'lines.*' | wc -l)" 0

# A backup holds the events and not the key.
equal "backup" "$("$quipu" backup --json "$dir/copy" | member events)" 3288
has "verify the backup" "$("$quipu" verify --store "$dir/copy")" "intact: 3,288 events"
equal "source of the backup" "$("$quipu" status --store "$dir/copy" --json | member source)" null

if [ "$has_jetstream" = without ]; then
    passed
    exit 0
fi
start_server
export QUIPU_SERVER=$url
equal "provision" "$("$quipu" provision --json --duplicates 1s | member stream_created)" true
equal "provision again" "$("$quipu" provision --json --duplicates 1s | member stream_created)" false
"$quipu" flush --store "$dir/a" --json >"$dir/flush"
equal "flush" "$(member published <"$dir/flush")" 3288
equal "flush again" "$("$quipu" flush --store "$dir/a" --json | member published)" 0
sleep 1.5 # beyond the stream's duplicate window of a second
"$quipu" flush --store "$dir/b" --json >"$dir/flush"
equal "flush of the same events from elsewhere" \
    "$(member published <"$dir/flush") $(member duplicates <"$dir/flush")" "0 3288"
equal "messages in the stream" "$("$quipu" provision --json --duplicates 1s | member stream_messages)" 3288
export QUIPU_STORE=$dir/c
"$quipu" init >/dev/null
equal "pull" "$("$quipu" pull --json | member added)" 3288
equal "pull again" "$("$quipu" pull --json | member added)" 0
has "verify the third store" "$("$quipu" verify)" "intact: 3,288 events"
equal "digests of the third store" "$("$quipu" replay --json | member digest)" "$digest_a"
equal "status of the first store" "$("$quipu" status --store "$dir/a" --json | member published)" 3288
equal "show says where" "$("$quipu" show --store "$dir/a" 1 | grep -c 'published.*CIM_KEYS_EVENTS, sequence')" 1
equal "dead letters" "$("$quipu" deadletter list --store "$dir/a" | wc -l)" 0
passed
