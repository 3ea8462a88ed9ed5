#!/usr/bin/env bash
# An auditor who has stock tools only: runs the commands out of the VERIFY.txt of an unpacked bundle as
# they stand there, then changes one thing after the other and sees each found by one of them. Also the
# exit codes of `quipu verify BUNDLE`.
#   auditor.sh QUIPU APPEND_BLOCK
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
quipu=$1
append_block=$2
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export QUIPU_STORE=$dir/vault

fail() {
    echo "auditor.sh: $*" >&2
    exit 1
}

for tool in node sha256sum ssh-keygen age age-keygen cmp; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: there is no $tool; ./scripts/setup test installs it"
        exit 77
    fi
done
if [ ! -e "$here/node_modules/.quipu-stamp" ]; then
    echo "skipped: the peers are not installed; ./tests/interop/install.sh does it"
    exit 77
fi
# Node looks for packages beside the folder that it runs in, and above.
ln -s "$here/node_modules" "$dir/node_modules"

append() { # FIRST LAST
    for ((i = $1; i <= $2; i++)); do
        printf '{"aggregate_type":"key","aggregate_id":"root-%d","event_type":"key.used","payload":{"n":%d}}\n' \
            $((i % 7)) "$i"
    done | "$quipu" append --quiet - >/dev/null
}

# Run the commands of a VERIFY.txt; $1: its folder. The auditor was told the source: $SOURCE.
audit() {
    local commands
    commands=$(sed -n 's/^\$ //p' "$1/VERIFY.txt")
    [ -n "$commands" ] || fail "$1/VERIFY.txt has no commands"
    (cd "$1" && bash -euo pipefail -c "$commands") >"$dir/log" 2>&1
}

expect_exit() { # CODE WORD COMMAND…
    local code=0 wanted=$1 word=$2
    shift 2
    "$@" >"$dir/log" 2>&1 || code=$?
    [ "$code" -eq "$wanted" ] || fail "exit code $code, not $wanted: $*: $(cat "$dir/log")"
    grep -q -- "$word" "$dir/log" || fail "'$word' is not said: $*: $(cat "$dir/log")"
}

"$quipu" init --quiet >/dev/null
append 1 300
SOURCE=$("$quipu" status --json | grep -oE -m 1 '"source":"U[A-Z2-7]{55}"' | grep -oE 'U[A-Z2-7]{55}')
export SOURCE
"$quipu" export --quiet --unpack "$dir/audit" --operator 'Ada Quispe' "$dir/one.car" >"$dir/said"
grep -q '^spoken ' "$dir/said" || fail "the digest is not said in words"
for name in events.car events.ndjson manifest.cbor manifest.json signature-1.sig signer-1.pub \
    checkpoint checkpoint.vkey allowed_signers SHA256SUMS VERIFY.txt; do
    [ -s "$dir/audit/$name" ] || fail "$name is not there"
done
cmp "$dir/one.car" "$dir/audit/events.car"
[ "$(wc -l <"$dir/audit/events.ndjson")" -eq 300 ] || fail "events.ndjson has another number of lines"
[ "$(sed -n '$=' "$dir/audit/checkpoint")" -eq 5 ] || fail "the checkpoint has another number of lines"
audit "$dir/audit" || fail "the commands of VERIFY.txt fail: $(cat "$dir/log")"
grep -q '300 events verified' "$dir/log" || fail "node has not counted the events"
grep -q 'Good "quipu-bundle@v1" signature for source' "$dir/log" || fail "the source's key has not verified"
grep -q "Good \"quipu-bundle@v1\" signature for $SOURCE" "$dir/log" || fail "ssh-keygen has not verified"
if (unset SOURCE && audit "$dir/audit"); then
    fail "the commands run without a source that was told"
fi
sed -n 's/^\$ //p' "$dir/audit/VERIFY.txt" >"$dir/commands"
(cd "$dir/audit" && sh -e "$dir/commands") >"$dir/log" 2>&1 || fail "sh fails: $(cat "$dir/log")"

# Encrypted: who receives it unpacks it, and age itself finds the same bytes.
age-keygen -o "$dir/identity" 2>/dev/null
recipient=$(sed -n 's/^# public key: //p' "$dir/identity")
"$quipu" export --quiet --recipient "$recipient" "$dir/two.age" >/dev/null
"$quipu" verify --identity "$dir/identity" --unpack "$dir/audit-two" "$dir/two.age" >/dev/null
BUNDLE=$dir/two.age IDENTITY=$dir/identity audit "$dir/audit-two" || fail "encrypted: $(cat "$dir/log")"
age --decrypt --identity "$dir/identity" -o "$dir/two.car" "$dir/two.age"
"$quipu" verify "$dir/two.car" >/dev/null
if BUNDLE=$dir/two.age IDENTITY=$dir/identity audit "$dir/audit"; then
    fail "another bundle's encrypted file passes for this one"
fi

# To a passphrase, as text; another passphrase does not open it.
"$quipu" export --quiet --passphrase-fd 3 --armor "$dir/words.age" 3<<<'correct horse' >/dev/null
head -n 1 "$dir/words.age" | grep -qx -- '-----BEGIN AGE ENCRYPTED FILE-----' || fail "it is not armored"
"$quipu" verify --passphrase-fd 3 "$dir/words.age" 3<<<'correct horse' >/dev/null
expect_exit 27 'wrong recipient: ' "$quipu" verify --passphrase-fd 3 "$dir/words.age" 3<<<'wrong horse'

# One change after the other, each found by the tools, also where the forger has put the sums right.
resum() { # FOLDER
    (cd "$1" && find . -type f ! -name SHA256SUMS -printf '%P\0' | xargs -0 sha256sum) >"$dir/sums"
    cp "$dir/sums" "$1/SHA256SUMS"
}
tampered=' SHA256SUMS VERIFY.txt '
tamper() { # NAME SED-EXPRESSION
    cp -r "$dir/audit" "$dir/tampered"
    sed -i "$2" "$dir/tampered/$1"
    cmp -s "$dir/audit/$1" "$dir/tampered/$1" && fail "$1 is not changed"
    if audit "$dir/tampered"; then
        fail "a change of $1 is not found"
    fi
    resum "$dir/tampered"
    if audit "$dir/tampered"; then
        fail "a change of $1 is not found with new sums: $2"
    fi
    rm -r "$dir/tampered"
    tampered+="$1 "
}
tamper manifest.cbor 's/Ada Quispe/Eva Quispe/'
tamper manifest.json 's/Ada Quispe/Eva Quispe/'
tamper events.car 's/root-3/root-4/'
tamper events.ndjson 's/root-3/root-4/'
tamper events.ndjson 's/"n":3}/"n":999}/'
tamper events.ndjson 's/"n":3}/"n":999,"n":3}/'
tamper events.ndjson '7d'
tamper events.ndjson '7p'
tamper events.ndjson '7{h;d};8G'
tamper signature-1.sig '3s/[A-M]/Z/'
tamper signer-1.pub 's/AAAAC3NzaC1lZDI1NTE5AAAAI/AAAAC3NzaC1lZDI1NTE5AAAAJ/'
tamper allowed_signers 's/AAAAC3NzaC1lZDI1NTE5AAAAI/AAAAC3NzaC1lZDI1NTE5AAAAJ/'
tamper allowed_signers 's/ .*/ cert-authority&/'
tamper allowed_signers 'p'
tamper checkpoint '2s/3/4/'
tamper checkpoint.vkey 's/+../+zz/'
for path in "$dir/audit"/*; do
    [[ $tampered == *" ${path##*/} "* ]] || fail "nobody changed ${path##*/}"
done

# Whole folders by a forger, with everything put right that can be. What finds them is named.
ssh-keygen -q -t ed25519 -N '' -f "$dir/forger"
ln -s "$here/forge.mjs" "$dir/forge.mjs"
forged() { # MODE WORD
    cp -r "$dir/audit" "$dir/tampered"
    (cd "$dir" && node --preserve-symlinks --preserve-symlinks-main forge.mjs "$1" tampered forger) >"$dir/told"
    sed -i "s/$honest/$SOURCE/" "$dir/tampered/VERIFY.txt"
    resum "$dir/tampered"
    if audit "$dir/tampered"; then
        fail "a forged folder passes: $1"
    fi
    grep -qE -- "$2" "$dir/log" || fail "'$2' is not said of $1: $(cat "$dir/log")"
    rm -r "$dir/tampered"
}
honest=$SOURCE
forged signer 'Could not verify signature|incorrect signature|Signature verification failed'
forged extra 'blocks that nothing names'
forged twice 'is there twice'
cp -r "$dir/audit" "$dir/tampered"
SOURCE=$(cd "$dir" && node --preserve-symlinks --preserve-symlinks-main forge.mjs again tampered forger)
rm -r "$dir/tampered"
forged again 'is there twice'
SOURCE=$honest
cp "$dir/audit/signature-1.sig" "$dir/audit/signature-2.sig"
audit "$dir/audit" && fail "a signature that is not of the bundle passes"
rm "$dir/audit/signature-2.sig"

# Events that DAG-JSON cannot carry, in a store of their own, among some that look much like them and are
# carried. The former stand as bytes, and a folder where they stand otherwise does not pass.
deepest=$(printf '81%.0s' {1..127})80
QUIPU_STORE=$dir/odd "$quipu" init --quiet >/dev/null
odd=0
for block in a1612fa16562797465736441414141 a1612f6178 a2612f6178616101 81a1612f60 a1616181a1612f60 \
    a1612fa26161f6656279746573616b "$deepest" "${deepest#81}" "${deepest#8181}" a1612f01 a1612ff6 a16162f6 \
    a1612f81f6 a1612fa165627974657301 a26060612f60 a1612fa0 a1612f43010203 a1656279746573616b \
    a1695f5f70726f746f5f5fa1612f60; do
    odd=$((odd + 1))
    "$append_block" "$dir/odd" "odd-$odd" "$block"
done
"$append_block" "$dir/odd" meta a1616e01 a1612f6178
"$append_block" "$dir/odd" both a1612f6178 a1612fa165627974657360
"$quipu" --store "$dir/odd" export --quiet --unpack "$dir/odd-audit" "$dir/odd.car" >/dev/null
honest=$SOURCE
SOURCE=$("$quipu" --store "$dir/odd" status --json | grep -oE -m 1 '"source":"U[A-Z2-7]{55}"' | grep -oE 'U[A-Z2-7]{55}')
audit "$dir/odd-audit" || fail "events that DAG-JSON cannot carry: $(cat "$dir/log")"
grep -q '21 events verified' "$dir/log" || fail "node has not counted the odd events"
[ "$(grep -c '"payload_bytes":' "$dir/odd-audit/events.ndjson")" -eq 8 ] || fail "other payloads stand as bytes"
[ "$(grep -c '"envelope_bytes":' "$dir/odd-audit/events.ndjson")" -eq 2 ] || fail "other envelopes stand as bytes"
misshown() { # LINE FROM TO
    cp -r "$dir/odd-audit" "$dir/tampered"
    sed -i "$1s,$2,$3," "$dir/tampered/events.ndjson"
    cmp -s "$dir/odd-audit/events.ndjson" "$dir/tampered/events.ndjson" && fail "line $1 is not changed"
    resum "$dir/tampered"
    if audit "$dir/tampered"; then
        fail "line $1 passes with $3"
    fi
    grep -q 'events.ndjson: bafy' "$dir/log" || fail "line $1 is refused otherwise: $(cat "$dir/log")"
    rm -r "$dir/tampered"
}
misshown 1 '"payload_bytes":{.*' '"payload":{"/":{"bytes":"AAAA"}}}'
misshown 1 oWEvoWVieXRlc2RBQUFB oWEvoWVieXRlc2RBQUFC
misshown 2 '"payload_bytes":{.*' '"payload":{"/":"x"}}'
misshown 10 '"payload":.*' '"payload_bytes":{"/":{"bytes":"oWEvAQ"}}}'
SOURCE=$honest

# The verdicts of verify.
append 301 310
"$quipu" export --quiet --since-last "$dir/three.car" >/dev/null
append 311 320
"$quipu" export --quiet --since-last "$dir/four.car" >/dev/null
"$quipu" verify --passphrase-fd 3 "$dir/one.car" "$dir/two.car" "$dir/words.age" "$dir/three.car" "$dir/four.car" \
    >"$dir/log" 3<<<'correct horse'
grep -q 'began as the 300 events' "$dir/log" || fail "consistency is not said: $(cat "$dir/log")"
sed 's/root-3/root-4/' "$dir/one.car" >"$dir/tampered.car"
head -c 5000 "$dir/one.car" >"$dir/cut.car"
expect_exit 20 'tampered: .*tampered.car: event' "$quipu" verify "$dir/tampered.car"
expect_exit 21 'truncated: .*cut.car' "$quipu" verify "$dir/cut.car"
expect_exit 23 'gap: .*four.car: bundles 3 to 4 ' "$quipu" verify "$dir/two.car" "$dir/four.car"
"$quipu" --store "$dir/stranger" init --quiet >/dev/null
(QUIPU_STORE=$dir/stranger append 1 1)
stranger=$("$quipu" --store "$dir/stranger" log --json | sed -n 's/.*"source":"\(U[A-Z0-9]*\)".*/\1/p')
expect_exit 26 'untrusted signer: ' "$quipu" verify --trust "$stranger" "$dir/one.car"
expect_exit 27 'wrong recipient: ' "$quipu" verify "$dir/two.age"
expect_exit 29 'replayed: ' "$quipu" verify "$dir/three.car" "$dir/one.car"
expect_exit 29 'replayed: ' "$quipu" verify "$dir/three.car" "$dir/three.car"
# Bundles of another source, and those without a number, do not hide what is missing.
"$quipu" --store "$dir/stranger" export --quiet "$dir/strange.car" >/dev/null
expect_exit 23 'gap: .*four.car: bundles 3 to 4 ' "$quipu" verify "$dir/two.car" "$dir/strange.car" "$dir/four.car"
"$quipu" verify "$dir/one.car" "$dir/three.car" >"$dir/log" 2>&1 && fail "a gap is not found"
"$quipu" verify "$dir/strange.car" "$dir/four.car" >"$dir/log"
grep -q '^not       that bundle 4 came before it' "$dir/log" || fail "the caveat is not said: $(cat "$dir/log")"
# A selection says that it is one.
"$quipu" verify "$dir/one.car" >"$dir/log"
! grep -q 'that it is all' "$dir/log" || fail "a whole bundle is called a selection"
# Whom --trust names is said once.
"$quipu" release "$dir/one.car" "$dir/released.car" --require 1 --trust "$SOURCE" >"$dir/log"
grep -qx "signed    $SOURCE (the source)" "$dir/log" || fail "who signed is said otherwise: $(cat "$dir/log")"
# A path is text of others.
cp "$dir/one.car" "$dir/"$'x\n\e[32mintact\e[0m: y.car'
"$quipu" verify "$dir/"$'x\n\e[32mintact\e[0m: y.car' >"$dir/log"
[ "$(grep -c intact "$dir/log")" -eq 1 ] || fail "a path makes lines of its own: $(cat "$dir/log")"
! grep -q $'\e' "$dir/log" || fail "a path drives the terminal"
expect_exit 5 'cut-and-gone' "$quipu" verify "$dir/cut-and-gone.car"

# Volumes.
"$quipu" export --quiet --volume-size 64K "$dir/vol.car" >/dev/null
"$quipu" verify "$dir/vol.car" >/dev/null
(cd "$dir/vol.car" && sha256sum --check --strict --quiet SHA256SUMS)
mv "$dir/vol.car/vol.car.002" "$dir/kept"
expect_exit 22 'missing: .*vol.car.002' "$quipu" verify "$dir/vol.car"

mv "$dir/kept" "$dir/vol.car/vol.car.002"
truncate -s 1T "$dir/vol.car/vol.car.001"
expect_exit 20 'tampered: .*vol.car.001 is larger than the whole bundle' "$quipu" verify "$dir/vol.car"
ln -sf vol.car.002 "$dir/vol.car/vol.car.001"
expect_exit 20 'tampered: .*vol.car.001 is a symbolic link' "$quipu" verify "$dir/vol.car"

# A store that was rolled back gives the number of a bundle that is on its way already once more.
cp -r "$dir/vault" "$dir/rolled-back"
append 321 321
"$quipu" export --quiet --since-last "$dir/seven.car" >/dev/null
(QUIPU_STORE=$dir/rolled-back append 322 322)
"$quipu" --store "$dir/rolled-back" export --quiet --since-last "$dir/other-seven.car" >/dev/null
expect_exit 24 'fork: .*number 7' "$quipu" verify "$dir/seven.car" "$dir/other-seven.car"

# A selection says so, and how much of what is new it leaves out.
"$quipu" export --quiet --aggregate key/root-3 "$dir/some.car" >/dev/null
left=$("$quipu" verify --json "$dir/some.car" | grep -o '"left_out":[0-9]*')
[ "$left" = '"left_out":0' ] || fail "nothing new is left out, said is: $left"
append 331 337
"$quipu" export --quiet --aggregate key/root-3 "$dir/more.car" >/dev/null
"$quipu" verify "$dir/some.car" "$dir/more.car" >"$dir/log"
grep -qx 'not       that it is all: 6 events that the source had recorded are not in it, of those since bundle 8' \
    "$dir/log" || fail "a selection is not called one: $(cat "$dir/log")"
echo "an auditor with stock tools finds what quipu says, and what was changed"
