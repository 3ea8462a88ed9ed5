#!/usr/bin/env bash
# `quipu serve` as a process: its flush in health and figures, whose store it publishes, its signals,
# its end without a server. And what `quipu provision` can be told.
#   serve.sh QUIPU
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
start_server
export QUIPU_SERVER=$url QUIPU_STORE=$dir/store
serving=
port=

end_all() {
    local code=$?
    [ -z "$serving" ] || kill -KILL "$serving" 2>/dev/null || true
    stop_server
    rm -rf "$dir"
    exit "$code"
}
trap end_all EXIT

# events FIRST LAST
events() {
    for ((i = $1; i <= $2; i++)); do
        printf '{"aggregate_type":"note","aggregate_id":"a%d","event_type":"note.written","payload":%d}\n' $((i % 97)) "$i"
    done
}

# await PATTERN: until a line of serve's log matches.
await() {
    local tries=0
    until grep -q -- "$1" "$dir/log"; do
        tries=$((tries + 1))
        [ "$tries" -lt 3000 ] || fail "no $1 in: $(cat "$dir/log")"
        sleep 0.01
    done
    checks=$((checks + 1))
}

# begin OPTIONS: serve in the background, with figures at $port.
begin() {
    : >"$dir/log" # what the one before has said is no answer
    "$quipu" serve --metrics 127.0.0.1:0 --log-format json "$@" 2>"$dir/log" &
    serving=$!
    await '"metrics.started"'
    equal "core dumps" "$(grep -c '^Max core file size  *0  *0 ' "/proc/$serving/limits")" 1
    port=$(grep '"metrics.started"' "$dir/log" | member port)
}

# finish SIGNAL: it ends well.
finish() {
    kill "-$1" "$serving"
    wait "$serving" || fail "$1: it ended with $?: $(cat "$dir/log")"
    serving=
    checks=$((checks + 1))
    await '"service.stopped"'
}

# page PATH: the answer, head and all.
page() {
    exec 5<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n' "$1" >&5
    cat <&5
    exec 5<&-
}

figure() { page /metrics | awk -v name="$1" '$1 == name { print $2 }'; }

# await_page PATH PART: until the answer has it.
await_page() {
    local tries=0
    until case $(page "$1") in *"$2"*) true ;; *) false ;; esac; do
        tries=$((tries + 1))
        [ "$tries" -lt 3000 ] || fail "no $2 at $1: $(page "$1")"
        sleep 0.01
    done
    checks=$((checks + 1))
}

# ------------------------------------------------------------------ provision

refused 2 'file or memory' INVALID provision --storage disk
code=0
"$quipu" provision --max-age 1h >"$dir/out" 2>&1 || code=$?
equal "an age without leave" "$code" 3
has "an age without leave" "$(cat "$dir/out")" "must not lose events"
made=(provision --stream LIMITED --bucket limited --prefix limited)
has "limits" "$("$quipu" "${made[@]}" --max-age 90s --max-events 1000 --max-bytes 5000000 --may-lose-events)" \
    "stream LIMITED deletes what is older than 90 s"
has "limits, as JSON" "$("$quipu" "${made[@]}" --max-age 90s --max-events 1000 --max-bytes 5000000 \
    --may-lose-events --json)" '"drift":"","notes":"stream LIMITED deletes what is older than 90 s'
code=0
"$quipu" "${made[@]}" --storage memory --may-lose-events >"$dir/out" 2>&1 || code=$?
equal "another one than asked for" "$code" 8
has "its age" "$(cat "$dir/out")" "max_age is 90 s, quipu would have made it 0 s"
has "its number" "$(cat "$dir/out")" "max_msgs is 1000, "
has "its bytes" "$(cat "$dir/out")" "max_bytes is 5000000, "
has "its storage" "$(cat "$dir/out")" "storage is file, quipu would have made it memory"
"$quipu" provision >/dev/null

# ------------------------------------------------------------------ whose store it is

"$quipu" init >/dev/null
"$quipu" init --store "$dir/other" >/dev/null
events 1 3 | "$quipu" append - >/dev/null
other=$("$quipu" status --store "$dir/other" --json | member source)
code=0
QUIPU_NATS_SOURCE_ID=$other "$quipu" serve --flush 2>"$dir/log" || code=$?
equal "another store's settings" "$code" 3
has "another store's settings" "$(cat "$dir/log")" "nats.source_id is $other and"
equal "nothing was published" "$("$quipu" status --json | member pending)" 3
refused 2 'belong together' INVALID serve --tls-cert "$dir/none.pem"

# ------------------------------------------------------------------ what waiting does not help

# as_flush OPTIONS: serve ends at once, with the line and the exit code of flush.
as_flush() {
    local code=0 found=0
    "$quipu" flush "$@" >"$dir/out" 2>"$dir/err" || code=$?
    [ "$code" -ne 0 ] || fail "flush $* ended well"
    timeout 120 "$quipu" serve "$@" >"$dir/out" 2>"$dir/log" || found=$?
    equal "exit code of serve $*: $(cat "$dir/log")" "$found" "$code"
    equal "serve $*" "$(cat "$dir/log")" "$(sed 's/^quipu flush: /quipu serve: /' "$dir/err")"
}
echo "no credentials" >"$dir/garbage"
cp "$QUIPU_STORE/signing.key" "$dir/copied.seed"
cp "$dir/garbage" "$dir/open"
chmod 600 "$dir/garbage" "$dir/copied.seed"
chmod 644 "$dir/open"
as_flush --nkey "$dir/none.seed"
as_flush --nkey "$dir/garbage"
as_flush --nkey "$dir/open"
as_flush --nkey "$dir/copied.seed"
has "its own key" "$(cat "$dir/log")" "which never connects"
as_flush --creds "$dir/none.creds"
as_flush --creds "$dir/garbage"
as_flush --creds "$dir/open"
as_flush --tls-ca "$dir/none.pem"
as_flush --tls-ca "$dir/garbage"

# ------------------------------------------------------------------ figures of a flush under way

events 4 60000 | "$quipu" append - >/dev/null
begin --flush
tries=0
until [ "$("$quipu" status --json | member pending)" -lt 60000 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 3000 ] || fail "nothing is published: $(cat "$dir/log")"
done
kill -STOP "$server_pid" # the flush stands still, and gives up in 30 s
pending=$("$quipu" status --json | member pending)
published=$(figure quipu_flush_published_events_total)
if grep -q '"flush.done"' "$dir/log"; then
    fail "the flush was over before it was looked at"
fi
if [ "$pending" -eq 0 ] || [ "$published" -eq 0 ] || [ "$published" -ge 60000 ]; then
    fail "$published published in the midst of a flush, $pending pending"
fi
checks=$((checks + 1))
kill -CONT "$server_pid"
await '"flush.done"'
equal "published" "$(figure quipu_flush_published_events_total)" 60000
has "well" "$(page /healthz)" "200 OK"
finish HUP

# ------------------------------------------------------------------ a flush that fails, and is cured

stop_server
rm -rf "${dir:?}/nats"
start_server
export QUIPU_SERVER=$url
"$quipu" provision >/dev/null
events 60001 60001 | "$quipu" append - >/dev/null
begin --flush
await '"flush.failed",.*"status":"DRIFT"'
await_page /healthz "HTTP/1.1 503 "
has "what fails" "$(page /healthz)" "flush: "
health=$(nats_request health.quipu '')
has "what fails, to who asks" "$health" '"status":"degraded"'
has "what fails, to who asks" "$health" '"reason":"DRIFT","line":"flush: '
"$quipu" flush --again >/dev/null
await_page /healthz "HTTP/1.1 200 "
has "well, to who asks" "$(nats_request health.quipu '')" '"status":"ok"'

# ------------------------------------------------------------------ without a server

stop_server
await '"state":"offline"'
has "a server that is away is no reason to be restarted" "$(page /healthz)" "200 OK"
finish TERM

# ------------------------------------------------------------------ a server that does not take us

echo 'authorization { user: keys, password: keys }' >"$dir/nats.conf"
server_options=(-c "$dir/nats.conf")
start_server
export QUIPU_SERVER=$url
not_taken() {
    await '"nats.state",.*"state":"error".*"line":"server .* refuses the credentials'
    await_page /healthz "HTTP/1.1 503 "
    has "what fails" "$(page /healthz)" "refuses the credentials"
    await_page /metrics 'quipu_nats_state{state="error"} 1'
}
begin --flush
not_taken
finish TERM
begin
not_taken
: >"$dir/nats.conf" # and now it does
kill -HUP "$server_pid"
await_page /healthz "HTTP/1.1 200 "
await_page /metrics 'quipu_nats_state{state="connected"} 1'
finish TERM
passed
