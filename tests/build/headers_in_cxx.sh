#!/usr/bin/env bash
# Every public header compiles alone as C++11, and all of them together.
#   headers_in_cxx.sh COMPILER INCLUDE_FOLDER…
set -euo pipefail
compiler=$1
shift

flags=(-std=c++11 -Wall -Wextra -Wpedantic -Wold-style-cast -Werror -fsyntax-only -x c++)
for folder in "$@"; do
    # As a system would see them, but with warnings on: -I and not -isystem.
    flags+=(-I "$folder")
done

all=""
count=0
for folder in "$@"; do
    for header in "$folder"/quipu/*.h; do
        line="#include \"quipu/$(basename "$header")\""
        all+=$line$'\n'
        "$compiler" "${flags[@]}" - <<<"$line"
        count=$((count + 1))
    done
done
"$compiler" "${flags[@]}" - <<<"$all"
[ "$count" -ge 10 ] || {
    echo "only $count headers found" >&2
    exit 1
}
echo "$count headers compile as C++, alone and together"
