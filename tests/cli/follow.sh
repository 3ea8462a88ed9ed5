#!/usr/bin/env bash
# log --follow goes on with what another process appends, and ends well when it is told to.
#   follow.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null

append() {
    printf '{"aggregate_type":"key","aggregate_id":"%s","event_type":"key.generated","payload":1}\n' "$1" |
        "$quipu" append - >/dev/null
}

# wait_for LINES FILE
wait_for() {
    for _ in $(seq 500); do
        [ "$(wc -l <"$2")" -lt "$1" ] || return 0
        sleep 0.01
    done
    fail "$2 has $(wc -l <"$2") of $1 lines"
}

append one
"$quipu" log --follow --json >"$dir/out" &
reader=$!
wait_for 1 "$dir/out"
append two
wait_for 2 "$dir/out"
append three
append four
wait_for 4 "$dir/out"
kill -INT "$reader"
found=0
wait "$reader" || found=$?
equal "exit code after an interrupt" "$found" 0
equal "positions" "$(member position <"$dir/out" | tr '\n' ' ')" "1 2 3 4 "

"$quipu" log --follow --limit 5 --json >"$dir/out" &
reader=$!
wait_for 4 "$dir/out"
append five
append six
wait "$reader"
equal "positions up to the limit" "$(member position <"$dir/out" | tr '\n' ' ')" "1 2 3 4 5 "

# Filters hold for history and for what comes in, and --since may name what is still to come.
correlation=0190b5d6-7c3a-7000-8000-000000000001
used() {
    printf '{"aggregate_type":"key","aggregate_id":"%s","event_type":"key.used","correlation_id":"%s","payload":1}\n' \
        "$1" "$correlation" | "$quipu" append - >/dev/null
}
used one
"$quipu" log --follow --type key.used --limit 2 --json >"$dir/type" &
by_type=$!
"$quipu" log --follow --aggregate key/two --limit 2 --json >"$dir/aggregate" &
by_aggregate=$!
"$quipu" log --follow --correlation "$correlation" --limit 2 --json >"$dir/correlation" &
by_correlation=$!
"$quipu" log --follow --since 9 --limit 1 --json >"$dir/since" &
by_since=$!
wait_for 1 "$dir/type"
wait_for 1 "$dir/aggregate"
wait_for 1 "$dir/correlation"
append three
used two
append seven
wait "$by_type" "$by_aggregate" "$by_correlation"
wait "$by_since"
equal "by type" "$(member position <"$dir/type" | tr '\n' ' ')" "7 9 "
equal "by aggregate" "$(member position <"$dir/aggregate" | tr '\n' ' ')" "2 9 "
equal "by correlation" "$(member position <"$dir/correlation" | tr '\n' ' ')" "7 9 "
equal "since a position to come" "$(member position <"$dir/since" | tr '\n' ' ')" "9 "
passed
