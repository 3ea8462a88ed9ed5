#!/usr/bin/env bash
# Runs a peer where there are peers to run; else says why not and counts as skipped.
#   run.sh SCRIPT QUIPU
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v node >/dev/null; then
    echo "skipped: there is no node; ./scripts/setup test installs it"
    exit 77
fi
if [ ! -e "$here/node_modules/.quipu-stamp" ]; then
    echo "skipped: the peers are not installed; ./tests/interop/install.sh does it"
    exit 77
fi
exec node "$here/$1" "$2"
