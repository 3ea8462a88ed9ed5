#!/bin/bash
# age_peer.sh QUIPU-AGECHECK: Debian's age reads what quipu wrote, and quipu what age wrote: sizes
# around the borders of chunks, several recipients, armor, a passphrase.
set -euo pipefail

agecheck=${1:?usage: age_peer.sh QUIPU-AGECHECK}
for tool in age age-keygen script; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: there is no $tool; ./scripts/setup test installs it"
        exit 77
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "FAILED: $*"
    exit 1
}

same() {
    cmp -s "$1" "$2" || fail "$3: another plaintext"
}

recipients=()
for i in 1 2 3; do
    age-keygen -o "key$i" 2>/dev/null
    recipients+=("$(age-keygen -y "key$i")")
done
age-keygen -o stranger 2>/dev/null

turns=0
for size in 0 1 47 48 49 1000 65535 65536 65537 131071 131072 131073 196608 $((RANDOM * 7)); do
    head -c "$size" /dev/urandom >plain
    for armor in "" --armor; do
        "$agecheck" encrypt ${armor:+"$armor"} --recipient "${recipients[0]}" \
            --recipient "${recipients[1]}" plain ours
        age ${armor:+"$armor"} -r "${recipients[0]}" -r "${recipients[1]}" -o theirs plain
        for key in key1 key2; do
            age -d -i "$key" ours >out || fail "age does not read ours, $size bytes $armor"
            same plain out "age of ours, $size bytes $armor"
            "$agecheck" decrypt --identity "$key" theirs out ||
                fail "we do not read age's, $size bytes $armor"
            same plain out "ours of age's, $size bytes $armor"
            turns=$((turns + 2))
        done
        "$agecheck" decrypt --identity stranger --identity key2 - - <theirs >out ||
            fail "with two identity files"
        same plain out "through pipes, $size bytes $armor"
        code=0
        "$agecheck" decrypt --identity stranger --identity key3 theirs out 2>err || code=$?
        [[ $code -eq 16 && ! -e out ]] || fail "a stranger: exit code $code"
        age -d -i stranger ours >out 2>err && fail "age: a stranger reads ours"
    done
done
# Both wrote the same form: as many bytes, and the same lines.
[[ $(wc -c <ours) -eq $(wc -c <theirs) ]] || fail "another size than age's"

# age asks a terminal for its passphrase; script gives it one.
printf 'kept behind words' >plain
passphrase='correct horse battery'
printf '%s\n' "$passphrase" |
    "$agecheck" encrypt --passphrase-fd 0 --work-factor 10 plain words ||
    fail "encrypt with a passphrase"
printf '%s\n' "$passphrase" | script -qec "age -d -o out words" /dev/null >log 2>&1 ||
    fail "age does not read our passphrase file: $(cat log)"
same plain out "age of our passphrase file"
printf '%s\n%s\n' "$passphrase" "$passphrase" |
    script -qec "age -p --armor -o theirs plain" /dev/null >log 2>&1 ||
    fail "age -p: $(cat log)"
rm -f out
printf '%s' "$passphrase" | "$agecheck" decrypt --passphrase-fd 0 theirs out ||
    fail "we do not read age's passphrase file"
same plain out "ours of age's passphrase file"
code=0
printf 'wrong' | "$agecheck" decrypt --passphrase-fd 0 theirs out 2>err || code=$?
[[ $code -eq 16 && ! -e out ]] || fail "a wrong passphrase: exit code $code"

echo "$turns files to and from age $(age --version), and passphrases: all read"
