#!/bin/bash
# quipu-agecheck itself: exit codes as --help tells them, and what becomes of OUT.
set -euo pipefail

agecheck=${1:?usage: age_check.sh QUIPU-AGECHECK}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "FAILED: $*"
    exit 1
}

# expect CODE ARGUMENTS…: the exit code, and no OUT (the file "out") unless it is 0.
expect() {
    local code=$1 got=0
    shift
    "$agecheck" "$@" 3<pass 2>err || got=$?
    [[ $got -eq $code ]] || fail "exit code $got, not $code, for: $* ($(cat err))"
    [[ $code -eq 0 || ! -e out ]] || fail "a failure left OUT: $*"
}

printf 'a passphrase\n' >pass
printf 'plain' >plain
expect 0 encrypt --passphrase-fd 3 --work-factor 4 plain file
expect 0 decrypt --passphrase-fd 3 file out
cmp plain out || fail "another plaintext"

"$agecheck" --help >help
for code in 10 11 12 13 14 15 16 17 18 19 20; do
    grep -q "^  $code  AGE" help || fail "--help does not tell code $code"
done

# A failure takes away what was there before: nobody takes an old result for a new one.
head -c 60 file >changed
expect 12 decrypt --passphrase-fd 3 changed out
expect 10 decrypt --passphrase-fd 3 plain out
sed 's#org/v1#org/v2#' file >changed
expect 11 decrypt --passphrase-fd 3 changed out
expect 13 decrypt --passphrase-fd 3 --work-factor-max 3 file out
printf -- '-----BEGIN AGE ENCRYPTED FILE-----\n' >changed
expect 14 decrypt --passphrase-fd 3 changed out
printf 'another' >pass
expect 16 decrypt --passphrase-fd 3 file out
printf 'a passphrase' >pass
cp file changed
printf x >>changed
expect 17 decrypt --passphrase-fd 3 changed out
head -c -5 file >changed
expect 17 decrypt --passphrase-fd 3 changed out
head -c -21 file >changed
expect 18 decrypt --passphrase-fd 3 changed out
sed '0,/^--- ./s//--- =/' file >changed
expect 12 decrypt --passphrase-fd 3 changed out
expect 20 encrypt --recipient age1nonsense plain out
expect 19 encrypt --recipient age1tag1qqqqqqqqq plain out
printf 'nonsense\n' >identity
expect 20 decrypt --identity identity file out
expect 1 decrypt --passphrase-fd 3 missing out
expect 1 decrypt --identity missing file out
expect 2 decrypt file out
expect 2 decrypt --passphrase-fd 3 file
expect 2 encrypt --identity identity plain out
expect 2 encrypt --recipient age1 --passphrase-fd 3 plain out
expect 2 wrap plain out
expect 3 encrypt --passphrase-fd 3 --work-factor 31 plain out
expect 3 decrypt --passphrase-fd 3 file file
[[ -s file ]] || fail "IN was lost"
: >pass
expect 3 decrypt --passphrase-fd 3 file out
compgen -G '.quipu-*' && fail "temporary files are left"
echo "exit codes are as documented"
