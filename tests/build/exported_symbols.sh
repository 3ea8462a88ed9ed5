#!/usr/bin/env bash
# The symbols that a shared library exports, held against a list, so that none comes or goes unnoticed.
#   exported_symbols.sh check LIBRARY LIST
#   exported_symbols.sh refresh LIBRARY LIST     writes the list; review it as what it is: the ABI
# quipu_failpoint is there in builds with failpoints only, which are never handed out; it is left out.
set -euo pipefail
mode=$1 library=$2 list=$3

# The version node itself shows up as an absolute symbol, the only one.
exported=$(nm -D --defined-only --with-symbol-versions "$library" |
    awk '!($2 == "A" && $3 ~ /^QUIPU_0(@@QUIPU_0)?$/) { print $3 }' |
    grep -v '^quipu_failpoint@@QUIPU_0$' | LC_ALL=C sort)

if foreign=$(grep -v '^quipu_[a-z0-9_]*@@QUIPU_0$' <<<"$exported"); then
    printf 'exported, but not quipu_… of version QUIPU_0:\n%s\n' "$foreign" >&2
    exit 1
fi
names=${exported//@@QUIPU_0/}
case $mode in
check)
    if ! diff -u --label "$list" --label "$library" "$list" - <<<"$names"; then
        echo "the exported symbols changed; where that is meant: $0 refresh $library $list" >&2
        exit 1
    fi
    ;;
refresh) printf '%s\n' "$names" >"$list" ;;
*)
    echo "usage: $0 check|refresh LIBRARY LIST" >&2
    exit 2
    ;;
esac
echo "$(wc -l <"$list") symbols"
