#!/bin/bash
# age_vectors.sh QUIPU-AGECHECK: every vector of the test kit of c2sp.org/CCTV/age that is there must
# end in its own class of exit codes, with its own plaintext or with none at all.
set -euo pipefail

agecheck=${1:?usage: age_vectors.sh QUIPU-AGECHECK}
vectors=${QUIPU_SHARED_DIR:-}/vectors/age/testdata
if [[ ! -d $vectors ]]; then
    echo "skipped: there are no vectors/age in QUIPU_SHARED_DIR"
    exit 77
fi
command -v python3 >/dev/null || command -v node >/dev/null || {
    echo "skipped: neither python3 nor node unpacks zlib here"
    exit 77
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

inflate() {
    if command -v python3 >/dev/null; then
        python3 -c 'import sys, zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))'
    else
        node -e 'process.stdout.write(require("zlib").inflateSync(require("fs").readFileSync(0)))'
    fi
}

# The exit codes that stand for a class; 19 is a key type that quipu does not have.
codes_of() {
    case $1 in
    success) echo 0 ;;
    "header failure") echo 10 11 12 13 3 ;;
    "armor failure") echo 14 ;;
    "HMAC failure") echo 15 ;;
    "no match") echo 16 ;;
    "payload failure") echo 17 18 ;;
    *) echo unknown ;;
    esac
}

failed=0 passed=0 unsupported=0
for vector in "$vectors"/*; do
    name=$(basename "$vector") expect='' payload='' compressed=''
    : >"$work/identities"
    rm -f "$work/out" "$work/passphrase"
    size=0
    while IFS= read -r line; do
        size=$((size + ${#line} + 1))
        [[ -n $line ]] || break
        value=${line#*: }
        case ${line%%: *} in
        expect) expect=$value ;;
        payload) payload=$value ;;
        identity) echo "$value" >>"$work/identities" ;;
        passphrase) printf '%s' "$value" >"$work/passphrase" ;;
        compressed) compressed=$value ;;
        esac
    done < <(LC_ALL=C sed '/^$/q' "$vector" | tr -d '\0')
    tail -c +"$((size + 1))" "$vector" >"$work/raw"
    if [[ $compressed == zlib ]]; then
        inflate <"$work/raw" >"$work/in"
    else
        cp "$work/raw" "$work/in"
    fi
    keys=()
    [[ ! -s $work/identities ]] || keys+=(--identity "$work/identities")
    [[ ! -e $work/passphrase ]] || keys+=(--passphrase-fd 3)
    if [[ ${#keys[@]} -eq 0 ]]; then
        printf 'no passphrase' >"$work/passphrase"
        keys=(--passphrase-fd 3)
    fi
    [[ -e $work/passphrase ]] || : >"$work/passphrase"

    code=0
    "$agecheck" decrypt "${keys[@]}" "$work/in" "$work/out" 3<"$work/passphrase" 2>"$work/err" ||
        code=$?
    told=$(<"$work/err")
    if grep -q -- '-PQ-1' "$work/identities" && [[ $code -eq 19 && ! -e $work/out ]]; then
        unsupported=$((unsupported + 1))
        continue
    fi
    if [[ " $(codes_of "$expect") " != *" $code "* ]]; then
        echo "FAILED $name: expected $expect, exit code $code: $told"
        failed=$((failed + 1))
        continue
    fi
    if [[ $code -eq 0 ]]; then
        got=$(sha256sum <"$work/out")
        if [[ ${got%% *} != "$payload" ]]; then
            echo "FAILED $name: another plaintext"
            failed=$((failed + 1))
            continue
        fi
    elif [[ -e $work/out ]] || compgen -G "$work/.quipu-*" >/dev/null; then
        echo "FAILED $name: a failure left a file"
        failed=$((failed + 1))
        continue
    fi
    # From a pipe to a pipe the verdict is the same.
    again=0
    "$agecheck" decrypt "${keys[@]}" - - <"$work/in" >"$work/piped" 3<"$work/passphrase" 2>/dev/null ||
        again=$?
    if [[ $again -ne $code ]]; then
        echo "FAILED $name: exit code $again from a pipe, not $code"
        failed=$((failed + 1))
        continue
    fi
    passed=$((passed + 1))
done
echo "$passed vectors as expected, $unsupported of a key type not supported, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
