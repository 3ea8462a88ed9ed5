#!/usr/bin/env bash
# run.sh QUIPU-CIDCHECK: the differential test against independent encoders on QUIPU_DIFFERENTIAL_VALUES
# (10,000) values. Skipped (77) without Node.js or the packages of package-lock.json (install.sh).
set -euo pipefail

cidcheck=$(realpath "${1:?usage: run.sh QUIPU-CIDCHECK}")
cd "$(dirname "$0")"
if ! command -v node >/dev/null || [ ! -d node_modules ]; then
    echo "skipped: no Node.js or no packages; tests/cid/differential/install.sh fetches them"
    exit 77
fi
flags=()
if ! node -e 'process.exit(require("crypto").hash ? 0 : 1)'; then
    flags=(--import ./node18.mjs)
fi
exec node "${flags[@]}" differential.mjs "$cidcheck" "${QUIPU_DIFFERENTIAL_VALUES:-10000}"
