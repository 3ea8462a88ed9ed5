#!/usr/bin/env bash
# quipu car over archives that are made here byte by byte: what is damaged, what is missing, what is
# named by no CID that fits a file's name, and what two blocks under one CID come to.
#   car.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$dir"

# bytes HEX: these bytes.
bytes() {
    # shellcheck disable=SC2059
    printf "$(printf '%s' "$1" | sed 's/../\\x&/g')"
}

# section HEX: a section, with its length (up to 16,383) before it.
section() {
    local len=$((${#1} / 2))
    if [ "$len" -lt 128 ]; then
        bytes "$(printf '%02x' "$len")$1"
    else
        bytes "$(printf '%02x%02x' $((len % 128 + 128)) $((len / 128)))$1"
    fi
}

none=a265726f6f7473806776657273696f6e01
digest=$(bytes 6f6e65 | sha256sum | cut -c 1-64) # of "one"
one=01551220${digest}
other=01551220$(bytes 74776f | sha256sum | cut -c 1-64)
{ section "a265726f6f747381d82a582500${one}6776657273696f6e01" && section "${one}6f6e65"; } >good.car
{ section $none && section "${one}6f6e78" && section "${one}6f6e65"; } >changed.car
{ section "a265726f6f747381d82a582500${other}6776657273696f6e01" && section "${one}6f6e65"; } >rootless.car

# From a file and from stdin.
equal "verify a file" "$("$quipu" car verify --json good.car | member blocks)" 1
equal "verify stdin" "$("$quipu" car verify --json - <good.car | member blocks)" 1
equal "ls of stdin" "$("$quipu" car ls - <good.car)" "$("$quipu" car ls good.car)"
"$quipu" car unpack - from-stdin <good.car >/dev/null
equal "unpack of stdin" "$(cat from-stdin/*)" one

# ls goes on behind a damaged block and fails at the end; verify stops there.
found=0
"$quipu" car ls changed.car >out 2>err || found=$?
equal "exit code of ls" "$found" 6
has "ls" "$(cat out)" "damaged"
has "ls" "$(cat out)" "1 block, 3 B"
has "ls" "$(cat err)" "1 damaged, the first is"
found=0
"$quipu" car ls --json changed.car >out 2>err || found=$?
equal "exit code of ls --json" "$found" 6
equal "offset of the damage" "$(head -n 1 out)" '{"offset":18,"verified":false,"damaged":true}'
equal "damaged sections" "$(tail -n 1 out | member damaged)" 1
has "ls --json" "$(cat err)" '"status":"CID_MISMATCH"'
refused 6 'get the file again' CID_MISMATCH car verify changed.car

# A root without a block.
has "ls without a root" "$("$quipu" car ls rootless.car)" "1 of 1 roots missing"
found=0
"$quipu" car verify rootless.car >out 2>err || found=$?
equal "exit code without a root" "$found" 6
has "verify without a root" "$(cat err)" "; get the whole file again from its maker"

# Everything that is wrong in the file is damage, with a cure that fits a file that was received.
bytes ffffff7f >header.car
refused 6 'have it made again with smaller blocks' TOO_LARGE car verify header.car
bytes 8080c002 >roots.car # 5 MiB, which the library would read
refused 6 'have it made again with smaller blocks' TOO_LARGE car verify roots.car
{ section $none && bytes ffffff7f; } >long.car
found=0
"$quipu" car verify long.car >out 2>err || found=$?
equal "exit code of a section over the limit" "$found" 6
has "a section over the limit" "$(cat err)" "; have it made again with smaller blocks"
section a265726f6f7473806776657273696f6e1801 >longform.car
refused 6 'writes CARv1 to the letter' CBOR_NOT_SHORTEST car verify longform.car
section a265726f6f7473806776657273696f6e02 >two.car
refused 6 '; ' CAR_VERSION car verify two.car
{ section $none && bytes 00; } >zeros.car
refused 6 '; ' CAR car verify zeros.car
refused 3 'name a CAR file' INVALID car ls .
refused 5 'name a CAR file' NOT_FOUND car ls nowhere.car

# A CID that is too long for a file's name: an identity CID of 200 bytes.
long=$(printf '6f%.0s' {1..200})
{ section $none && section "015500c801$long$long" && section "${one}6f6e65"; } >identity.car
"$quipu" car unpack identity.car identity >out 2>err
equal "files" "$(find identity -type f | wc -l)" 2
name=$("$quipu" cid --codec raw <(bytes "$long"))
equal "the block of the long CID" "$(sha256sum <"identity/$name")" "$(bytes "$long" | sha256sum)"
has "the note" "$(cat err)" "too long for a file's name"

# Two blocks under one CID that cannot be checked here (its function is blake3): the same one twice is
# one file, another one is told. Verified blocks may come twice.
blake=01551e20$(printf '00%.0s' {1..32})
{ section $none && section "${blake}6f6e65" && section "${blake}6f6e65"; } >twice.car
found=0
"$quipu" car unpack twice.car twice >out 2>err || found=$?
equal "exit code of unverifiable blocks" "$found" 6
has "unverifiable blocks" "$(cat err)" "2 blocks use a hash function"
for second in 6f6e66 6f6e 6f6e6565 ''; do
    rm -rf clash
    { section $none && section "${blake}6f6e65" && section "$blake$second"; } >clash.car
    found=0
    "$quipu" car unpack clash.car clash >out 2>err || found=$?
    equal "exit code of two blocks under one CID" "$found" 6
    has "two blocks under one CID" "$(cat err)" "a second block, and another one, under"
    equal "the first block" "$(cat clash/*)" one
done
{ section $none && section "${one}6f6e65" && section "${one}6f6e65"; } >pair.car
"$quipu" car unpack pair.car pair >/dev/null
equal "files of a pair" "$(find pair -type f | wc -l)" 1
passed
