#!/usr/bin/env bash
# Fetches the independent peers of the tests (IPLD's and NATS's own JavaScript libraries) with npm, in
# exactly the versions and with the digests of package-lock.json. Quick where that is done already.
set -euo pipefail
cd "$(dirname "$0")"

for tool in node npm; do
    if ! command -v "$tool" >/dev/null; then
        echo "interop: $tool is not installed; ./scripts/setup test installs it" >&2
        exit 1
    fi
done

stamp=node_modules/.quipu-stamp
wanted=$(cat package.json package-lock.json | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    echo "interop: the peers of package-lock.json are there"
    exit 0
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! npm ci --ignore-scripts --no-progress >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "interop: npm ci failed, its last words are above; does npm reach its registry from here?" >&2
    exit 1
fi
printf '%s\n' "$wanted" >"$stamp"
echo "interop: installed the peers of package-lock.json"
