#!/usr/bin/env bash
# The public headers declare what the libraries export, no more and no less: a function that is declared
# and not exported fails in an embedder's link, one that is exported and not declared is an accident.
#   declared_symbols.sh LIST… -- INCLUDE_FOLDER…      needs gcc, which lists what it has seen declared
set -euo pipefail
lists=()
while [ "$1" != -- ]; do
    lists+=("$1")
    shift
done
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for folder in "$@"; do
    for header in "$folder"/quipu/*.h; do
        printf '#include "quipu/%s"\n' "$(basename "$header")"
    done
done >"$work/all.c"
gcc -std=c11 -D_GNU_SOURCE "${@/#/-I}" -fsyntax-only -aux-info "$work/declared" "$work/all.c"

# libquipu-jetstream checks its invariants too, by a header of the tree's that is not installed.
cat "${lists[@]}" | grep -vx quipu_invariant_failed | LC_ALL=C sort >"$work/exported"
sed -n 's|^/\* .*/quipu/[a-z0-9_]*\.h:[^*]*\*/ extern .*[ *]\(quipu_[a-z0-9_]*\) (.*|\1|p' "$work/declared" |
    LC_ALL=C sort -u |
    diff -u --label exported "$work/exported" --label declared - || {
    echo "the public headers do not declare what the libraries export" >&2
    exit 1
}
echo "$(wc -l <"$work/exported") functions: declared and exported"
