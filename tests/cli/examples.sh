#!/usr/bin/env bash
# The examples of process managers and subscriptions do what they say, and do it once.
#   examples.sh QUIPU SAGA SUBSCRIPTION
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/ceremony.quipu

certificates() { "$quipu" log --type certificate.issued --json | member aggregate_id | tr '\n' ' '; }

"$2" "$QUIPU_STORE" >"$dir/saga"
has "the saga" "$(cat "$dir/saga")" "6 certificate.issued alice"
equal "certificates" "$(certificates)" "alice bob "
"$2" "$QUIPU_STORE" >"$dir/saga"
equal "certificates of a second run" "$(certificates)" "alice bob "
printf '{"aggregate_type":"person","aggregate_id":"carol","event_type":"person.added","payload":1}\n' |
    "$quipu" append - >/dev/null
"$2" "$QUIPU_STORE" >"$dir/saga"
equal "certificates once carol is known" "$(certificates)" "alice bob carol "
cause=$("$quipu" log --aggregate person/carol --json | member event_id)
equal "the cause" "$("$quipu" log --aggregate certificate/carol --json | member causation_id)" "$cause"

printf 'one\ntwo\n' | "$3" "$QUIPU_STORE" >"$dir/news"
equal "lines of the subscription" "$(wc -l <"$dir/news")" 11
equal "its last line" "$(tail -n 1 "$dir/news")" "11 note.taken desk"
printf 'three\n' | "$3" "$QUIPU_STORE" >"$dir/news"
equal "the subscription, a second time" "$(cat "$dir/news")" "12 note.taken desk"
has "verify" "$("$quipu" verify)" "intact: 12 events"
passed
