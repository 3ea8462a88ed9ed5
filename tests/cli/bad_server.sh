#!/usr/bin/env bash
# Servers that are not there, that do not know us, or that were not made ready; and a build without the
# network.
#   bad_server.sh QUIPU with|without
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export QUIPU_STORE=$dir/store
"$quipu" init >/dev/null
printf '{"aggregate_type":"key","aggregate_id":"root","event_type":"key.generated","payload":{"n":1}}\n' |
    "$quipu" append - >/dev/null
before=$(digest "$QUIPU_STORE")

if [ "$2" = without ]; then
    for verb in provision flush pull; do
        refused 2 'quipu export' MISUSE "$verb" --stream S --bucket B --prefix a.b --creds F --user U --tls-ca C
        has "$verb" "$(cat "$dir/err")" "this quipu is built without the network"
    done
    equal "store" "$(digest "$QUIPU_STORE")" "$before"
    passed
    exit 0
fi

# A port that nobody listens on: one that was given to a server and is free again.
start_server
gone=$url
stop_server
for verb in provision flush pull; do
    refused 7 '--server' OFFLINE "$verb" --server "$gone"
    refused 3 '' INVALID "$verb" --server 'nats://'
done
refused 1 '; ' IO flush --server "$gone" --user keys --password-fd 17
# What cannot be meant together is wrong options, found before the store or the server is asked.
for verb in provision flush pull; do
    refused 2 "quipu $verb --help" INVALID "$verb" --store "$dir/nowhere" --user keys --creds file
    refused 2 "quipu $verb --help" INVALID "$verb" --store "$dir/nowhere" --password-fd 3
done

server_options=(--user keys --pass right)
start_server
export QUIPU_SERVER=$url
wrong() {
    printf 'wrong\n' >"$dir/password"
    "$quipu" "$@" --user keys --password-fd 3 3<"$dir/password"
}
for verb in provision flush pull; do
    found=0
    wrong "$verb" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of $verb with a wrong password" "$found" 8
    equal "lines on stderr of $verb with a wrong password" "$(wc -l <"$dir/err")" 1
    has "$verb with a wrong password" "$(cat "$dir/err")" "; "
    one_cure "$verb with a wrong password" "$(cat "$dir/err")"
    case $(cat "$dir/err") in
    *wrong*) fail "the error shows the password: $(cat "$dir/err")" ;;
    esac
    refused 8 '; ' AUTH "$verb" --server "nats://keys:hush@${url#nats://}"
    case $(cat "$dir/err") in
    *hush*) fail "the error shows the password of the url: $(cat "$dir/err")" ;;
    esac
    refused 8 '; ' AUTH "$verb"
    QUIPU_NATS_PASSWORD=wrong refused 8 '; ' AUTH "$verb" --user keys
done
equal "store after refused credentials" "$(digest "$QUIPU_STORE")" "$before"

# The right password by each way, a server that is not made ready, then one that is made otherwise.
export QUIPU_NATS_PASSWORD=right
refused 7 'quipu provision' NOT_PROVISIONED flush --user keys
refused 7 'quipu provision' NOT_PROVISIONED pull --user keys
equal "store after an unprovisioned server" "$(digest "$QUIPU_STORE")" "$before"
equal "provision" "$("$quipu" provision --user keys --json | member stream_created)" true
unset QUIPU_NATS_PASSWORD
printf 'right' >"$dir/password"
equal "flush" "$("$quipu" flush --user keys --password-fd 3 --json 3<"$dir/password" | member published)" 1
equal "flush by url" "$("$quipu" flush --server "nats://keys:right@${url#nats://}" --json | member pending)" 0
equal "flush by a url with a slash" \
    "$("$quipu" flush --server "nats://keys:right@${url#nats://}/" --json | member pending)" 0
refused 7 'nats-server' OFFLINE flush --server "$gone/,$gone/"
found=0
"$quipu" provision --user keys --duplicates 7s --password-fd 3 3<"$dir/password" >"$dir/out" 2>"$dir/err" ||
    found=$?
equal "exit code of drift" "$found" 8
has "drift" "$(cat "$dir/out")" "otherwise than quipu would have made them"
equal "lines on stderr of drift" "$(wc -l <"$dir/err")" 1
passed
