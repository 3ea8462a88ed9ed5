#!/usr/bin/env bash
# Several people sign one bundle, with key files and with OpenSSH's own tools, and it is released,
# verified and taken in only when enough of them have.
#   sign.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
command -v ssh-keygen >/dev/null || skip "ssh-keygen is not installed"
space='quipu-bundle@v1'
input=/dev/null
cd "$dir"

event() {
    printf '{"aggregate_type":"note","aggregate_id":"%s","event_type":"note.written","payload":{"text":"%s"}}\n' \
        "$1" "$2"
}
# name_of KEY: what we call it: the beginning of an NKey, or the fingerprint of another type.
name_of() {
    if [ "$1" = ed25519 ]; then
        printf 'U'
    else
        ssh-keygen -l -f "$1" | awk '{ print $2 }'
    fi
}
export QUIPU_STORE=$dir/vault
"$quipu" init >/dev/null
for note in a b c; do event "$note" first; done | "$quipu" append - >/dev/null
"$quipu" export --operator 'Ada Quispe' --reason 'the first ceremony' all.car >/dev/null
source=$("$quipu" status --json | member source)
cp all.car first.car

# A key of every type that needs no hardware.
types=(ed25519 ecdsa-256 ecdsa-384 ecdsa-521 rsa-2048 rsa-4096)
for type in "${types[@]}"; do
    bits=256
    [ "$type" = ed25519 ] || bits=${type#*-}
    ssh-keygen -q -t "${type%-*}" -b "$bits" -N '' -C '' -f "$type"
    printf '%s namespaces="%s" %s\n' "$type" "$space" "$(cat "$type.pub")" >>allowed
done

# ------------------------------------------------------------------ signing by ssh-keygen

out=$("$quipu" sign all.car --manifest m.cbor)
has "what is signed" "$out" "bundle    1, 3 events, positions 1 to 3"
has "what is signed" "$out" "operator  Ada Quispe"
has "what is signed" "$out" "reason    the first ceremony"
has "what is signed" "$out" "signs     $(sha256sum <m.cbor | cut -d ' ' -f 1)"
has "what is signed" "$out" "spoken    "
has "what is signed" "$out" "signed    $source (the source)"
has "what to do next" "$out" "ssh-keygen -Y sign -n $space -f KEY m.cbor"
equal "the bundle is as it was" "$(sha256sum <all.car)" "$(sha256sum <first.car)"
refused 4 'choose another name' EXISTS sign all.car --manifest m.cbor

# What is signed is there whole, or not at all.
found=0
QUIPU_FAILPOINT=airgap.export.sync:kill "$quipu" sign all.car --manifest half.cbor >/dev/null 2>&1 || found=$?
if [ "$found" != 0 ]; then
    equal "how the writing ended" "$found" 137
    [ ! -e half.cbor ] || fail "a manifest was there before it was whole"
    "$quipu" sign all.car --manifest half.cbor >/dev/null
    equal "left over" "$(find . -maxdepth 1 -name '.quipu-*' | wc -l)" 0
    rm half.cbor
else
    echo "note: no failpoints here, the interrupted writing was not tried"
fi

for type in "${types[@]}"; do
    ssh-keygen -q -Y sign -n "$space" -f "$type" m.cbor 2>/dev/null
    mv m.cbor.sig "$type.sig"
    # On copies of their own, for the other order below.
    "$quipu" sign first.car --add "$type.sig" --output "$type.car" >/dev/null
    has "$type" "$("$quipu" sign all.car --add "$type.sig")" "added     $(name_of "$type")"
done
equal "signatures" "$("$quipu" verify --json all.car | member signatures)" 7
has "who signed" "$("$quipu" verify all.car)" "signer    $(name_of rsa-4096) ssh-rsa"

# Who signs next sees everyone who has.
out=$("$quipu" sign all.car --manifest again.cbor)
equal "what is signed stays the same" "$(sha256sum <again.cbor)" "$(sha256sum <m.cbor)"
equal "signers that are shown" "$(grep -c '^signed    ' <<<"$out")" 7
for type in "${types[@]}"; do has "who has signed" "$out" "signed    $(name_of "$type")"; done
json=$("$quipu" sign all.car --manifest third.cbor --json)
for type in "${types[@]}"; do has "who has signed, as JSON" "$json" "\"fingerprint\":\"$(ssh-keygen -l -f "$type" | awk '{ print $2 }')\""; done

# Brought together from copies, in another order: the same file.
cp rsa-4096.car together.car
"$quipu" sign together.car --add ecdsa-384.car --add ed25519.sig --add rsa-2048.car >/dev/null
"$quipu" sign together.car --add ecdsa-521.car --add ecdsa-256.car >/dev/null
equal "any order gives the same file" "$(sha256sum <together.car)" "$(sha256sum <all.car)"

# The auditor's folder, and the commands in it.
"$quipu" verify --unpack folder all.car >/dev/null
signatures=0
while IFS= read -r line; do
    (cd folder && bash -c "$line") >said 2>&1 || fail "$line: $(cat said)"
    signatures=$((signatures + 1))
done < <(grep '^\$ ssh-keygen.* -f allowed_signers' folder/VERIFY.txt | sed 's/^\$ //')
equal "signatures that ssh-keygen verifies" "$signatures" 7
for type in "${types[@]}"; do
    has "VERIFY.txt" "$(cat folder/VERIFY.txt)" "$(ssh-keygen -l -f "$type" | awk '{ print $2 }')"
done
(cd folder && sha256sum --check --strict --quiet SHA256SUMS)

# ------------------------------------------------------------------ signing by a key file

words='correct horse battery'
"$quipu" keygen --signing plain.key --plain >/dev/null
"$quipu" keygen --signing wrapped.key --passphrase-fd 3 3<<<"$words" >/dev/null
cp first.car keys.car
json=$("$quipu" sign keys.car --key plain.key --json)
equal "signatures" "$(member signatures <<<"$json")" 2
equal "added" "$(member added <<<"$json")" 1
equal "manifest_sha256" "$(member manifest_sha256 <<<"$json")" "$(sha256sum <m.cbor | cut -d ' ' -f 1)"
equal "sha256" "$(printf '%s' "${json##*\"sha256\":\"}" | cut -c -64)" "$(sha256sum <keys.car | cut -d ' ' -f 1)"
has "a wrapped key" "$("$quipu" sign keys.car --key wrapped.key --passphrase-fd 3 3<<<"$words")" "keys.car, 3 signatures"
"$quipu" verify --unpack keys keys.car >/dev/null
printf 'plain %s\nwrapped %s\n' "$(cat plain.key.pub)" "$(cat wrapped.key.pub)" >key-signers
for name in plain wrapped; do
    found=0
    for signature in keys/signature-*.sig; do
        ssh-keygen -Y verify -f key-signers -I "$name" -n "$space" -s "$signature" <m.cbor >/dev/null 2>&1 &&
            found=$((found + 1))
    done
    equal "signatures of $name that ssh-keygen verifies" "$found" 1
done

# ------------------------------------------------------------------ what is refused

before=$(sha256sum <keys.car)
refused 2 '--key' INVALID sign keys.car
refused 2 '--manifest' INVALID sign keys.car --manifest x --key plain.key
refused 4 'another key' EXISTS sign keys.car --key plain.key
refused 5 'keygen --signing' NOT_FOUND sign keys.car --key nothing.key
"$quipu" sign all.car --add ed25519.sig --output x.car 2>err && fail "the same key twice"
has "the same key twice" "$(cat err)" "has signed all.car already"
printf 'another\n' >another
ssh-keygen -q -Y sign -n "$space" -f ed25519 another 2>/dev/null
ssh-keygen -q -Y sign -n git -f ed25519 - <m.cbor >other-space.sig 2>/dev/null
for signature in another.sig other-space.sig; do
    refused 6 'ssh-keygen -Y sign' BAD_SIGNATURE sign keys.car --add "$signature"
done
refused 4 'already' EXISTS sign keys.car --add first.car
event d second | "$quipu" append - >/dev/null
"$quipu" export --since-last second.car >/dev/null
refused 6 'a copy of this bundle' BUNDLE sign keys.car --add second.car
refused 5 'quipu export' NOT_FOUND sign nothing.car --key plain.key
head -c 500 first.car >cut.car
refused 21 'truncated' CAR_TRUNCATED sign cut.car --key plain.key
"$quipu" export --passphrase-fd 3 secret.age 3<<<"$words" >/dev/null
refused 3 'before it is encrypted' INVALID sign secret.age --key plain.key
"$quipu" export --volume-size 64K volumes >/dev/null
refused 3 'before it is split' INVALID sign volumes --key plain.key
ln -s keys.car link.car
refused 3 'symbolic link' INVALID sign link.car --key plain.key
equal "the bundle is as it was" "$(sha256sum <keys.car)" "$before"

# ------------------------------------------------------------------ how many people

sed 's/^ecdsa-521 /ecdsa-384 /' allowed >people # one person with two keys
cp first.car few.car
for type in ecdsa-384 ecdsa-521; do "$quipu" sign few.car --add "$type.sig" >/dev/null; done
for verb in verify 'release few.out'; do
    # shellcheck disable=SC2086 # a verb and its last argument
    set -- $verb
    refused 30 'quipu sign' TOO_FEW_SIGNERS "$1" few.car ${2:+"$2"} --require 2 --allowed-signers people
    has "$1" "$("$quipu" "$1" few.car ${2:+"$2"} --require 2 --allowed-signers people 2>&1 || true)" \
        "1 of the 2 people that must sign has: ecdsa-384"
done
equal "nothing was released" "$(ls few.out 2>/dev/null || true)" ""
has "both keys count where they are two people" \
    "$("$quipu" verify few.car --require 2 --allowed-signers allowed)" "people    2, 2 asked for"
"$quipu" init --store office >/dev/null
refused 6 'quipu sign' TOO_FEW_SIGNERS import --store office --yes few.car --require 2 --allowed-signers people
equal "nothing was taken in" "$("$quipu" status --store office --json | member events)" 0
"$quipu" sign few.car --add rsa-2048.sig >/dev/null
out=$("$quipu" release few.car few.out --require 2 --allowed-signers people --operator Ada --reason 'for the office')
has "release" "$out" "released  bundle 1, 3 events, in few.out"
has "release" "$out" "people    2, 2 asked for"
equal "released as it is" "$(sha256sum <few.out)" "$(sha256sum <few.car)"
refused 4 'choose another name' EXISTS release few.car few.out --require 2 --allowed-signers people
equal "no verdict where the bundle is not at fault" "$(grep -c 'not checked' err || true)" 0
row=$("$quipu" operations --json | tail -n 1)
equal "kind" "$(member kind <<<"$row")" release
equal "operator" "$(member operator <<<"$row")" Ada
equal "reason" "$(member reason <<<"$row")" 'for the office'
has "signers" "$row" "$(name_of rsa-2048)"
json=$("$quipu" import --store office --yes --json few.out --require 2 --allowed-signers people)
equal "added" "$(member added <<<"$json")" 3
equal "people" "$(member people <<<"$json")" 2
has "everyone is recorded" "$("$quipu" operations --store office --json)" "$(name_of ecdsa-521)"

# Released encrypted, and in volumes.
"$quipu" release few.car few.volumes --require 2 --allowed-signers people --volume-size 64K \
    --passphrase-fd 3 3<<<"$words" >/dev/null
has "encrypted volumes" "$("$quipu" verify few.volumes --passphrase-fd 3 3<<<"$words" --require 2 --allowed-signers people)" \
    "people    2, 2 asked for"
(cd few.volumes && sha256sum --check --strict --quiet SHA256SUMS)
refused 6 '--no-record' NOT_A_STORE release --quiet --store nowhere few.car here.car --require 1 --allowed-signers people
equal "nothing leaves unrecorded by accident" "$(ls here.car 2>/dev/null || true)" ""
json=$("$quipu" release --store nowhere --no-record few.car here.car --require 1 --allowed-signers people --json)
equal "recorded" "$(member recorded <<<"$json")" false
refused 2 'leave --no-record out' INVALID release --no-record few.car v --require 1 --allowed-signers people --volume-size 64K
refused 2 '--require' INVALID release few.car x
refused 2 '--allowed-signers' INVALID release few.car x --require 2
refused 2 'from 1 to 64' INVALID verify few.car --require 0 --allowed-signers people
refused 2 '--allowed-signers' INVALID import --yes few.car --require 2
refused 2 'neither signed' INVALID import --yes --format jsonl --require 1 --allowed-signers people all.jsonl
refused 2 'are for a bundle' INVALID verify --require 2
echo 'no-touch no-touch-required ssh-ed25519 AAAA' >options
refused 3 'line 1' INVALID verify few.car --allowed-signers options
equal "exit code of an untrusted signer" "$("$quipu" verify first.car --allowed-signers people >/dev/null 2>&1 || echo $?)" 26
passed
