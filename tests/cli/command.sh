#!/usr/bin/env bash
# The example of commands does what it says, and the program reads what it wrote.
#   command.sh QUIPU EXAMPLE
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/keys.quipu
"$2" "$QUIPU_STORE" >"$dir/out"
equal "lines" "$(wc -l <"$dir/out")" 11
has "the first command" "$(head -n 1 "$dir/out")" "version 2, snapshot none"
has "the last command" "$(sed -n 10p "$dir/out")" "version 11, snapshot used"
has "the refusal" "$(tail -n 1 "$dir/out")" "refused: this key was used 10 times already"
has "verify" "$("$quipu" verify)" "intact: 11 events, 1 aggregate, 1 source, "
equal "again" "$("$2" "$QUIPU_STORE")" "refused: this key was used 10 times already"
passed
