#!/usr/bin/env bash
# Declared event types: import, list, show, export, check; and what append and merge then refuse.
#   types.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
input=

refused 5 'quipu types import FILE' NOT_FOUND types
refused 5 'quipu types import FILE' NOT_FOUND types show key.used
refused 2 'quipu types --help' INVALID types frobnicate
refused 2 'quipu types --help' INVALID types import
refused 2 'quipu types --help' INVALID types list x
refused 2 'quipu types --help' INVALID types list --replace
refused 2 'quipu types --help' INVALID types import --cbor "$dir/none"
refused 5 'quipu types export' NOT_FOUND types import "$dir/none"

declare_type() { # WHAT STRICT: one declaration of key.used, schema 1
    printf '{"v":1,"types":[{"type":"key.used","schema":1,"payload":%s,"aggregate":"key"}],"strict":%s}\n' "$1" "$2"
}
line() { # TYPE PAYLOAD
    printf '{"aggregate_type":"key","aggregate_id":"a","event_type":"%s","payload":%s}\n' "$1" "$2"
}
line key.used '{"serial":"old"}' | "$quipu" append - >/dev/null
declare_type '{"map":{"serial":"uint","note":"text?"}}' false >"$dir/types.json"

# What is stored is tried, and never refused.
found=0
"$quipu" types check "$dir/types.json" >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of check" "$found" 3
has "check" "$(cat "$dir/out")" "key.used schema 1: serial: expected uint, found text"
has "check" "$(cat "$dir/err")" "1 event of 1 event would be refused today; what is stored stays"
found=0
"$quipu" types check --json "$dir/types.json" >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of check --json" "$found" 3
equal "check --json" "$(member position <"$dir/out")" 1

has "import" "$("$quipu" types import "$dir/types.json")" "1 declaration, lenient"
has "list" "$("$quipu" types)" "key.used"
equal "list --json" "$("$quipu" types list --json)" \
    '{"type":"key.used","schema":1,"aggregate_type":"key","payload":"map","fields":2,"strict":false}'
has "show" "$("$quipu" types show key.used)" '"serial": "uint"'
refused 5 'quipu types import FILE' NOT_FOUND types show key.lost

# Append is held to it, line and all.
line key.used '{"serial":"x"}' >"$dir/bad"
input=$dir/bad
refused 3 'quipu types show' TYPE append -
has "the line" "$(cat "$dir/err")" "serial: expected uint, found text"
input=
line key.used '{"serial":7}' | "$quipu" append - >/dev/null
line key.other '"anything"' | "$quipu" append - >/dev/null
equal "events" "$("$quipu" log --json | wc -l)" 3

# Strict: what is not declared is refused.
declare_type '{"map":{"serial":"uint","note":"text?"}}' true | "$quipu" types import - >/dev/null
line key.other '"anything"' >"$dir/bad"
input=$dir/bad
refused 3 'quipu types show' TYPE append -
input=

# Another declaration of the same schema is refused, or replaces all.
declare_type '"any"' false >"$dir/other.json"
refused 4 'raise the schema' EXISTS types import "$dir/other.json"
has "replace" "$("$quipu" types import --replace "$dir/other.json")" "1 declaration, lenient"

# Both forms come back as they went.
"$quipu" types export >"$dir/export.json"
"$quipu" types export --cbor >"$dir/export.cbor"
"$quipu" init --store "$dir/second" >/dev/null
"$quipu" types import --store "$dir/second" "$dir/export.cbor" >/dev/null
equal "through DAG-CBOR" "$("$quipu" types export --store "$dir/second" --json)" \
    "$("$quipu" types export --json)"
"$quipu" types import --store "$dir/second" --replace "$dir/export.json" >/dev/null
equal "through DAG-JSON" "$("$quipu" types export --store "$dir/second" --json)" \
    "$("$quipu" types export --json)"
equal "check" "$("$quipu" types check "$dir/export.json")" "3 events, all fit"

printf '{"v":1,"types":[{"type":"a","schema":1,"payload":"texts"}],"strict":false}' >"$dir/wrong.json"
refused 3 'quipu types export' INVALID types import "$dir/wrong.json"
printf '{"v":2}' >"$dir/newer.json"
refused 6 'newer' FORMAT_NEWER types import "$dir/newer.json"
printf 'no JSON' >"$dir/wrong.json"
refused 3 'quipu types export' JSON types import "$dir/wrong.json"
passed
