#!/usr/bin/env bash
# A Criterion program under the address sanitizer. libcriterion itself leaks some bytes at its end now and
# then (seen with 2.4: one block of 48, once in hundreds of runs, no frame of ours in it). Where that is
# all that LeakSanitizer reports, and every test has passed, it is passed over. A suppression would not do:
# libcriterion is in the stack of everything that a test allocates.
#   sanitized.sh PROGRAM
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" >"$log" 2>&1
code=$?
frames=$(grep -E '^ +#[0-9]+ 0x' "$log")
if [ "$code" -ne 0 ] && grep -q 'ERROR: LeakSanitizer' "$log" &&
    grep -q 'Failing: 0 | Crashing: 0' "$log" &&
    ! grep -qE 'ERROR: AddressSanitizer|runtime error:' "$log" &&
    [ -n "$frames" ] && ! grep -qvE '__interceptor_|libcriterion\.so' <<<"$frames"; then
    grep '^\[====\]' "$log"
    echo "passed over: a leak of libcriterion's own"
    exit 0
fi
cat "$log"
exit "$code"
