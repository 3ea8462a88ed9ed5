#!/usr/bin/env bash
# What goes wrong: each a one-line error with its cure and its exit code, and the store as it was.
#   bad_input.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store

good='"aggregate_type":"key","aggregate_id":"root","event_type":"key.generated"'
"$quipu" init >/dev/null
printf '{%s,"event_id":"018f2b1c-0000-7000-8000-000000000001","payload":{"n":1}}\n' "$good" |
    "$quipu" append --expect 0 - >/dev/null
"$quipu" export "$dir/good.car" >/dev/null
before=$(digest "$QUIPU_STORE")

# line CODE CURE STATUS JSON [OPTION…]: an input line that must be refused, named as line 1.
line() {
    local code=$1 cure=$2 status=$3 json=$4
    shift 4
    printf '%s\n' "$json" >"$dir/line"
    input=$dir/line
    refused "$code" "$cure" "$status" append "$@" -
    has "the JSON error of: $json" "$(cat "$dir/err")" '"line":1,"appended":0,"duplicates":0'
    "$quipu" append "$@" - <"$dir/line" 2>"$dir/err" || true
    has "the error of: $json" "$(cat "$dir/err")" "quipu append: line 1"
    has "the error of: $json" "$(cat "$dir/err")" "; "
    has "the error of: $json" "$(cat "$dir/err")" "(nothing is stored)"
    equal "store after: $json" "$(digest "$QUIPU_STORE")" "$before"
}

line 3 '' JSON '{"aggregate_type":"key",'
line 3 '' JSON 'not json'
line 3 '' JSON "{$good,\"payload\":1,\"payload\":2}"
line 3 '' INVALID '["aggregate_type","key"]'
line 3 'payload' INVALID "{$good}"
line 3 'aggregate_id' INVALID '{"aggregate_type":"key","event_type":"key.generated","payload":1}'
line 3 'event_type' INVALID '{"aggregate_type":"key","aggregate_id":"root","payload":1}'
line 3 'aggregate_id' INVALID '{"aggregate_type":"key","aggregate_id":7,"event_type":"a","payload":1}'
line 3 'schema' INVALID "{$good,\"payload\":1,\"schema\":\"one\"}"
line 3 'meta' INVALID "{$good,\"payload\":1,\"meta\":[1]}"
line 3 'occurred_at' INVALID "{$good,\"payload\":1,\"occurred_at\":\"yesterday\"}"
line 3 'event_id' INVALID "{$good,\"payload\":1,\"event_id\":\"17\"}"
line 3 'colour' INVALID "{$good,\"payload\":1,\"colour\":\"red\"}"
line 3 'event_type' INVALID '{"aggregate_type":"key","aggregate_id":"a","event_type":"Key Made","payload":1}'
line 3 '' DAGJSON "{$good,\"payload\":{\"/\":\"foo\"}}"
line 3 'JSON and DAG-CBOR both have' CBOR_FLOAT_NOT_FINITE "{$good,\"payload\":1e400}"
line 3 'JSON and DAG-CBOR both have' CBOR_DEPTH \
    "{$good,\"payload\":$(printf '[%.0s' $(seq 300))1$(printf ']%.0s' $(seq 300))}"
line 3 'without one' JSON "$(printf '\357\273\277')"
line 3 '--expect' INVALID "{$good,\"payload\":1,\"expected_version\":1}" --expect 2
line 4 'read it again' VERSION_CONFLICT "{$good,\"payload\":1,\"expected_version\":0}"
line 4 'read it again' VERSION_CONFLICT "{$good,\"payload\":1}" --expect 7
line 4 'event_id' EVENT_ID_CONFLICT \
    "{$good,\"event_id\":\"018f2b1c-0000-7000-8000-000000000001\",\"payload\":{\"n\":2}}"

# Secret material is refused by a named rule, and taken where it is asked for by name. The text is put
# together here, so that no file of ours looks like a key.
pem="-----BEGIN PRIVATE"" KEY-----\\\\nMC4CAQAwBQYDK2VwBCIEIAAA\\\\n-----END PRIVATE"" KEY-----"
line 3 '--allow-secret' SECRET_REFUSED "{$good,\"payload\":{\"text\":\"$pem\"}}"
"$quipu" backup "$dir/other" >/dev/null
equal "allowed by name" "$("$quipu" append --store "$dir/other" --allow-secret - <"$dir/line")" \
    "1 appended, 0 duplicates"

# A bad line in a batch is named; nothing of its batch is stored, all of the batches before it is.
for n in $(seq 12); do
    printf '{"aggregate_type":"batch","aggregate_id":"a","event_type":"made","event_id":"018f2b1c-0000-7000-8000-1%011d","payload":%d}\n' "$n" "$n"
done >"$dir/twelve"
cp -r "$QUIPU_STORE" "$dir/batch"
sed '8s/"payload"/"pay"/' "$dir/twelve" >"$dir/broken"
found=0
"$quipu" append --store "$dir/batch" --atomic-lines 5 --json "$dir/broken" >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of a broken batch" "$found" 3
equal "lines on stderr of a broken batch" "$(wc -l <"$dir/err")" 1
has "a broken batch" "$(cat "$dir/err")" '"line":8,"appended":5,"duplicates":0'
equal "receipts before a broken batch" "$(member line <"$dir/out" | tr '\n' ' ')" "1 2 3 4 5 "
equal "events after a broken batch" "$("$quipu" log --store "$dir/batch" --aggregate batch/a | wc -l)" 5
found=0
"$quipu" append --store "$dir/batch" --batch all "$dir/broken" >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of a broken whole" "$found" 3
has "a broken whole" "$(cat "$dir/err")" "line 8"
equal "events after a broken whole" "$("$quipu" log --store "$dir/batch" --aggregate batch/a | wc -l)" 5
sed '11s/"payload":11/"payload":11,"expected_version":3/' "$dir/twelve" >"$dir/broken"
found=0
"$quipu" append --store "$dir/batch" --atomic-lines 5 "$dir/broken" >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code of a conflict in a batch" "$found" 4
has "a conflict in a batch" "$(cat "$dir/err")" "line 11"
has "a conflict in a batch" "$(cat "$dir/err")" "(10 events before line 11 are stored, nothing behind)"
equal "events after a conflict" "$("$quipu" log --store "$dir/batch" --aggregate batch/a | wc -l)" 10
equal "the whole, mended" "$("$quipu" append --store "$dir/batch" "$dir/twelve")" "2 appended, 10 duplicates"
has "verify" "$("$quipu" verify --store "$dir/batch")" "intact: 13 events"

# Empty lines and white space are no events; the last line may lack its end.
{
    printf '\n  \n\t\r\n'
    tail -n 1 "$dir/twelve" | tr -d '\n'
} >"$dir/sparse"
equal "empty lines" "$("$quipu" append --store "$dir/batch" --json "$dir/sparse" | member line)" 4
equal "no lines" "$("$quipu" append --store "$dir/batch" /dev/null)" "0 appended, 0 duplicates"

input=/dev/null
refused 5 'quipu log' NOT_FOUND show 018f2b1c-0000-7000-8000-00000000ffff
refused 5 'quipu log' NOT_FOUND show 2
refused 5 'quipu log' NOT_FOUND show 0
refused 3 'quipu log --json' INVALID show something
unknown=bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy
refused 5 'quipu log' NOT_FOUND show "$unknown"
refused 5 'quipu log' NOT_FOUND cat "$unknown"
refused 3 'quipu log' MULTIBASE cat ''
refused 5 'quipu deadletter list' NOT_FOUND deadletter retry 1
refused 5 'quipu deadletter list' NOT_FOUND deadletter drop 99

# Stores that are none.
refused 5 'quipu init' NOT_FOUND log --store "$dir/nowhere"
mkdir "$dir/empty" "$dir/full"
echo text >"$dir/full/file"
refused 5 'quipu init' NOT_FOUND log --store "$dir/empty"
refused 6 '--store' NOT_A_STORE log --store "$dir/line"
refused 6 '--store' NOT_A_STORE init --store "$dir/full"
refused 4 'untouched' EXISTS init
equal "store after a second init" "$(digest "$QUIPU_STORE")" "$before"
equal "a folder that is no store" "$(cat "$dir/full/file")" text
cp -r "$QUIPU_STORE" "$dir/cut"
find "$dir/cut" -name 'data.mdb' -exec truncate -s 4096 {} +
refused 6 '; ' CORRUPT log --store "$dir/cut"

# Bundles that are none, and files in the way.
refused 5 'quipu export' NOT_FOUND import --yes "$dir/nowhere.car"
refused 5 'quipu export' NOT_FOUND verify "$dir/nowhere.car"
head -c 300 "$dir/good.car" >"$dir/cut.car"
refused 6 '; ' CAR_TRUNCATED import --yes "$dir/cut.car"
refused 21 '; ' CAR_TRUNCATED verify "$dir/cut.car"
refused 6 '; ' CAR_TRUNCATED car verify "$dir/cut.car"
refused 2 'quipu import --help' INVALID import --yes --trust somebody "$dir/good.car"
refused 4 '; ' EXISTS export "$dir/good.car"
refused 4 '; ' EXISTS export --format jsonl "$dir/good.car"
refused 5 '; ' NOT_FOUND export --aggregate nobody/here "$dir/none.car"
refused 5 '; ' NOT_FOUND export --format jsonl --type nothing "$dir/none.jsonl"
equal "files of refused exports" "$(find "$dir" -name 'none*' | wc -l)" 0
refused 4 '; ' EXISTS backup "$dir/full"
refused 4 'new folder' EXISTS car unpack "$dir/good.car" "$dir/full"
refused 5 'name a file' NOT_FOUND append "$dir/nowhere"
refused 3 'name a file of JSON lines' INVALID append "$dir/full"
refused 3 'name a file' INVALID cid "$dir/full"
refused 5 'name a file' NOT_FOUND cid "$dir/nowhere"
input=$dir
refused 3 'name a file of JSON lines' INVALID append -
printf '1e400' >"$dir/input"
input=$dir/input
refused 3 'JSON and DAG-CBOR both have' CBOR_FLOAT_NOT_FINITE cid --codec dag-json -
input=/dev/null

refused 3 '; name the bundle' INVALID import --yes "$dir/full"
refused 3 '; name the bundle' INVALID verify "$dir/full"
refused 4 '; choose another name' EXISTS export "$dir/good.car"
refused 6 '; restore a backup' CORRUPT log --store "$dir/cut"

# Paths whose parent is not there, and a backup that would go with its store.
refused 5 'parent folder' NOT_FOUND init --store "$dir/no/such/store"
refused 5 'parent folder' NOT_FOUND backup "$dir/no/such/backup"
refused 5 'parent folder' NOT_FOUND demo --dir "$dir/no/such/demo"
refused 3 'outside the store' INVALID backup "$QUIPU_STORE"
refused 3 'outside the store' INVALID backup "$QUIPU_STORE/backup"
ln -s "$QUIPU_STORE" "$dir/link"
refused 3 'outside the store' INVALID backup "$dir/link/backup"
equal "backup beside the store" "$("$quipu" backup --quiet --json "$QUIPU_STORE-beside" | member events)" 1
mkdir "$dir/hollow"
: >"$dir/hollow/data.mdb"
refused 6 'restore a backup' CORRUPT log --store "$dir/hollow"
refused 6 'restore a backup' CORRUPT verify --store "$dir/hollow"
printf '\377' >"$dir/bad.cbor"
refused 3 '; ' CBOR_INDEFINITE cid --codec dag-cbor "$dir/bad.cbor"
equal "store at the end" "$(digest "$QUIPU_STORE")" "$before"

# A result that cannot be written is a failure.
found=0
"$quipu" log --json >/dev/full 2>"$dir/err" || found=$?
equal "exit code of a full disk" "$found" 1
has "a full disk" "$(cat "$dir/err")" "stdout"
# What was stored before is said, for it stands.
cp -r "$QUIPU_STORE" "$dir/spoken"
found=0
"$quipu" append --store "$dir/spoken" "$dir/twelve" >/dev/full 2>"$dir/err" || found=$?
equal "exit code of append to a full disk" "$found" 1
equal "lines on stderr of append to a full disk" "$(wc -l <"$dir/err")" 1
has "append to a full disk" "$(cat "$dir/err")" "send stdout to a place that takes it (12 events are stored)"
equal "events after a full disk" "$("$quipu" log --store "$dir/spoken" --aggregate batch/a | wc -l)" 12
found=0
"$quipu" append --store "$dir/spoken" --json "$dir/twelve" >/dev/full 2>"$dir/err" || found=$?
equal "exit code of append --json to a full disk" "$found" 1
has "append --json to a full disk" "$(cat "$dir/err")" '"note":"12 events are stored"'
"$quipu" init --store "$dir/spoken2" >/dev/null
found=0
"$quipu" import --yes --store "$dir/spoken2" "$dir/good.car" >&- 2>"$dir/err" || found=$?
equal "exit code of import without stdout" "$found" 1
has "import without stdout" "$(cat "$dir/err")" "(1 event is added)"
passed
