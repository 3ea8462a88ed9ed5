#!/usr/bin/env bash
# Standard descriptors that whoever started us has closed: no file of the store takes their place, and
# what could not be read or said is a failure.
#   descriptors.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
line='{"aggregate_type":"key","aggregate_id":"root","event_type":"key.generated","payload":{"n":1}}'

# files: one digest over what a message would show in: lock.mdb changes with every reader.
files() {
    (cd "$QUIPU_STORE" && find . -type f ! -name "*.mdb" -print0 | sort -z | xargs -0 sha256sum | sha256sum)
}

found=0
"$quipu" append <&- >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code without stdin" "$found" 1
has "without stdin" "$(cat "$dir/err")" "nothing is stored"
equal "events without stdin" "$("$quipu" status --json | member events)" 0

printf '%s\n%s\n' "$line" "$line" >"$dir/lines"
before=$(files)
for closed in '>&-' '2>&-' '<&- >&-' '<&- 2>&-' '>&- 2>&-' '<&- >&- 2>&-'; do
    for verb in "append $dir/lines" "append --json $dir/lines" "log --json" status verify "show 99"; do
        expected=0
        case "$closed:$verb" in
        *'show 99') expected=5 ;;
        *'>&- 2>&-:'* | '>&-:'* | '<&- >&-:'*) expected=1 ;;
        esac
        found=0
        eval "\"$quipu\" $verb $closed" >"$dir/out" 2>"$dir/err" || found=$?
        equal "exit code of: quipu $verb $closed" "$found" "$expected"
    done
done
equal "files of the store" "$(files)" "$before"
has "verify" "$("$quipu" verify)" "intact: 24 events"
passed
