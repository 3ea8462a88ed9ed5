#!/usr/bin/env bash
# The ceremony report from the program: text, HTML and JSON lines of one store say the same, and what
# stock tools say.
#   report.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

export QUIPU_STORE=$dir/vault
"$quipu" init >/dev/null
for name in a b c; do
    printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":{}}\n' "$name"
done | "$quipu" append - >/dev/null
hostile='<script>alert(1)</script> & "Ada" '$'\u202e''evil'
"$quipu" export --operator 'Ada Quispe' --reason 'root keys' "$dir/1.car" >/dev/null
printf '{"aggregate_type":"note","aggregate_id":"a","event_type":"note.closed","payload":{}}\n' |
    "$quipu" append - >/dev/null
"$quipu" export --since-last --operator "$hostile" --unpack "$dir/folder" "$dir/2.car" >/dev/null
before=$(digest "$QUIPU_STORE")
source=$("$quipu" status --json | member source)

# Text.
text=$("$quipu" report)
has "who" "$text" "  source      $source"
has "who" "$text" "  operator    Ada Quispe"
has "why" "$text" "  reason      root keys"
for bundle in 1 2; do
    has "digest of bundle $bundle" "$text" "  sha256      $(sha256sum <"$dir/$bundle.car" | cut -d ' ' -f 1)"
    # The words that verify says, broken into lines.
    words=$("$quipu" verify "$dir/$bundle.car" | sed -n 's/^spoken  *//p')
    has "words of bundle $bundle" "$(tr -s ' \n' ' ' <<<"$text")" "in words $words"
    has "manifest of bundle $bundle" "$text" "$("$quipu" verify --json "$dir/$bundle.car" | member manifest)"
done
has "direction" "$text" "[U+202E]evil"
equal "columns" "$(awk '{ gsub(/[\200-\277]/, ""); if (length($0) > 80) print }' <<<"$text")" ""
if command -v ssh-keygen >/dev/null; then
    has "fingerprint" "$(ssh-keygen -l -f "$dir/folder/signer-1.pub")" "$(sed -n 's/^  ssh key     //p' <<<"$text")"
fi

# The root is that of the signed checkpoint.
root=$(sed -n 3p "$dir/folder/checkpoint" | base64 -d | od -An -v -tx1 | tr -d ' \n')
has "root of the log" "$text" "  root        $root"
has "size of the log" "$text" "  log         4 events recorded by the source"

# HTML: well-formed, nothing that runs, nothing from outside.
has "what was written" "$("$quipu" report --html "$dir/page.html")" \
    "sha256    $(sha256sum <"$dir/page.html" | cut -d ' ' -f 1)"
page=$(cat "$dir/page.html")
has "escaped" "$page" '&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Ada&quot; <span class="hidden">[U+202E]</span>evil'
equal "scripts" "$(grep -ci '<script' "$dir/page.html" || true)" 0
equal "addresses" "$(grep -cE '(src|href)=|url\(|@import|https?:' "$dir/page.html" || true)" 0
has "language" "$page" '<html lang="en">'
equal "captions" "$(grep -c '<caption>' "$dir/page.html")" "$(grep -c '<table' "$dir/page.html")"
if command -v xmllint >/dev/null; then
    equal "xmllint" "$(xmllint --noout --nonet "$dir/page.html" 2>&1)" ""
    equal "digests" "$(xmllint --xpath 'count(//*[local-name()="dt"][.="sha256"])' "$dir/page.html")" 2
else
    echo "note: no xmllint here, the page was not read by it"
fi
equal "on stdout" "$("$quipu" report --html - | sed '/printed/d; /<title>/d')" \
    "$(sed '/printed/d; /<title>/d' "$dir/page.html")"
refused 4 'choose another' EXISTS report --html "$dir/page.html"
refused 5 'folder' NOT_FOUND report --html "$dir/nowhere/page.html"
has "as JSON" "$("$quipu" report --json --html "$dir/second.html")" "\"sha256\":\"$(sha256sum <"$dir/second.html" | cut -d ' ' -f 1)\""

# JSON lines: the page, then the operations as `quipu operations` has them.
"$quipu" report --json >"$dir/lines"
equal "lines" "$(wc -l <"$dir/lines")" 3
equal "events" "$(head -n 1 "$dir/lines" | member events)" 4
equal "root" "$(head -n 1 "$dir/lines" | member root)" "$root"
equal "rows" "$(tail -n +2 "$dir/lines" | sed 's/,"spoken":"[^"]*"//')" "$("$quipu" operations --json)"
equal "behind the first" "$("$quipu" report --after 1 --json | member number | tail -n 1)" 2
equal "behind the first" "$("$quipu" report --after 1 --json | wc -l)" 2
if command -v node >/dev/null; then
    node -e 'for (const line of require("fs").readFileSync(process.argv[1], "utf8").trim().split("\n")) JSON.parse(line)' "$dir/lines"
fi

# Nothing was written; no key is needed; a damaged row is told.
equal "the store" "$(digest "$QUIPU_STORE")" "$before"
chmod 500 "$QUIPU_STORE"
has "read-only" "$("$quipu" report)" "  source      $source"
chmod 700 "$QUIPU_STORE"
refused 2 'report --help' INVALID report --after some
refused 2 'report --help' INVALID report page.html
refused 5 'store' NOT_FOUND report --store "$dir/nowhere"
passed
