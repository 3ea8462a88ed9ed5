#!/usr/bin/env bash
# The example of the README does what it says, and the program reads what it wrote.
#   sixty_seconds.sh QUIPU EXAMPLE
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/ceremony.quipu
"$2" "$QUIPU_STORE" >"$dir/out"
cid=$("$quipu" show --json 1 | member cid)
has "the example" "$(cat "$dir/out")" "$cid"
has "the example" "$(cat "$dir/out")" "1 key"
has "replay" "$("$quipu" replay --projection roles)" "0 rows, 1 event applied"
equal "its payload" "$("$quipu" cat --json "$("$quipu" show --json 1 | member payload_cid)")" \
    '{"algorithm":"Ed25519"}'
has "verify" "$("$quipu" verify)" "intact: 1 event, 1 aggregate, 1 source, "
passed
