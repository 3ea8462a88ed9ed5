#!/bin/bash
# run.sh PROGRAM CORPUS [SECONDS]: replays the corpus, then searches from it for some seconds
# (QUIPU_FUZZ_SECONDS, 2). What it finds on the way stays in a folder of its own; an input that breaks
# the property is shown in hexadecimal and kept.
set -euo pipefail

program=${1:?usage: run.sh PROGRAM CORPUS [SECONDS]}
corpus=${2:?usage: run.sh PROGRAM CORPUS [SECONDS]}
seconds=${3:-${QUIPU_FUZZ_SECONDS:-2}}

work=$(mktemp -d)
mkdir "$work/found"

if "$program" -runs=0 -artifact_prefix="$work/" "$corpus" >"$work/log" 2>&1 &&
    { [[ $seconds -eq 0 ]] ||
        "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
            -print_final_stats=1 -artifact_prefix="$work/" "$work/found" "$corpus" >"$work/log" 2>&1; }; then
    grep -E 'stat::number_of_executed_units|DONE' "$work/log" | tail -2 || true
    rm -rf "$work"
    exit 0
fi
tail -n 60 "$work/log"
for found in "$work"/{crash,leak,timeout,oom}-*; do
    [[ -e $found ]] || continue
    echo "input kept as $found:"
    od -An -v -tx1 "$found" | head -n 40
done
exit 1
