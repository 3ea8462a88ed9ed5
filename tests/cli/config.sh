#!/usr/bin/env bash
# Where settings come from and which one wins; backups in the folder that they name; and
# that Offline makes no socket.
#   config.sh QUIPU NO_SOCKET with|without NETWORK with|without TOML
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
no_socket=$2 network=$3 toml=$4
input=/dev/null
[ "$toml" = with ] || skip "settings from files are not in this build"
event='{"aggregate_type":"key","aggregate_id":"root","event_type":"key.used","payload":1}'
"$no_socket" true >"$dir/out" || skip "$(cat "$dir/out")"

# shown KEY: its value and where it is from, by what is set now.
shown() {
    "$quipu" config show --json "${options[@]}" | grep -F "\"key\":\"$1\"" >"$dir/line"
    printf '%s %s' "$(member value <"$dir/line")" "$(member from <"$dir/line")"
}

# ------------------------------------------------------------------ layers

options=()
export HOME=$dir/home
mkdir -p "$dir/home/.config/quipu" "$dir/xdg/quipu"
equal "nothing is set" "$(shown nats.url)" "nats://127.0.0.1:4222 default"
equal "no file" "$("$quipu" config check --json)" '{"file":null,"settings":0}'
unset XDG_CONFIG_HOME
printf '[nats]\nurl = "nats://home"\n' >"$dir/home/.config/quipu/config.toml"
equal "a file in the home" "$(shown nats.url)" "nats://home file"
export XDG_CONFIG_HOME=$dir/xdg
equal "XDG_CONFIG_HOME" "$(shown nats.url)" "nats://127.0.0.1:4222 default"
printf '[nats]\nurl = "nats://xdg"\n' >"$dir/xdg/quipu/config.toml"
equal "a file there" "$(shown nats.url)" "nats://xdg file"
printf '[nats]\nurl = "nats://named"\nsubject_prefix = "a.b"\n' >"$dir/named.toml"
export QUIPU_CONFIG=$dir/named.toml
equal "QUIPU_CONFIG" "$(shown nats.url)" "nats://named file"
printf '[nats]\nurl = "nats://asked"\n[storage]\ndir = "from-file"\n' >"$dir/asked.toml"
options=(--config "$dir/asked.toml")
equal "--config" "$(shown nats.url)" "nats://asked file"
equal "one file, not several" "$(shown nats.subject_prefix)" "cim.keys default"
export QUIPU_NATS_URL=nats://variable
equal "a variable" "$(shown nats.url)" "nats://variable environment"
options+=(--server nats://option)
equal "an option" "$(shown nats.url)" "nats://option option"
has "as text" "$("$quipu" config show "${options[@]}")" "nats://option  (--server)"
unset QUIPU_NATS_URL
export QUIPU_SERVER=nats://short
options=(--config "$dir/asked.toml")
equal "the short variable" "$(shown nats.url)" "nats://short environment"
export QUIPU_NATS_URL=nats://long
refused 3 'unset one of them' INVALID config show
export QUIPU_SERVER=nats://long
equal "both, and the same" "$(shown nats.url)" "nats://long environment"
unset QUIPU_NATS_URL QUIPU_SERVER
equal "the store of the file" "$(shown storage.dir)" "$dir/from-file file"
QUIPU_STORE=here "$quipu" config show --json "${options[@]}" | grep -F '"key":"storage.dir"' >"$dir/line"
equal "a variable's path is as it is" "$(member value <"$dir/line")" here
unset QUIPU_CONFIG
options=()
rm "$dir/xdg/quipu/config.toml"

for wrong in QUIPU_MODE=online QUIPU_NATS_MAX_RETRIES=many QUIPU_NATS_ENABLED=1 QUIPU_STORAGE_BACKUP_INTERVAL_SECS=1w \
    QUIPU_NATS_JETSTREAM_REPLICAS=0; do
    export "${wrong?}"
    refused 3 'set it otherwise, or unset it' INVALID log
    has "$wrong" "$(cat "$dir/err")" "environment ${wrong%=*}: "
    unset "${wrong%=*}"
done
QUIPU_NATS_ULR=nats://a refused 3 'ENVIRONMENT' INVALID config check
has "a variable that is none" "$(cat "$dir/err")" "the variable QUIPU_NATS_ULR is no setting"
refused 2 'quipu config --help' INVALID config frobnicate
refused 2 'quipu config --help' INVALID config

# Who we are is one thing: a way that a later layer gives takes the place of the earlier one's.
printf '[nats]\ncredentials_file = "file.creds"\n' >"$dir/named.toml"
options=(--config "$dir/named.toml")
export QUIPU_NATS_USER=keys QUIPU_NATS_PASSWORD=hush
equal "the file's way" "$(shown nats.credentials_file)" "null default"
equal "the environment's way" "$(shown nats.user)" "keys environment"
equal "its password" "$(shown nats.password)" "******** environment"
unset QUIPU_NATS_USER
equal "a password alone waits for a user" "$(shown nats.password)" "null default"
equal "the file's way again" "$(shown nats.credentials_file)" "$dir/file.creds file"
printf '[nats]\nuser = "keys"\n' >"$dir/named.toml"
equal "the file's user, the environment's password" "$(shown nats.password)" "******** environment"
case $("$quipu" config show "${options[@]}" --json) in
*hush*) fail "the password is shown" ;;
esac
unset QUIPU_NATS_PASSWORD
options=()

# What the settings name is looked at, and nothing else is done.
printf '[nats]\ncredentials_file = "%s"\n' "$dir/my.creds" >"$dir/named.toml"
refused 5 'name a file that may be read' NOT_FOUND config check --config "$dir/named.toml"
touch "$dir/my.creds"
chmod 640 "$dir/my.creds"
refused 1 'chmod 600 it' PERMISSION config check --config "$dir/named.toml"
chmod 600 "$dir/my.creds"
has "good" "$("$quipu" config check --config "$dir/named.toml")" "named.toml: 1 setting, good"
# A wrong file stops what uses settings, and nothing else.
printf 'colour = 1\n' >"$dir/wrong.toml"
export QUIPU_CONFIG=$dir/wrong.toml
refused 3 'lists all keys' INVALID status
has "help" "$("$quipu" help)" "Usage: quipu VERB"
has "version" "$("$quipu" version)" "quipu 0."
unset QUIPU_CONFIG

# ------------------------------------------------------------------ folders

cd "$dir"
cat >quipu.toml <<X
[storage]
dir = "ceremony"
backup_dir = "backups"
enable_backup = true
X
export QUIPU_CONFIG=$dir/quipu.toml
"$quipu" init >/dev/null
equal "the store is where the file says" "$(test -f ceremony/data.mdb && echo yes)" yes
equal "no event, no backup" "$(test -d backups || echo none)" none
printf '%s\n' "$event" | "$quipu" append - >/dev/null 2>"$dir/err"
has "the first backup" "$(cat "$dir/err")" "backup in $dir/backups/"
set -- backups/*
equal "backups" "$#" 1
has "it is whole" "$("$quipu" verify --store "$1")" "intact: 1 event"
printf '%s\n' "$event" | "$quipu" append - >/dev/null 2>"$dir/err"
equal "within the interval" "$(cat "$dir/err")" ""
"$quipu" log >/dev/null 2>"$dir/err"
equal "reading makes none" "$(cat "$dir/err")" ""
# One that was broken off does not count, nor does one of another store.
mkdir backups/000000000000-29990101T000000Z
mv "$1/data.mdb" "$dir/aside"
printf '%s\n' "$event" | "$quipu" append - >/dev/null 2>"$dir/err"
has "behind a broken one" "$(cat "$dir/err")" "backup in "
mv "$dir/aside" "$1/data.mdb"
export QUIPU_STORAGE_BACKUP_INTERVAL_SECS=0
printf '%s\n' "$event" | "$quipu" append - >/dev/null 2>"$dir/err"
has "every time" "$(cat "$dir/err")" "backup in "
newest=$(sed 's/^backup in //' "$dir/err")
has "the newest" "$("$quipu" verify --store "$newest")" "intact: 4 events"
unset QUIPU_STORAGE_BACKUP_INTERVAL_SECS
has "backup without a folder" "$("$quipu" backup)" "4 events"
QUIPU_STORAGE_ENABLE_BACKUP=false
export QUIPU_STORAGE_ENABLE_BACKUP
printf '%s\n' "$event" | "$quipu" append - >/dev/null 2>"$dir/err"
equal "not asked for" "$(cat "$dir/err")" ""
unset QUIPU_STORAGE_ENABLE_BACKUP
# A backup that fails leaves the events, and says so.
export QUIPU_STORAGE_BACKUP_DIR=$dir/quipu.toml
found=0
printf '%s\n' "$event" | "$quipu" append - >"$dir/out" 2>"$dir/err" || found=$?
[ "$found" -ne 0 ] || fail "a backup into a file went well"
equal "lines on stderr" "$(wc -l <"$dir/err")" 1
unset QUIPU_STORAGE_BACKUP_DIR
equal "events" "$("$quipu" log | wc -l)" 6

QUIPU_CONFIG=/dev/null refused 2 'quipu backup --help' INVALID backup --store ceremony
unset QUIPU_CONFIG

# ------------------------------------------------------------------ Offline

# quiet CODE COMMAND…: that exit code, and no socket on the way.
quiet() {
    local expected=$1 found=0
    shift
    "$no_socket" "$quipu" "$@" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of $* without sockets: $(cat "$dir/err")" "$found" "$expected"
}
export QUIPU_MODE=Offline QUIPU_STORE=$dir/ceremony
quiet 0 init --store "$dir/offline"
printf '%s\n' "$event" >"$dir/line"
for verb in log status verify export\ "$dir/o.car" backup\ "$dir/o.backup" append\ "$dir/line" "config show" "config check"; do
    # shellcheck disable=SC2086 # some have arguments
    quiet 0 $verb
done
for verb in flush pull provision; do
    quiet 7 $verb --server nats://127.0.0.1:1
    has "$verb" "$(cat "$dir/err")" "mode.mode is Offline, so no socket is opened; set it to Hybrid or Online"
    refused 7 'QUIPU_MODE=Hybrid' OFFLINE "$verb"
done
quiet 0 demo --dir "$dir/demo"
if [ "$network" = with ]; then
    has "the demo" "$(cat "$dir/out")" "no socket is opened"
fi
unset QUIPU_MODE
export QUIPU_NATS_ENABLED=false
refused 7 'QUIPU_NATS_ENABLED=true' OFFLINE flush
quiet 7 flush
unset QUIPU_NATS_ENABLED
if [ "$network" = with ]; then
    # The trap does close: without the mode a flush makes a socket, and is ended for it.
    quiet 159 flush --server nats://127.0.0.1:1
fi
passed
