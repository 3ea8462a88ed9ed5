#!/usr/bin/env bash
# An event that a projection cannot apply parks it; it is listed, retried, skipped; another is paused,
# resumed, dropped.
#   projections.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null

equal "no projections yet" "$("$quipu" projections list)" ""
event() { printf '{"aggregate_type":"key","aggregate_id":"%s","event_type":"key.generated","payload":{"name":"%s"}}\n' "$1" "$2"; }
# A row of the inventory holds the name, and has at most 1 MiB.
{
    event a one
    event b "$(head -c 1100000 /dev/zero | tr '\0' x)"
    event c three
} | "$quipu" append - >/dev/null

refuses 3 "projection inventory stopped in front of position 2: " replay --projection inventory
refuses 4 "projection inventory is parked in front of position 2 since " replay --projection inventory
refuses 4 '"status":"PARKED"' replay --projection inventory --json
equal "rows of a parked one" "$("$quipu" projections list --json | member position)" 1
has "list" "$("$quipu" projections)" "inventory version 1: parked, position 1, 2 events behind"
has "list" "$("$quipu" projections list)" "version 1 is parked in front of position 2 since 20"
has "list --json" "$("$quipu" projections list --json)" '"parked":{"version":1,"position":2,"reason":"TOO_LARGE","line":"'

equal "retry" "$("$quipu" projections retry inventory)" "inventory is to retry"
has "list" "$("$quipu" projections list)" "inventory version 1: catching up, position 1, 2 events behind"
refuses 3 "in front of position 2" replay --projection inventory
refuses 5 "is parked in front of position 2, not of 3" projections skip inventory 3 --why "too long"
equal "skip" "$("$quipu" projections skip inventory 2 --why "too long" --json)" \
    '{"projection":"inventory","became":"going over it"}'
"$quipu" replay --projection inventory --json >"$dir/out"
equal "position" "$(member position <"$dir/out")" 3
equal "skipped" "$(member skipped <"$dir/out")" 1
has "list" "$("$quipu" projections list)" "    skips position 2 in version 1 since "
has "list" "$("$quipu" projections list)" ": too long"
has "list --json" "$("$quipu" projections list --json)" '"why":"too long"}]}'
equal "digest of a rebuild" "$("$quipu" replay --projection inventory --rebuild --json | member digest)" \
    "$(member digest <"$dir/out")"

# A rebuild of the same version that parks does not hold up the rows that are there, and goes after
# the skip that ends its park.
event d "$(head -c 1100000 /dev/zero | tr '\0' x)" | "$quipu" append - >/dev/null
refuses 3 "in front of position 4" replay --projection inventory
refuses 3 "in front of position 4" replay --projection inventory --rebuild
has "list" "$("$quipu" projections)" "a rebuild as version 1 is left over at position 3; the next replay after retry or skip"
has "list --json" "$("$quipu" projections list --json)" '"rebuild":{"version":1,"position":3,"causal":false,"left_over":true}'
"$quipu" projections skip inventory 4 --why "too long" >/dev/null
has "list" "$("$quipu" projections)" "a rebuild as version 1 is left over at position 3; the next replay clears it"
"$quipu" replay --projection inventory >/dev/null
has "list" "$("$quipu" projections)" "inventory version 1: live, position 4, 0 events behind"
has "list --json" "$("$quipu" projections list --json)" '"rebuild":null'

equal "pause" "$("$quipu" projections pause inventory)" "inventory is paused"
refuses 4 "projection inventory is paused" replay --projection inventory
equal "state" "$("$quipu" projections list --json | member state)" "paused"
"$quipu" projections resume inventory >/dev/null
equal "state" "$("$quipu" projections list --json | member state)" "live"
"$quipu" verify >/dev/null

equal "drop" "$("$quipu" projections drop inventory)" "inventory is dropped"
equal "list" "$("$quipu" projections list)" ""
refuses 5 "quipu projections: projection inventory has never been replayed" projections drop inventory
refuses 2 "wants list, pause, resume, retry, skip or drop" projections frobnicate
refuses 2 "skip wants a projection and a position" projections skip inventory
refuses 2 "skip wants a position" projections skip inventory two --why x
refuses 2 "skip wants --why" projections skip inventory 2
refuses 2 "pause takes no --why" projections pause inventory --why x
refuses 2 "drop wants a projection" projections drop
printf '%d checks\n' "$checks"
