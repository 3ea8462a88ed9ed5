#!/usr/bin/env bash
# The way out and back: events of an offline store are published by another machine, whose receipts
# tell the offline one what stands where.
#   receipts.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
start_server
vault=$dir/vault office=$dir/office
for store in "$vault" "$office"; do "$quipu" init --store "$store" >/dev/null; done
for id in a b c; do
    printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":"%s"}\n' "$id" "$id"
done | "$quipu" append --store "$vault" - >/dev/null
"$quipu" export --store "$vault" "$dir/out.car" >/dev/null
"$quipu" import --store "$office" --yes "$dir/out.car" >/dev/null
export QUIPU_STORE=$office
refused 5 'quipu flush' NOT_FOUND export --receipts "$dir/receipts.car"
QUIPU_SERVER=$url "$quipu" provision >/dev/null
equal "flush" "$(QUIPU_SERVER=$url "$quipu" flush --json | member published)" 3
refused 2 'FILE' INVALID export --receipts --since 1 "$dir/receipts.car"
has "export" "$("$quipu" export --receipts --operator Ada "$dir/receipts.car")" "3 receipts in "
refused 4 '; ' EXISTS export --receipts "$dir/receipts.car"

export QUIPU_STORE=$vault
equal "published before" "$("$quipu" status --json | member published)" 0
equal "no receipts" "$("$quipu" status --receipts)" ""
refused 2 '--yes' INVALID import --receipts "$dir/receipts.car"
refused 3 'these are receipts' INVALID verify "$dir/receipts.car"
has "a look" "$("$quipu" import --receipts --dry-run "$dir/receipts.car")" "3 events would be marked as published"
refused 6 '; ' UNTRUSTED import --receipts --yes --trust "$("$quipu" status --json | member source)" "$dir/receipts.car"
source=$("$quipu" status --store "$office" --json | member source)
refused 2 '--trust' INVALID import --receipts --yes "$dir/receipts.car"
refused 6 '--receipts' BUNDLE import --receipts --yes --trust "$source" "$dir/out.car"
equal "published still" "$("$quipu" status --json | member published)" 0
has "import" "$("$quipu" import --receipts --yes --trust "$source" "$dir/receipts.car")" "3 events are marked as published, 0 already, 0 not here"
has "again" "$("$quipu" import --receipts --yes --trust "$source" - <"$dir/receipts.car")" "0 events are marked as published, 3 already"
equal "published" "$("$quipu" status --json | member published)" 3
equal "pending" "$("$quipu" status --json | member pending)" 0
has "where" "$("$quipu" status --receipts)" "positions 1 to 3  CIM_KEYS_EVENTS 1 to 3"
equal "where, as JSON" "$("$quipu" status --receipts --json)" \
    '{"first_position":1,"last_position":3,"stream":"CIM_KEYS_EVENTS","first_sequence":1,"last_sequence":3,"first_stored_at":null,"last_stored_at":null}'

# Published elsewhere too, in another place: the mark that is here stays, and that is told.
stop_server
rm -r "${dir:?}/nats"
start_server
QUIPU_SERVER=$url "$quipu" provision >/dev/null
"$quipu" init --store "$dir/before" >/dev/null
printf '{"aggregate_type":"note","aggregate_id":"z","event_type":"note.written","payload":{}}\n' |
    "$quipu" append --store "$dir/before" - >/dev/null
QUIPU_SERVER=$url "$quipu" flush --store "$dir/before" >/dev/null
for store in "$dir/other" "$dir/publisher"; do
    "$quipu" init --store "$store" >/dev/null
    "$quipu" import --store "$store" --yes "$dir/out.car" >/dev/null
done
QUIPU_SERVER=$url "$quipu" flush --store "$dir/publisher" >/dev/null
"$quipu" export --store "$dir/publisher" --receipts "$dir/other.car" >/dev/null
published=$("$quipu" status --store "$dir/publisher" --json | member source)
"$quipu" import --store "$dir/other" --receipts --yes --trust "$published" "$dir/other.car" >/dev/null
found=0
said=$("$quipu" import --receipts --yes --trust "$published" "$dir/other.car" 2>&1) || found=$?
equal "exit code of receipts that contradict" "$found" 9
has "receipts that contradict" "$said" "3 receipts in another place than the mark that is here"
has "where still" "$("$quipu" status --receipts)" "positions 1 to 3  CIM_KEYS_EVENTS 1 to 3"
has "it is recorded" "$("$quipu" operations)" "contradicts what is marked here: 3"
equal "operations" "$("$quipu" operations --json | member kind | tr '\n' ' ')" "export import-receipts import-receipts import-receipts "
equal "operations there" "$("$quipu" operations --store "$office" --json | member kind | tr '\n' ' ')" "import export-receipts "
passed
