#!/usr/bin/env bash
# Files of settings, good and bad: what a good one sets, and for a bad one the place, the fault and the
# cure.
#   config_files.sh QUIPU with|without TOML
# shellcheck disable=SC2016 # cures quote commands
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
file=$dir/quipu.toml
mkdir "$dir/home"
files=0

if [ "$2" = without ]; then
    printf 'mode = "Offline"\n' >"$file"
    input=/dev/null
    refused 2 'QUIPU_CONFIG=/dev/null' MISUSE config check --config "$file"
    has "a build without TOML" "$(cat "$dir/err")" "this quipu is built without TOML"
    equal "an empty file" "$("$quipu" config check --config /dev/null --json | member settings)" 0
    equal "a variable" "$(QUIPU_MODE=Offline "$quipu" config check --json | member settings)" 1
    passed
    exit 0
fi

# good SETTINGS KEY VALUE… <file on stdin>: so many are set, and these have this value.
good() {
    local settings=$1
    shift
    cat >"$file"
    chmod 600 "$file"
    files=$((files + 1))
    equal "settings of file $files: $(cat "$file")" \
        "$("$quipu" config check --config "$file" --json | member settings)" "$settings"
    "$quipu" config show --config "$file" --json >"$dir/shown"
    while [ $# -gt 0 ]; do
        equal "$1 in file $files" "$(grep -F "\"key\":\"$1\"" "$dir/shown" | member value)" "$2"
        shift 2
    done
}

# bad LINE:COLUMN STATUS FAULT CURE <file on stdin>: refused there, in one line, by text and by JSON.
bad() {
    local at=$1 status=$2 fault=$3 cure=$4 found=0 line expected=3
    cat >"$file"
    chmod 600 "$file"
    files=$((files + 1))
    "$quipu" config check --config "$file" >"$dir/out" 2>"$dir/err" || found=$?
    line=$(cat "$dir/err")
    equal "exit code of file $files: $line" "$found" "$expected"
    equal "lines on stderr of file $files" "$(wc -l <"$dir/err")" 1
    equal "bytes on stdout of file $files" "$(wc -c <"$dir/out")" 0
    has "file $files" "$line" "quipu config: $file:$at: $fault"
    has "file $files" "$line" "; $cure"
    one_cure "file $files" "$line"
    found=0
    "$quipu" log --store "$dir/nowhere" --config "$file" --json >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of log with file $files" "$found" "$expected"
    has "file $files by log --json" "$(cat "$dir/err")" "{\"error\":{\"status\":\"$status\","
    has "file $files by log --json" "$(cat "$dir/err")" ",\"line\":${at%:*},\"column\":${at#*:}}}"
}

# ------------------------------------------------------------------ good

good 0 mode.mode none nats.url nats://127.0.0.1:4222 <<'X'
X
good 0 storage.dir .quipu <<'X'
# nothing but a comment
X
good 1 mode.mode Offline <<'X'
mode = "Offline"
X
good 1 mode.mode Online <<'X'
[mode]
mode = "Online"
X
good 1 mode.mode Hybrid <<'X'
mode.mode = "Hybrid"
X
good 8 nats.enabled true nats.url nats://a:4222,nats://b:4222 nats.stream_name KEYS \
    nats.object_store_bucket keys nats.max_retries 3 nats.connection_timeout_secs 10s \
    nats.flush_interval_secs 1m nats.subject_prefix acme.keys <<'X'
[nats]
enabled = true
url = "nats://a:4222,nats://b:4222"
stream_name = "KEYS"
object_store_bucket = "keys"
max_retries = 3
connection_timeout_secs = 10
flush_interval_secs = 60
subject_prefix = "acme.keys"
X
good 4 nats.connection_timeout_secs 500ms nats.request_timeout_secs 90s nats.flush_interval_secs 12h \
    storage.backup_interval_secs 7d <<'X'
nats.connection_timeout_secs = "500ms"
nats.request_timeout_secs = "90s"
nats.flush_interval_secs = "12h"
storage.backup_interval_secs = "7d"
X
good 6 nats.jetstream.replicas 3 nats.jetstream.max_age 365d nats.jetstream.max_bytes 10GiB \
    nats.jetstream.max_messages 1000000 nats.jetstream.storage memory nats.jetstream.may_lose_events true <<'X'
[nats.jetstream]
replicas = 3
max_age = "365d"
max_bytes = "10GiB"
max_messages = 1_000_000
storage = "memory"
may_lose_events = true
X
good 1 nats.jetstream.max_bytes 64KiB <<'X'
nats = { jetstream = { max_bytes = 0x10000 } }
X
touch "$dir/ca.pem" "$dir/client.pem" "$dir/home/client.key"
chmod 600 "$dir/home/client.key"
HOME=$dir/home good 4 nats.tls.ca_cert "$dir/./ca.pem" nats.tls.client_cert "$dir/client.pem" nats.tls.client_key \
    "$dir/home/client.key" nats.tls.server_name nats.example.org <<'X'
[nats.tls]
ca_cert = "./ca.pem"
client_cert = "client.pem"
client_key = "~/client.key"
server_name = 'nats.example.org'
X
good 5 storage.dir "$dir/ceremony" storage.offline_events_dir /media/stick storage.backup_dir \
    "$dir/backups" storage.enable_backup true storage.backup_interval_secs 0s <<'X'
[storage]
dir = "ceremony"
offline_events_dir = "/media/stick"
backup_dir = "backups"
enable_backup = true
backup_interval_secs = 0
X
good 2 nats.user keys nats.password '********' <<'X'
[nats]
user = "keys"
password = "hush"
X
good 1 nats.url 'nats://********@a:4222,nats://********@b' <<'X'
nats.url = "nats://keys:hush@a:4222,nats://token@b"
X
good 2 nats.subject_template 'cim.graph.{aggregate_type}.events.{event_type}.{event_id}' nats.dedup window <<'X'
[nats]
subject_template = "cim.graph.{aggregate_type}.events.{event_type}.{event_id}"
dedup = "window"
X
good 1 nats.source_id UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA <<'X'
nats.source_id = "UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
X
good 2 offline.operator 'Ada Quispe — ñ' offline.probe_timeout_secs 2s <<'X'
[offline]
operator = "Ada Quispe — \u00f1"
probe_timeout_secs = 2
X

# ------------------------------------------------------------------ not TOML

bad 1:6 INVALID 'this is not TOML: ' 'write [section], and below it key = value' <<'X'
[nats
X
bad 2:9 INVALID 'this is not TOML: ' 'write [section], and below it key = value' <<'X'
[nats]
url = nats://127.0.0.1
X
bad 1:16 INVALID 'this is not TOML: ' 'write' <<'X'
mode = "Offline
X
bad 3:11 INVALID 'this is not TOML: ' 'write' <<'X'
[nats]
enabled = true
enabled = false
X
bad 3:1 INVALID 'this is not TOML: ' 'write' <<'X'
mode = "Offline"

[mode]
mode = "Offline"
X
bad 2:8 INVALID 'this is not TOML: ' 'write' < <(printf '[nats]\nurl = "a\xff"\n')
bad 1:4097 TOO_LARGE 'a line has more than 4096 bytes' 'name a file of settings' < <(
    printf '#%04096d\n' 0
)
bad 1:9 INVALID 'this is not TOML: ' 'write' < <(printf 'mode = "\x00"\n')

# ------------------------------------------------------------------ keys and sections that are none

bad 2:1 INVALID 'there is no key nats.strem_name' 'did you mean stream_name of [nats]?' <<'X'
[nats]
strem_name = "KEYS"
X
bad 2:1 INVALID 'there is no key nats.ca_cert' 'did you mean ca_cert of [nats.tls]?' <<'X'
[nats]
ca_cert = "ca.pem"
X
bad 1:1 INVALID 'there is no key url' 'did you mean url of [nats]?' <<'X'
url = "nats://127.0.0.1"
X
bad 1:1 INVALID 'there is no key "nats.url"' '' <<'X'
"nats.url" = "nats://127.0.0.1"
X
bad 1:1 INVALID 'there is no key colour' '`quipu config show` lists all keys' <<'X'
colour = "red"
X
bad 2:2 INVALID 'there is no section nuts' 'there are nats, nats.tls' <<'X'

[nuts]
url = "x"
X
bad 1:7 INVALID 'there is no section nats.cluster' 'there are nats, nats.tls' <<'X'
[nats.cluster]
name = "x"
X
bad 1:8 INVALID 'nats is a section, found text' 'write [nats]' <<'X'
nats = "nats://127.0.0.1"
X
bad 1:1 INVALID 'nats is a section, found a list' 'write [nats]' <<'X'
[[nats]]
url = "nats://127.0.0.1"
X
# Of several faults the first in the file, whatever the order of the alphabet.
bad 2:1 INVALID 'there is no key storage.zzzzzzz' '`quipu config show`' <<'X'
[storage]
zzzzzzz = 1
aaaaaaa = 1
[nats]
qqqqqqq = 1
X

# ------------------------------------------------------------------ wrong types

bad 2:11 INVALID 'nats.enabled wants true or false, found text' 'write enabled = true' <<'X'
[nats]
enabled = "true"
X
bad 2:8 INVALID 'mode.mode wants text, found true or false' 'write mode = "Hybrid"' <<'X'
[mode]
mode = true
X
bad 1:8 INVALID 'mode is a section, found a whole number' 'write [mode]' <<'X'
mode = 1
X
bad 2:15 INVALID 'nats.stream_name wants text, found a whole number' 'write stream_name = "CIM_KEYS_EVENTS"' <<'X'
[nats]
stream_name = 17
X
bad 2:15 INVALID 'nats.max_retries wants a whole number, found text' 'write max_retries = 3' <<'X'
[nats]
max_retries = "3"
X
bad 2:15 INVALID 'nats.max_retries wants a whole number, found a number with a point' 'write max_retries = 3' <<'X'
[nats]
max_retries = 3.0
X
bad 2:7 INVALID 'nats.url wants text, found a list' 'write url = "nats://127.0.0.1:4222"' <<'X'
[nats]
url = ["nats://a", "nats://b"]
X
bad 2:11 INVALID 'nats.jetstream.max_age wants a duration: text, or seconds as a whole number, found a date or time' \
    'write max_age = "365d"' <<'X'
[nats.jetstream]
max_age = 2027-01-01
X
bad 2:13 INVALID 'nats.jetstream.max_bytes wants a size: text, or bytes as a whole number, found a number with a point' \
    'write max_bytes = "10GiB"' <<'X'
[nats.jetstream]
max_bytes = 1e9
X

# ------------------------------------------------------------------ out of range, malformed

bad 2:12 INVALID 'nats.jetstream.replicas wants a whole number from 1 to 5, found "6"' 'write replicas = 1' <<'X'
[nats.jetstream]
replicas = 6
X
bad 2:15 INVALID 'nats.max_retries wants a whole number from 0 to 1000, found "-1"' 'write max_retries = 3' <<'X'
[nats]
max_retries = -1
X
bad 2:27 INVALID 'nats.connection_timeout_secs wants a duration from 1ms to 1h, found "3601"' \
    'write connection_timeout_secs = 5' <<'X'
[nats]
connection_timeout_secs = 3601
X
bad 2:23 INVALID 'nats.flush_interval_secs wants a duration from 1ms to 365d, found "5 minutes"' \
    'write flush_interval_secs = 60' <<'X'
[nats]
flush_interval_secs = "5 minutes"
X
bad 1:8 INVALID 'mode.mode wants "Offline" or "Online" or "Hybrid", found "offline"' 'write mode = "Hybrid"' <<'X'
mode = "offline"
X
bad 2:9 INVALID 'nats.dedup wants "subject" or "window", found "none"' 'write dedup = "subject"' <<'X'
[nats]
dedup = "none"
X
bad 2:13 INVALID 'nats.jetstream.max_bytes wants a size such as 512kB or 10MiB, found "10 GB"' \
    'write max_bytes = "10GiB"' <<'X'
[nats.jetstream]
max_bytes = "10 GB"
X
bad 2:15 INVALID 'nats.stream_name wants letters, digits, "_" and "-", found "KEYS.EVENTS"' \
    'write stream_name = "CIM_KEYS_EVENTS"' <<'X'
[nats]
stream_name = "KEYS.EVENTS"
X
bad 2:18 INVALID 'nats.subject_prefix wants tokens of letters' 'write subject_prefix = "cim.keys"' <<'X'
[nats]
subject_prefix = "cim.>"
X
bad 2:13 INVALID "nats.source_id wants a store's source" 'write source_id = "U…"' <<'X'
[nats]
source_id = "SAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
X
bad 2:20 INVALID 'subject template "cim.{event_id}.{event_type}": {event_id} is the last token' \
    'such as "{prefix}.{aggregate_type}.{event_type}.{event_id}"' <<'X'
[nats]
subject_template = "cim.{event_id}.{event_type}"
X
bad 2:7 INVALID 'storage.dir wants text of 1 to 4096 bytes, found ""' 'write dir = "ceremony.quipu"' <<'X'
[storage]
dir = ""
X
bad 2:8 INVALID 'nats.user holds a control character' 'write user = "keys"' <<'X'
[nats]
user = "a\u0000b"
X
bad 2:8 INVALID 'nats.user holds a control character' 'write user = "keys"' <<'X'
[nats]
user = "a\tb"
X

# ------------------------------------------------------------------ not together

bad 2:20 INVALID 'more than one of nats.credentials_file, nkey_file, token and user says who we are' 'leave one' <<'X'
[nats]
credentials_file = "a.creds"
token = "hush"
X
bad 2:12 INVALID 'nats.password is given and nats.user is not' 'give both' <<'X'
[nats]
password = "hush"
X
bad 2:15 INVALID 'one of nats.tls.client_cert and client_key is given' 'give both or none' <<'X'
[nats.tls]
client_cert = "client.pem"
X
bad 1:8 INVALID 'mode.mode is Online and nats.enabled is false' 'set one of them otherwise' <<'X'
mode = "Online"
[nats]
enabled = false
X
bad 2:11 INVALID 'nats.jetstream.max_age makes an audit log forget' 'set may_lose_events = true' <<'X'
[nats.jetstream]
max_age = "365d"
X
bad 2:17 INVALID 'storage.enable_backup is true and there is no storage.backup_dir' 'name the folder' <<'X'
[storage]
enable_backup = true
X

# ------------------------------------------------------------------ secrets that others may read

# open MODE PLACE: the file as it is, with these rights, is refused at the secret's place.
open_to_others() {
    chmod "$1" "$file"
    local found=0
    "$quipu" config check --config "$file" >"$dir/out" 2>"$dir/err" || found=$?
    equal "exit code of a secret with mode $1" "$found" 1
    has "a secret with mode $1" "$(cat "$dir/err")" \
        "$file:$2: a secret stands here and others may read the file (mode 0$1); chmod 600 it"
    case $(cat "$dir/err") in
    *hush*) fail "the error shows the secret: $(cat "$dir/err")" ;;
    esac
    chmod 600 "$file"
    "$quipu" config check --config "$file" >/dev/null
}
printf '[nats]\nuser = "keys"\npassword = "hush"\n' >"$file"
open_to_others 644 3:12
open_to_others 640 3:12
open_to_others 604 3:12
printf '[nats]\ntoken = "hush"\n' >"$file"
open_to_others 644 2:9
printf '[nats]\nurl = "nats://keys:hush@a"\n' >"$file"
open_to_others 644 2:7
printf '[nats]\nuser = "keys"\n' >"$file"
chmod 644 "$file"
equal "no secret, open to others" "$("$quipu" config check --config "$file" --json | member settings)" 1
# Not one of several thousand bytes of text is read back in an error.
printf '[nats]\npassword = 17\n' >"$file"
chmod 600 "$file"
found=0
"$quipu" config check --config "$file" 2>"$dir/err" || found=$?
equal "exit code of a password of the wrong type" "$found" 3
case $(cat "$dir/err") in
*17*) fail "the error shows the secret: $(cat "$dir/err")" ;;
esac

# ------------------------------------------------------------------ files that are none

input=/dev/null
refused 5 '--config FILE' NOT_FOUND config check --config "$dir/nowhere.toml"
refused 3 '--config FILE' INVALID config check --config "$dir"
head -c 65537 /dev/zero | tr '\0' '\n' >"$file"
refused 3 'name a file of settings' TOO_LARGE config check --config "$file"
head -c 65536 /dev/zero | tr '\0' '\n' >"$file"
equal "as long as a file may be" "$("$quipu" config check --config "$file" --json | member settings)" 0
# Tables in tables, as deep as the lengths of lines and of the file allow.
{
    for i in 1 2 3 4 5 6 7 8; do
        printf '[%s.b%d]\n' "$(printf 'a%.0s.' $(seq 2000))a" "$i"
    done
} >"$file"
refused 3 'there are nats' INVALID config check --config "$file"

# ------------------------------------------------------------------ the example

# It has every key, and where it sets one, to the default.
example=$(dirname "$0")/../../examples/quipu.toml
"$quipu" config check --config "$example" >/dev/null
"$quipu" config show --config "$example" --json >"$dir/example"
"$quipu" config show --config /dev/null --json >"$dir/defaults"
equal "values of the example" "$(member value <"$dir/example")" "$(member value <"$dir/defaults")"
member key <"$dir/defaults" | while read -r key; do
    sed -n "/^\[${key%.*}\]/,/^$/p" "$example" | grep -qE "^(# )?${key##*.} = " ||
        fail "the example does not have $key"
done
# What it shows commented out can be taken as it is, each by itself.
sed -n 's/^\[\(.*\)\]$/\1/p; s/^# \([a-z_]* = .*\)$/  \1/p' "$example" >"$dir/lines"
section=
while IFS= read -r line; do
    case $line in
    '  source_id'* | '  client_'* | '  password'*) continue ;; # wants a real one, or another beside it
    '  '*) printf '[%s]\n%s\n' "$section" "${line#  }" >"$file" ;;
    *)
        section=$line
        continue
        ;;
    esac
    "$quipu" config show --config "$file" >/dev/null
    checks=$((checks + 1))
done <"$dir/lines"

[ "$files" -ge 40 ] || fail "only $files files"
printf '%d files\n' "$files"
passed
