#!/usr/bin/env bash
# The demo plays to its end, quickly, leaves nothing running, and its stores stand up to a look.
#   demo.sh QUIPU with|without
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
has_server=$2
PATH=$PATH:/usr/sbin:/usr/local/sbin
command -v nats-server >/dev/null || has_server=without

# The operator's own credentials, good or not, have no business at the demo's server.
mkdir -p "$XDG_CONFIG_HOME/quipu"
echo "no credentials" >"$XDG_CONFIG_HOME/quipu/nats.creds"
chmod 600 "$XDG_CONFIG_HOME/quipu/nats.creds"
began=$SECONDS
"$quipu" demo --dir "$dir/demo" >"$dir/out" 2>"$dir/err"
equal "stderr of the demo" "$(cat "$dir/err")" ""
[ $((SECONDS - began)) -lt 10 ] || fail "the demo took $((SECONDS - began)) s"
text=$(cat "$dir/out")
steps=$(grep -cE '^ *[0-9]+  ' "$dir/out")
has "the demo" "$text" "two-person rule"
has "the demo" "$text" "expected version 2"
has "the demo" "$text" "nothing added"
has "the demo" "$text" "intact"
has "the demo" "$text" "5 signatures hold"
has "the demo" "$text" "a certificate wants a key: key mallory-2026 is not known"
has "the demo" "$text" "bruno has bruno-2026 on 20460124/9c"
has "the demo" "$text" "nats-account by nats-operator"
has "the demo" "$text" "issuing-ca 20"
if [ "$has_server" = with ]; then
    has "the demo" "$text" "once more: 0 published"
    has "the demo" "$text" "the same in 3 stores to the byte"
    pid=$(sed -n 's/.* process \([0-9]*\)$/\1/p' "$dir/out")
    if kill -0 "$pid" 2>/dev/null; then
        fail "nats-server $pid is still running"
    fi
else
    has "the demo" "$text" "left out"
    has "the demo" "$text" "the same in 2 stores to the byte"
fi
[ ! -e "$dir/demo/nats-server" ] || fail "the server's folder is still there"

# What it says to try next works, and no secret half is in any file.
self=$(readlink -f "$quipu") # the lines name the program that ran, which need not be in PATH
grep "^  $self " "$dir/out" | sed "s|^  $self ||" >"$dir/next"
equal "commands to try next" "$(wc -l <"$dir/next")" 6
while read -r line; do
    eval "\"$quipu\" $line" >"$dir/said" || fail "quipu $line" # as somebody would paste it
    checks=$((checks + 1))
    [ -s "$dir/said" ] || fail "quipu $line says nothing"
done <"$dir/next"
has "verify" "$("$quipu" verify --store "$dir/demo/ceremony")" "intact"
equal "keys" "$("$quipu" replay --store "$dir/demo/ceremony" --projection inventory --show |
    grep '^count/key/active ')" 'count/key/active {"count":7}'
equal "YubiKeys" "$("$quipu" replay --store "$dir/demo/vault" --projection inventory --show |
    grep '^count/yubikey/')" 'count/yubikey/provisioned {"count":3}'
equal "who holds what, in the second store" "$("$quipu" replay --store "$dir/demo/vault" --projection catalogue --show |
    grep '^held/20460131/')" 'held/20460131/9c {"holder":"carla","key":"carla-2026","state":"in use"}'
equal "payloads that do not fit" "$("$quipu" query --store "$dir/demo/ceremony" \
    '{"query":"list","projection":"catalogue","prefix":"unfit/"}' | grep -o '"rows":\[.*\]')" '"rows":[]'
opened=$("$quipu" log --store "$dir/demo/ceremony" --type ceremony.opened --json | member event_id)
equal "events of the ceremony" \
    "$("$quipu" log --store "$dir/demo/ceremony" --correlation "$opened" | wc -l)" \
    "$(($("$quipu" log --store "$dir/demo/ceremony" | wc -l) - 6))"

input=/dev/null
refused 4 '; ' EXISTS demo --dir "$dir/demo"
equal "steps in JSON" "$(TMPDIR=$dir "$quipu" demo --json | member step | tail -n 1)" "$steps"
find "$dir" -maxdepth 1 -name 'quipu-demo-*' | grep -q . || fail "TMPDIR is not where the demo plays"

if [ "$has_server" = with ]; then
    # Interrupted while the server runs: the server goes too.
    "$quipu" demo --json --dir "$dir/broken" >"$dir/out" 2>/dev/null &
    demo=$!
    until pid=$(grep '"server"' "$dir/out" | sed -nE 's/.*process ([0-9]+).*/\1/p') && [ -n "$pid" ]; do
        kill -0 "$demo" 2>/dev/null || break
    done
    kill -TERM "$demo" 2>/dev/null || true
    wait "$demo" || true
    for _ in $(seq 200); do
        kill -0 "${pid:-0}" 2>/dev/null || break
        sleep 0.01
    done
    if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
        fail "nats-server $pid outlived the demo"
    fi
    # A server that is none is named.
    found=0
    "$quipu" demo --dir "$dir/false" --nats-server /bin/false >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code with a false server" "$found" 1
    equal "lines on stderr with a false server" "$(wc -l <"$dir/err")" 1
    has "a false server" "$(cat "$dir/err")" "nats-server ended at once"
fi
passed
