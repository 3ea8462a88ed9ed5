#!/usr/bin/env bash
# The named subscriptions of a store: listed, set elsewhere, forgotten, and refused while one is open.
#   subscriptions.sh QUIPU SUBSCRIPTION
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
printer=$2
"$quipu" init >/dev/null

equal "none yet" "$("$quipu" subscriptions)" ""
refuses 5 "there is no subscription printer; \`quipu subscriptions list\`" subscriptions drop printer
refuses 5 "there is no subscription printer" subscriptions reset printer
equal "files of locks" "$(find "$QUIPU_STORE" -name 'sub-*')" ""

printf 'one\ntwo\nthree\n' | "$printer" "$QUIPU_STORE" >"$dir/news"
has "list" "$("$quipu" subscriptions)" "printer: position 3, 0 events behind, since 20"
has "list --json" "$("$quipu" subscriptions list --json)" \
    '{"subscription":"printer","position":3,"behind":0,"acknowledged_at":"20'

refuses 3 "position 4 is beyond the log's end, 3" subscriptions reset printer 4
equal "reset to a position" "$("$quipu" subscriptions reset printer 2)" "printer goes on behind position 2"
has "list" "$("$quipu" subscriptions list)" "printer: position 2, 1 event behind"
equal "what comes again" "$("$printer" "$QUIPU_STORE" </dev/null)" "3 note.taken desk"
equal "reset" "$("$quipu" subscriptions reset printer --json)" \
    '{"subscription":"printer","became":"reset","position":0}'
equal "all of it again" "$("$printer" "$QUIPU_STORE" </dev/null | wc -l)" 3

coproc open { "$printer" "$QUIPU_STORE"; }
pid=${open_PID:?}
printf 'four\n' >&"${open[1]}"
read -r line <&"${open[0]}"
equal "an open one" "$line" "4 note.taken desk"
refuses 4 "end the program that has it open" subscriptions drop printer
refuses 4 "held by process" subscriptions reset printer
input=${open[1]}
exec {input}>&-
wait "$pid"

equal "drop" "$("$quipu" subscriptions drop printer --json)" '{"subscription":"printer","became":"dropped"}'
equal "list" "$("$quipu" subscriptions list --json)" ""
equal "files of locks" "$(find "$QUIPU_STORE" -name 'sub-*')" ""
refuses 2 "wants list, reset or drop" subscriptions frobnicate
refuses 2 "drop wants the name of a subscription" subscriptions drop
refuses 2 "drop wants the name of a subscription" subscriptions drop printer 3
refuses 2 "reset wants a position" subscriptions reset printer two
refuses 2 "list takes nothing else" subscriptions list printer
passed
