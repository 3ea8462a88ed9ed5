#!/bin/bash
# Feeds every file of the shared conformance vectors through quipu-cidcheck and compares each result
# with the vector's own expectation. Says "skipped" (77) where there are no vectors.
set -euo pipefail

cidcheck=${1:?usage: vectors.sh QUIPU-CIDCHECK}
dir=${QUIPU_SHARED_DIR:-/nonexistent}/vectors/cid
if [[ ! -d $dir ]]; then
    echo "skipped: no conformance vectors in \$QUIPU_SHARED_DIR/vectors/cid"
    exit 77
fi

failed=0
lines=0
for file in "$dir"/*.jsonl; do
    printf '%-32s' "$(basename "$file")"
    "$cidcheck" --check --files "$dir" <"$file" || failed=1
    lines=$((lines + $(grep -c . "$file")))
done
echo "$lines vectors"
[[ $lines -gt 0 ]] || { echo "no vector was read"; exit 1; }
exit "$failed"
