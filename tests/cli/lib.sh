# shellcheck shell=bash
# What the tests of the program share. Sourced with the program as QUIPU; never run.

set -euo pipefail

quipu=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/quipu-cli-XXXXXX")
server_pid=
server_options=()
checks=0
unset QUIPU_STORE QUIPU_SERVER QUIPU_NATS_PASSWORD QUIPU_CONFIG QUIPU_MODE NO_COLOR
export XDG_CONFIG_HOME=$dir/no-config # nobody's own settings and credentials

cleanup() {
    local code=$?
    stop_server
    rm -rf "$dir"
    exit "$code"
}
trap cleanup EXIT

# fail WORDS: ends the test.
fail() {
    printf 'failed: %s\n' "$*" >&2
    exit 1
}

# skip WORDS: ends the test, counted as skipped.
skip() {
    printf 'skipped: %s\n' "$*"
    exit 77
}

# equal WHAT FOUND EXPECTED
equal() {
    checks=$((checks + 1))
    [ "$2" = "$3" ] || fail "$1: found \"$2\", expected \"$3\""
}

# has WHAT TEXT PART
has() {
    checks=$((checks + 1))
    case $2 in
    *"$3"*) ;;
    *) fail "$1: \"$3\" is not in \"$2\"" ;;
    esac
}

# member NAME: of each JSON line on stdin, the scalar value behind the first key of that name.
member() {
    awk -v key="\"$1\":" '{
        at = index($0, key)
        if (at == 0) next
        value = substr($0, at + length(key))
        if (sub(/^"/, "", value)) sub(/".*/, "", value)
        else sub(/[],}].*/, "", value)
        print value
    }'
}

# digest STORE: one digest over all files of a store but its table of readers and writers.
digest() {
    (cd "$1" && find . -type f ! -name '*lock*' -print0 | sort -z | xargs -0 sha256sum) | sha256sum
}

# shared NAME: path of a file beside the project; skips the test where it is absent.
shared() {
    local path=${QUIPU_SHARED_DIR:-}/$1
    [ -e "$path" ] || skip "there is no $1 in QUIPU_SHARED_DIR"
    printf '%s\n' "$path"
}

# one_cure WHAT LINE: what to do is said once: a second semicolon would begin a second cure.
one_cure() {
    checks=$((checks + 1))
    case $2 in
    *'is stored already as '*) ;; # two events in one line, each behind a semicolon
    *'; '*'; '*) fail "$1 says more than one cure: $2" ;;
    esac
}

# refused CODE CURE STATUS COMMAND…: the command must fail with this exit code, say one line on stderr
# that begins with "quipu VERB: " and holds the cure, say the same as one JSON object with --json, and
# print nothing on stdout. Reads stdin from the file $input, /dev/null where that is not set.
refused() {
    local code=$1 cure=$2 status=$3 found=0 line
    shift 3
    "$quipu" "$@" <"${input:-/dev/null}" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of: quipu $*: $(cat "$dir/err")" "$found" "$code"
    equal "lines on stderr of: quipu $*" "$(wc -l <"$dir/err")" 1
    equal "bytes on stdout of: quipu $*" "$(wc -c <"$dir/out")" 0
    line=$(cat "$dir/err")
    has "quipu $*" "$line" "quipu "
    has "quipu $*" "$line" "$cure"
    one_cure "quipu $*" "$line"
    found=0
    "$quipu" --json "$@" <"${input:-/dev/null}" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of: quipu --json $*" "$found" "$code"
    equal "lines on stderr of: quipu --json $*" "$(wc -l <"$dir/err")" 1
    has "quipu --json $*" "$(cat "$dir/err")" "{\"error\":{\"status\":\"$status\","
    has "quipu --json $*" "$(cat "$dir/err")" "\"exit\":$code,"
}

# refuses CODE WORDS COMMAND…: exit code and a part of the line on stderr.
refuses() {
    local code=$1 words=$2 found=0
    shift 2
    "$quipu" "$@" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of $*: $(cat "$dir/err")" "$found" "$code"
    has "$*" "$(cat "$dir/err")" "$words"
}

# start_server: nats-server with JetStream and ${server_options[@]} on a port that the system chooses;
# sets $url.
start_server() {
    local nats_server
    nats_server=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nats-server) ||
        skip "nats-server is not installed"
    mkdir -p "$dir/nats"
    "$nats_server" -a 127.0.0.1 -p -1 -js -sd "$dir/nats" --ports_file_dir "$dir/nats" \
        -l "$dir/nats/log" "${server_options[@]}" >/dev/null 2>&1 &
    server_pid=$!
    local ports=$dir/nats/nats-server_$server_pid.ports tries=0
    # shellcheck disable=SC2034 # read by the tests
    until url=$(grep -oE '(nats|tls)://[0-9.:]+' "$ports" 2>/dev/null); do
        kill -0 "$server_pid" 2>/dev/null || fail "nats-server: $(cat "$dir/nats/log")"
        tries=$((tries + 1))
        [ "$tries" -lt 500 ] || fail "nats-server does not listen"
        sleep 0.01
    done
}

stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}

# nats_request SUBJECT BODY: the answer of the server at $url, one line.
nats_request() {
    local at=${url#nats://} line answer=
    exec 9<>"/dev/tcp/${at%:*}/${at##*:}"
    printf 'CONNECT {"verbose":false}\r\nSUB _INBOX.answer 1\r\nPUB %s _INBOX.answer %d\r\n%s\r\n' \
        "$1" "${#2}" "$2" >&9
    while read -r -t 10 line <&9; do
        case $line in
        'MSG _INBOX.answer'*) read -r -t 10 answer <&9 && break ;;
        esac
    done
    exec 9>&-
    printf '%s\n' "$answer"
}

# passed: the last line of a test.
passed() {
    printf '%d checks passed\n' "$checks"
}
