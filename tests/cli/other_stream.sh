#!/usr/bin/env bash
# What is published is published to one stream: to another one, or to one that was made anew, nothing
# goes and nothing is called published until --again says so; then all of it goes, once.
#   other_stream.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
start_server
export QUIPU_SERVER=$url QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
for id in a b; do
    printf '{"aggregate_type":"key","aggregate_id":"%s","event_type":"key.used","payload":%d}\n' $id 1 $id 2
done | "$quipu" append - >/dev/null
"$quipu" provision >/dev/null
equal "first flush" "$("$quipu" flush --json | member published)" 4
equal "again to the same stream" \
    "$("$quipu" flush --again --json | tee "$dir/out" | member published) $(member duplicates <"$dir/out")" "0 4"

other=(--stream OTHER --bucket other --prefix other.keys)
"$quipu" provision "${other[@]}" >/dev/null
input=/dev/null
refused 8 '--again' DRIFT flush "${other[@]}"
equal "messages after a refused flush" "$("$quipu" provision "${other[@]}" --json | member stream_messages)" 0
equal "flush to another stream" "$("$quipu" flush --again "${other[@]}" --json | member published)" 4
equal "messages in the other stream" "$("$quipu" provision "${other[@]}" --json | member stream_messages)" 4
equal "once more without" "$("$quipu" flush "${other[@]}" --json | member published)" 0

has "the other stream is deleted" "$(nats_request "\$JS.API.STREAM.DELETE.OTHER" '')" '"success":true'
"$quipu" provision "${other[@]}" >/dev/null
refused 8 '--again' DRIFT flush "${other[@]}"
equal "flush to a stream made anew" "$("$quipu" flush --again "${other[@]}" --json | member published)" 4
"$quipu" init --store "$dir/reader" >/dev/null
equal "pull from it" "$("$quipu" pull --store "$dir/reader" "${other[@]}" --json | member added)" 4
passed
