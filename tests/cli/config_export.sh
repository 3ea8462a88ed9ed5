#!/usr/bin/env bash
# Bundles that are given no file go to the folder that the settings name, each under a name of its own.
#   config_export.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
event='{"aggregate_type":"key","aggregate_id":"root","event_type":"key.used","payload":1}'
cd "$dir"
mkdir stick
export QUIPU_STORE=$dir/ceremony
"$quipu" init >/dev/null
printf '%s\n' "$event" | "$quipu" append - >/dev/null
input=/dev/null
refused 2 'quipu export --help' INVALID export
export QUIPU_STORAGE_OFFLINE_EVENTS_DIR=$dir/stick QUIPU_OFFLINE_OPERATOR='Ada Quispe'
"$quipu" export >"$dir/out"
set -- stick/*.car
equal "bundles" "$#" 1
equal "its operator" "$(grep -c -a 'operator.Ada Quispe' "$1")" 1
"$quipu" export --operator Bob "$dir/by-name.car" >/dev/null
equal "an option over the setting" "$(grep -c -a 'operator.Bob' "$dir/by-name.car")" 1
"$quipu" export >/dev/null
set -- stick/*.car
equal "bundles" "$#" 2
for bundle in "$@"; do
    has "$bundle" "$("$quipu" verify "$bundle")" "intact: $bundle"
done
refused 2 'quipu export --help' INVALID export --format jsonl
QUIPU_STORAGE_OFFLINE_EVENTS_DIR=$dir/nowhere refused 5 '; ' NOT_FOUND export
passed
