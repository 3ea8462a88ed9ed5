#!/bin/bash
# quipu-cidcheck itself: one output line for each input line whatever that holds, the exit codes,
# and --check that sees a wrong expectation.
set -euo pipefail

cidcheck=${1:?usage: cidcheck.sh QUIPU-CIDCHECK}

fail() {
    echo "FAILED: $*"
    exit 1
}

# expect CODE TEXT LINES…: the exit code, and a text that the output must have.
expect() {
    local code=$1 text=$2 got=0 out
    shift 2
    out=$(printf '%s\n' "$@" | "$cidcheck" "${flags[@]}" 2>&1) || got=$?
    [[ $got -eq $code ]] || fail "exit code $got, not $code, for: $*: $out"
    [[ $out == *"$text"* ]] || fail "no '$text' in: $out"
}

flags=()
expect 0 '"result":"accept"' '{"op":"dagcbor","hex":"80"}'
expect 0 '"cid":"bafyreidwx2fvfdiaox32v2mnn6sxu3j4qoxeqcuenhtgrv5qv6litfnmoe"' \
    '{"op":"dagcbor","hex":"80"}'
expect 0 '"code":"CBOR_NOT_SHORTEST","number":72,"offset":1' '{"op":"dagcbor","hex":"811800"}'
expect 0 '"generic":"accept","event":"reject","result":"reject"' \
    '{"op":"dagcbor","profile":"dasl","hex":"d82a480001000003616263"}'
expect 0 '"generic":"accept","event":"reject","result":"accept"' \
    '{"op":"dagcbor","hex":"d82a480001000003616263"}'
expect 0 '"code":"CBOR_FLOAT_NOT_FINITE"' '{"op":"dagcbor-encode-reject","hex":"f97c00"}'
expect 0 '"result":"accept"' '{"op":"dagcbor-encode-reject","hex":"f93c00"}'
expect 0 '"value":"300"' '{"op":"varint","hex":"ac02"}'
expect 0 '"hex":"796573206d616e692021"' '{"op":"multibase","str":"zUXE7GvtEk8XTXs1GF8HSGbVA9FCX9SEBPe"}' \
    '{"op":"multibase-decode","str":"F796573206D616E692021"}'
expect 0 '"verified":true' '{"op":"multihash","hex":"00036f6e65","input":"one"}'
expect 0 '"code":"CID_MISMATCH"' '{"op":"multihash","hex":"00036f6e65","input":"two"}'
expect 0 '"result":"reject"' '{"op":"cid-syntax-loose","str":"cid:bafybeigdyrzt5sfp7udm"}'
expect 0 '"code":"CAR_VERSION"' '{"op":"car","hex":"0aa16776657273696f6e02"}'
expect 0 '"ncids":0' '{"op":"car","hex":"11a265726f6f7473806776657273696f6e01"}'
expect 0 '"str":"{\"a\":1.0}"' '{"op":"dagjson","str":" {\"a\" : 1.0 } "}'

# Every refusal has its place and its reason.
flags=()
expect 0 '"code":"CAR_VERSION","number":104,"offset":1,"message":"this' \
    '{"op":"car","hex":"0aa16776657273696f6e02"}'
expect 0 '"code":"CID_PROFILE","number":94,"offset":1,"message":"CID version 1' \
    '{"op":"dagcbor","profile":"dasl","hex":"81d82a480001000003616263"}'
expect 0 '"offset":0,"message":"CID version 0' \
    '{"op":"cid-parse","profile":"dasl","str":"QmTFHZL5CkgNz19MdPnSuyLAi6AVq9fFp81zmPpaL2amED"}'
expect 0 '"offset":0,"message":"decoded CID' '{"op":"cid-parse","str":"b"}'
expect 0 '"offset":0,"message":"decoded CID' '{"op":"cid-parse","str":"baedqrjkiaqwcyaa"}'
expect 0 '"offset":2,"message"' '{"op":"multihash","hex":"00036f6e65","input":"two"}'
expect 0 '"offset":3,"message"' '{"op":"cid-syntax-loose","str":"baf"}'
expect 0 '"offset":256,"message"' \
    "{\"op\":\"cid-syntax-loose\",\"str\":\"$(printf 'b%.0s' {1..300})\"}"
expect 0 '"offset":2,"message"' '{"op":"dagcbor-encode-reject","hex":"8201f97c00"}'
expect 0 '"offset":1,"message"' '{"op":"dagcbor-encode-reject","hex":"8119ff"}'
expect 0 '"code":"CBOR_INCOMPLETE","number":86,"offset":2,"message"' \
    '{"op":"dagcbor-encode-reject","hex":"8201"}'

# Files: absolute, below the folder, and bare ones in its car/.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/car"
printf '\x11\xa2\x65roots\x80\x67version\x01' | tee "$dir/one.car" >"$dir/car/two.car"
expect 0 '"ncids":0' "{\"op\":\"car\",\"file\":\"$dir/one.car\"}"
flags=(--files "$dir")
for file in one.car two.car car/two.car "$dir/car/two.car"; do
    expect 0 '"ncids":0' "{\"op\":\"car\",\"file\":\"$file\"}"
done
expect 1 'open car/one.car' '{"op":"car","file":"car/one.car"}'

# A machine that cannot read is no verdict.
expect 1 '"result":"error"' '{"op":"car","file":""}'
expect 1 '"result":"error"' '{"op":"car","file":"car","expect":"reject"}'

# Fields that are not known may hold any JSON; the first line may begin with a byte order mark.
flags=()
expect 0 '"result":"accept"' '{"op":"dagcbor","hex":"80","value":18446744073709551615}'
expect 0 '"result":"accept"' '{"op":"dagcbor","hex":"80","x":[1e999,-1E+999,"\"1e999"]}'
expect 1 '"result":"error"' '{"op":"dagcbor","hex":"80","x":01e999}'
expect 0 '"result":"accept"' $'\xef\xbb\xbf{"op":"dagcbor","hex":"80"}'
expect 1 '"result":"error"' '' $'\xef\xbb\xbf{"op":"dagcbor","hex":"80"}'

# Lines that say nothing of use give an error line, and the rest is still read.
expect 1 '"result":"accept"' '{"op":"dagcbor","hex":"80"' '{"op":"dagcbor","hex":"80"}'
expect 1 'no JSON object' '[1]'
expect 1 'no \"op\"' '{}'
expect 1 'not known' '{"op":"fly"}'
expect 1 'not hexadecimal' '{"op":"dagcbor","hex":"8"}'
expect 1 'needs' '{"op":"dagcbor"}' '{"op":"varint","str":"x"}' '{"op":"car"}' '{"op":"cid-parse"}'
expect 1 'open nowhere.car' '{"op":"car","file":"nowhere.car"}'
expect 0 '"name":"a\u0000b"' '{"name":"a\u0000b","op":"cid-parse","str":"\u0000"}'
lines=$(printf '{"op":"dagcbor","hex":"80"}\n\nnonsense\n{"op":"varint","hex":"00"}\n' |
    "$cidcheck" || true)
[[ $(wc -l <<<"$lines") -eq 3 ]] || fail "not one line for each line: $lines"

flags=(--check)
expect 0 '1 as expected' '{"op":"dagcbor","hex":"80","expect":"accept"}'
expect 3 '1 failed' '{"op":"dagcbor","hex":"80","expect":"reject"}'
expect 3 'differs in cid' '{"op":"dagcbor","hex":"80","expect":"accept","cid":"bafy"}'
expect 3 'differs in hex' '{"op":"multibase","str":"f00","hex":"01","expect":"accept"}'
expect 3 'differs in str' '{"op":"multibase","str":"fAA","hex":"aa","expect":"accept"}'
expect 0 '1 as expected' '{"op":"multibase-decode","str":"fAA","hex":"aa","expect":"accept"}'
expect 3 'differs in value' '{"op":"varint","hex":"01","value":"2","expect":"accept"}'
expect 0 '1 known' \
    '{"suite":"dasl-testing","op":"dagcbor","hex":"fb8000000000000000","expect":"reject"}'
expect 0 '1 not applicable' '{"op":"dagcbor","hex":"f93e00","expect":"n/a"}'
expect 3 'differs' '{"op":"car","hex":"11a265726f6f7473806776657273696f6e01","expect":"n/a"}'
flags=(--nonsense)
expect 2 'usage' ''
echo "ok"
