#!/usr/bin/env bash
# An import asks on the terminal before it takes anything in: what is shown, what counts as yes, and
# that nothing is written before.
#   import_prompt.sh QUIPU PTY_RUN
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
pty_run=$2
prompt='take it in? [y/N] '

export QUIPU_STORE=$dir/office
"$quipu" init --store "$dir/vault" >/dev/null
for name in a b c; do
    printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":{}}\n' "$name"
done | "$quipu" append --store "$dir/vault" - >/dev/null
"$quipu" export --store "$dir/vault" --operator 'Ada Quispe' "$dir/one.car" >/dev/null
"$quipu" init >/dev/null
before=$(digest "$QUIPU_STORE")
events=$("$quipu" status --json | member events)

# While it asks, the store is as it was.
cat >"$dir/untouched" <<SCRIPT
#!/usr/bin/env bash
now=\$(cd "$QUIPU_STORE" && find . -type f ! -name '*lock*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
[ "\$now" = "$before" ]
SCRIPT
chmod +x "$dir/untouched"

# asked ANSWER [PTY_RUN OPTION…] -- [IMPORT ARGUMENT…]: sets $code and $seen.
asked() {
    local answer=$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    code=0
    "$pty_run" "${options[@]}" -c "$dir/untouched" -p "$prompt" -a "$answer" \
        "$quipu" import "$@" >"$dir/seen" 2>"$dir/said" || code=$?
    seen=$(tr -d '\r' <"$dir/seen")
    [ "$code" -ne 124 ] || fail "\"$answer\": something was written before the answer"
    [ "$code" -ne 125 ] || fail "\"$answer\": it did not ask: $seen $(cat "$dir/said")"
}

# is_untouched WHAT: nothing was taken in, and nothing is recorded or left behind.
is_untouched() {
    equal "$1: the store" "$(digest "$QUIPU_STORE")" "$before"
    equal "$1: events" "$("$quipu" status --json | member events)" "$events"
    equal "$1: operations" "$("$quipu" operations)" ""
}

# What is shown before it asks.
asked 'n\n' -- "$dir/one.car"
equal "exit code of no" "$code" 1
has "what is shown" "$seen" "bundle  1 of "
has "what is shown" "$seen" "by Ada Quispe"
has "what is shown" "$seen" "sha256  $(sha256sum <"$dir/one.car" | cut -d ' ' -f 1)"
has "what is shown" "$seen" "        3         0           0  note.written"
has "no" "$seen" "quipu import: not accepted: nothing was taken in"
is_untouched no

# Anything but y and yes is no: also what only begins so, a key that is held down, an escape.
for answer in '\n' 'N\n' 'no\n' 'Y\n' 'y \n' ' y\n' 'yep\n' 'yes please\n' 'yyyyyyyyyyyyyyyyyyyyyyyy\n' \
    '1\n' '\e[A\n' 'n\ny\n' '\004'; do
    asked "$answer" -- "$dir/one.car"
    equal "exit code of \"$answer\"" "$code" 1
    has "\"$answer\"" "$seen" "not accepted: nothing was taken in"
    is_untouched "\"$answer\""
done

# Interrupted, hung up.
asked '\003' -- "$dir/one.car"
equal "exit code of an interrupt" "$code" 130
is_untouched "an interrupt"
asked '' -- "$dir/one.car"
[ "$code" -ne 0 ] || fail "a terminal that is gone has said yes"
is_untouched "a terminal that is gone"

# No terminal to ask on: it says so, and does not take standard input for an answer.
printf 'yes\n' >"$dir/yes"
input=$dir/yes
refused 2 '--yes' INVALID import "$dir/one.car"
input=/dev/null
is_untouched "no terminal"
# A terminal on standard input that is not ours to open.
code=0
"$pty_run" -d -p 'not accepted' -a 'yes\n' "$quipu" import "$dir/one.car" >"$dir/seen" || code=$?
equal "exit code without /dev/tty" "$code" 1
is_untouched "no /dev/tty"
# As JSON it never asks.
code=0
"$pty_run" -p '--yes' -a 'yes\n' "$quipu" import --json "$dir/one.car" >"$dir/seen" || code=$?
equal "exit code of --json" "$code" 2
is_untouched "as JSON"

# A bundle on standard input leaves the terminal to ask on: the answer is not read from the bundle.
asked 'n\n' -i "$dir/one.car" -- -
equal "exit code of no, from a pipe" "$code" 1
is_untouched "no, from a pipe"

# Lines, too: from a file, and from a pipe.
"$quipu" export --store "$dir/vault" --format jsonl "$dir/all.jsonl" >/dev/null
asked 'n\n' -- --unproven --format jsonl "$dir/all.jsonl"
equal "exit code of no, lines" "$code" 1
has "lines" "$seen" "lines   3 events"
has "lines" "$seen" "signed  by nobody: these are lines"
has "lines" "$seen" "        3         0           0  note.written"
is_untouched "no, lines"
asked 'n\n' -i "$dir/all.jsonl" -- --unproven --format jsonl -
equal "exit code of no, lines from a pipe" "$code" 1
is_untouched "no, lines from a pipe"

# Yes.
asked 'yes\n' -i "$dir/one.car" -- -
equal "exit code of yes, from a pipe: $seen" "$code" 0
has "yes, from a pipe" "$seen" "3 added, 0 known already"
equal "events" "$("$quipu" status --json | member events)" "$((events + 3))"
equal "operations" "$("$quipu" operations --json | member kind)" "import"

rm -rf "${dir:?}/office"
"$quipu" init >/dev/null
before=$(digest "$QUIPU_STORE")
sed -i "s/= \".*\" \]/= \"$before\" ]/" "$dir/untouched"
asked 'y\n' -- "$dir/one.car"
equal "exit code of y: $seen" "$code" 0
has "y" "$seen" "3 added, 0 known already"
has "the same bundle again" "$("$quipu" import --yes "$dir/one.car")" "0 added, 3 known already"

rm -rf "${dir:?}/office"
"$quipu" init >/dev/null
before=$(digest "$QUIPU_STORE")
sed -i "s/= \".*\" \]/= \"$before\" ]/" "$dir/untouched"
asked 'y\n' -i "$dir/all.jsonl" -- --unproven --format jsonl -
equal "exit code of y to lines: $seen" "$code" 0
has "y to lines" "$seen" "3 added, 0 known already"
passed
