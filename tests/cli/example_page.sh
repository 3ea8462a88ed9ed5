#!/usr/bin/env bash
# An example does what its page says: the indented lines of its opening comment are all that it prints,
# on a store of its own. "…" in a line stands for what differs from run to run.
#   example_page.sh QUIPU EXAMPLE SOURCE
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
name=$(basename "$3" .c)

sed -n '1,/\*\//s/^ \*     //p' "$3" >"$dir/page"
[ -s "$dir/page" ] || fail "$3 says nothing of what it prints"
"$2" "$dir/$name.quipu" >"$dir/out" 2>"$dir/err" || fail "$name: $(cat "$dir/err")"
equal "stderr of $name" "$(cat "$dir/err")" ""
equal "lines of $name: $(cat "$dir/out")" "$(wc -l <"$dir/out")" "$(wc -l <"$dir/page")"

while IFS= read -r said && IFS= read -r found <&3; do
    checks=$((checks + 1))
    pattern=$(sed 's/[][\.*^$+?(){}|]/\\&/g; s/…/.+/g' <<<"$said")
    grep -Exq -- "$pattern" <<<"$found" || fail "$name prints \"$found\", its page says \"$said\""
done <"$dir/page" 3<"$dir/out"

# A digest, or the CID of evidence, that is printed several times is the same each time.
for word in digest evidence; do
    grep -oE "$word [0-9a-z]+" "$dir/out" >"$dir/words" || continue
    equal "$word of $name: $(cat "$dir/words")" "$(sort -u "$dir/words" | wc -l)" 1
    [ "$(wc -l <"$dir/words")" -gt 1 ] || fail "$name prints one $word alone"
done
for store in "$dir/$name.quipu"*; do
    has "verify $store" "$("$quipu" verify --store "$store")" "intact: "
done
passed
