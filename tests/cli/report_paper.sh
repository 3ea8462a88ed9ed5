#!/usr/bin/env bash
# The ceremony report on paper, by whatever renders HTML here (chromium, weasyprint): a dozen
# operations of two signers fit on one side of A4 and of Letter, with nothing lost and no small print;
# of a long ceremony no operation is broken across sides, and tables say their heads again.
#   report_paper.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

command -v ssh-keygen >/dev/null || skip "there is no ssh-keygen; ./scripts/setup test installs it"

# ------------------------------------------------------------------ a ceremony

export QUIPU_STORE=$dir/vault
"$quipu" init >/dev/null
for name in ada bruno; do
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$dir/$name"
    echo "$name@example.org namespaces=\"quipu-bundle@v1\" $(cut -d ' ' -f 1-2 "$dir/$name.pub")" >>"$dir/trust"
done
chmod 600 "$dir/trust"

# event TYPE ID EVENT
event() {
    printf '{"aggregate_type":"%s","aggregate_id":"%s","event_type":"%s","payload":{}}\n' "$@" |
        "$quipu" append - >/dev/null
}

event ceremony 2026-11 ceremony.opened
event key root-ca key.generated
event key issuing-ca key.generated
for bundle in 1 2 3 4 5 6; do
    event key root-ca key.used
    "$quipu" export --since-last --operator 'Ada Quispe' --reason 'root keys of 2026' "$dir/$bundle.car" >/dev/null
    "$quipu" sign "$dir/$bundle.car" --manifest "$dir/$bundle.manifest" >/dev/null
    for name in ada bruno; do
        ssh-keygen -q -Y sign -n quipu-bundle@v1 -f "$dir/$name" "$dir/$bundle.manifest" 2>/dev/null
        "$quipu" sign "$dir/$bundle.car" --add "$dir/$bundle.manifest.sig" >/dev/null
        rm "$dir/$bundle.manifest.sig"
    done
    "$quipu" release "$dir/$bundle.car" "$dir/$bundle.out" --require 2 --allowed-signers "$dir/trust" \
        --operator 'Bruno Mamani' >/dev/null
done
event ceremony 2026-11 ceremony.closed # behind the last bundle: two roots stand on the page
"$quipu" report --allowed-signers "$dir/trust" --html "$dir/page.html" >/dev/null

# ------------------------------------------------------------------ without a renderer

# Nothing is set smaller than the digests.
small=$(sed -n '/^@media print/,$p' "$dir/page.html" | grep -oE 'font(-size)?:[^;}]*' |
    grep -oE '[0-9.]+(pt|em)' | awk '/pt$/ ? $0 + 0 < 7 : 1')
equal "small print" "$small" ""
equal "operations" "$("$quipu" report --json | head -n 1 | member operations)" 12
for name in ada bruno; do
    has "principals in JSON" "$("$quipu" report --json --allowed-signers "$dir/trust" | head -n 1)" \
        "\"principals\":\"$name@example.org\",\"count\":6}"
    has "principals" "$("$quipu" report --allowed-signers "$dir/trust")" "              $name@example.org"
done
equal "without a file" "$("$quipu" report | grep -c '@example.org' || true)" 0
has "signers" "$("$quipu" report)" "  signed by   the source, key 1, key 2"
refused 5 'name a file of allowed signers' NOT_FOUND report --allowed-signers "$dir/nowhere"

# ------------------------------------------------------------------ on paper

renderers=()
browser=
for candidate in chromium chromium-browser google-chrome; do
    if command -v "$candidate" >/dev/null; then
        browser=$candidate
        renderers+=(browser)
        break
    fi
done
if command -v weasyprint >/dev/null; then
    renderers+=(weasyprint)
fi
[ ${#renderers[@]} -gt 0 ] || skip "neither chromium nor weasyprint is here to print the page ($checks checks passed without)"
for tool in pdfinfo pdftotext; do
    command -v "$tool" >/dev/null || skip "there is no $tool (poppler-utils) to look at the paper ($checks checks passed without)"
done

# print_page RENDERER HTML PDF SIZE
print_page() {
    sed "s/^@page{/@page{size:$4;/" "$2" >"$dir/sized.html"
    case $1 in
    browser)
        # Not its home folder, not its sandbox: the file is ours.
        HOME=$dir XDG_CACHE_HOME=$dir/cache "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
            --user-data-dir="$dir/browser" --no-pdf-header-footer --print-to-pdf="$3" "file://$dir/sized.html" \
            >/dev/null 2>"$dir/said" || fail "$browser: $(tail -n 3 "$dir/said")"
        ;;
    weasyprint) weasyprint -q "$dir/sized.html" "$3" 2>"$dir/said" || fail "weasyprint: $(tail -n 3 "$dir/said")" ;;
    esac
}

# sides PDF
sides() {
    pdfinfo "$1" | sed -n 's/^Pages: *//p'
}

# words_of FILE [OPTIONS]: its text as one line.
words_of() {
    pdftotext -q "${@:2}" "$1" - | tr -s ' \n\f' ' '
}

for renderer in "${renderers[@]}"; do
    for size in A4 letter; do
        print_page "$renderer" "$dir/page.html" "$dir/page.pdf" "$size"
        has "$renderer prints on" "$(pdfinfo "$dir/page.pdf" | tr -s ' ' | tr '[:upper:]' '[:lower:]')" "(${size,,})"
        equal "sides of $size by $renderer" "$(sides "$dir/page.pdf")" 1
        paper=$(words_of "$dir/page.pdf")
        for bundle in 1 2 3 4 5 6; do
            has "sha256 of the release of $bundle" "$paper" "$(sha256sum <"$dir/$bundle.out" | cut -d ' ' -f 1)"
            has "words of the release of $bundle" "$paper" \
                "$("$quipu" verify "$dir/$bundle.out" | sed -n 's/^spoken  *//p' | head -n 1)"
            has "manifest of $bundle" "$paper" "$("$quipu" verify --json "$dir/$bundle.out" | member manifest | head -n 1)"
        done
        "$quipu" report --json | tail -n +2 >"$dir/rows"
        while read -r digest; do
            has "sha256 of a row" "$paper" "$digest"
        done < <(member sha256 <"$dir/rows")
        while read -r words; do
            has "words of a row" "$paper" "$words"
        done < <(member spoken <"$dir/rows")
        while read -r root; do
            has "root" "$paper" "$root"
        done < <("$quipu" report --json | head -n 1 | grep -oE '"root":"[0-9a-f]*"' | cut -d '"' -f 4)
        for part in "$("$quipu" status --json | member source)" 'operator Ada Quispe' 'operator Bruno Mamani' \
            'reason root keys of 2026' 'ada@example.org' 'bruno@example.org' 'signed by the source, key 1, key 2' \
            '10 events of 3 aggregates' '1 event not exported yet' '6 × key.used' 'side 1 of 1'; do
            has "on $size by $renderer" "$paper" "$part"
        done
        equal "lines to sign on" "$(grep -o 'signature date\|signature name\|signature' <<<"$paper" | wc -l)" 4
    done
done

# ------------------------------------------------------------------ a long one

for ((i = 0; i < 300; i++)); do
    printf '{"aggregate_type":"thing","aggregate_id":"%d","event_type":"thing.number-%d","payload":{}}\n' "$i" "$i"
done | "$quipu" append - >/dev/null
for ((i = 0; i < 40; i++)); do
    "$quipu" export --operator 'Ada Quispe' "$dir/long-$i.car" >/dev/null
done
"$quipu" report --html "$dir/long.html" >/dev/null
"$quipu" report --json | tail -n +2 >"$dir/rows"
renderer=${renderers[0]} # one is enough: others take long over so much
print_page "$renderer" "$dir/long.html" "$dir/long.pdf" A4
count=$(sides "$dir/long.pdf")
[ "$count" -gt 3 ] || fail "$count sides for 52 operations and 305 types by $renderer"
heads=0
: >"$dir/whole"
for ((side = 1; side <= count; side++)); do
    text=$(words_of "$dir/long.pdf" -f "$side" -l "$side")
    has "side $side" "$text" "side $side of $count"
    # A head stands over its column: the layout is kept to find it.
    if pdftotext -q -layout -f "$side" -l "$side" "$dir/long.pdf" - | grep -qE '^ *events +type *$'; then
        heads=$((heads + 1))
    fi
    # An operation is whole: its number and kind, digest and words are on this side.
    while IFS=$'\t' read -r number kind digest words; do
        case $text in
        *"$number $kind when "*"$digest"*"$words"*) echo "$number" >>"$dir/whole" ;;
        esac
    done < <(paste <(member number <"$dir/rows") <(member kind <"$dir/rows") <(member sha256 <"$dir/rows") \
        <(member spoken <"$dir/rows"))
done
equal "operations whole on a side by $renderer" "$(sort -un "$dir/whole" | wc -l)" 52
[ "$heads" -gt 1 ] || fail "the heads of the table stand on $heads sides by $renderer"
passed
