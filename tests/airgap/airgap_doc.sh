#!/usr/bin/env bash
# Runs the commands of docs/AIRGAP.md as they stand there, in their order, and holds what they print
# against what the page says.
#   airgap_doc.sh QUIPU PAGE with|without (the network library)
#
# A block "```sh MACHINE [NEEDS]" is run by bash in the machine's own folder (its HOME), which keeps
# working directory, exported variables and functions from block to block. A block "```text" right
# behind it is what it prints on both outputs: "…" stands for anything, alone on its line for any lines.
# NEEDS: "network" is left out where there is no server, "node" where the packages are not installed.
# /media is a folder that all machines see. Nobody sits at a terminal: passphrases come from where a
# service would have them, those of ssh-keygen from SSH_ASKPASS. "U…" behind "export SOURCE=" is what
# somebody reads off the paper: the source that the offline machine's init has printed.
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
quipu=$(realpath "$1")
page=$2
with_network=$3
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/quipu-doc-XXXXXX")
server=
unset QUIPU_STORE QUIPU_SERVER QUIPU_CONFIG QUIPU_MODE XDG_CONFIG_HOME
# Passphrases are tried often here: cheaper ones, where the build is one for tests.
export QUIPU_TEST_WORK_FACTOR=10

finish() {
    local code=$?
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$dir"
    exit "$code"
}
trap finish EXIT

fail() {
    echo "airgap_doc.sh: $*" >&2
    exit 1
}

for tool in ssh-keygen sha256sum; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: there is no $tool; ./scripts/setup test installs it"
        exit 77
    fi
done

# ------------------------------------------------------------------ machines

mkdir -p "$dir/media/stick" "$dir/media/auditor" "$dir/bin" "$dir/secrets"
ln -s "$quipu" "$dir/bin/quipu"
printf 'correct horse battery staple' >"$dir/secrets/quipu-passphrase"
printf '#!/bin/sh\necho correct horse battery staple\n' >"$dir/bin/askpass"
chmod 700 "$dir/secrets" "$dir/bin/askpass"
chmod 600 "$dir/secrets/quipu-passphrase"
export PATH=$dir/bin:$PATH CREDENTIALS_DIRECTORY=$dir/secrets SSH_ASKPASS=$dir/bin/askpass
export SSH_ASKPASS_REQUIRE=force LC_ALL=C.UTF-8

# A server that both machines reach; the page's machines have one of their own.
start_server() {
    local nats_server ports
    nats_server=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nats-server) || return 1
    mkdir -p "$dir/nats"
    "$nats_server" -a 127.0.0.1 -p -1 -js -sd "$dir/nats" --ports_file_dir "$dir/nats" \
        -l "$dir/nats/log" >/dev/null 2>&1 &
    server=$!
    ports=$dir/nats/nats-server_$server.ports
    for ((i = 0; i < 500; i++)); do
        if QUIPU_SERVER=$(grep -oE 'nats://[0-9.:]+' "$ports" 2>/dev/null); then
            export QUIPU_SERVER
            return 0
        fi
        kill -0 "$server" 2>/dev/null || fail "nats-server: $(cat "$dir/nats/log")"
        sleep 0.01
    done
    fail "nats-server does not listen"
}

has_network=false
if [ "$with_network" = with ] && start_server; then
    has_network=true
fi
peers=$here/../interop/node_modules
has_node=false
if command -v node >/dev/null && [ -e "$peers/.quipu-stamp" ]; then
    has_node=true
    ln -s "$(realpath "$peers")" "$dir/node_modules"
fi

# ------------------------------------------------------------------ blocks

# run_block MACHINE FILE: its output in $dir/out.
run_block() {
    local home=$dir/$1
    mkdir -p "$home"
    [ -e "$home/.kept" ] || printf 'cd %q\n' "$home" >"$home/.kept"
    {
        cat "$home/.kept"
        printf 'export HOME=%q\n' "$home"
        cat "$2"
        # shellcheck disable=SC2016 # for the shell that runs it
        printf '\n{ declare -px; declare -f; printf "cd %%q\\n" "$PWD"; } >%q\n' "$home/.next"
    } >"$dir/script"
    if ! bash -euo pipefail "$dir/script" </dev/null >"$dir/out" 2>&1; then
        fail "line $line, on the machine $1: $(cat "$2")"$'\nprinted:\n'"$(cat "$dir/out")"
    fi
    mv "$home/.next" "$home/.kept"
}

# fits LINE PATTERN: with "…" for anything.
fits() {
    local pattern=$2
    pattern=${pattern//\\/\\\\}
    pattern=${pattern//\*/\\*}
    pattern=${pattern//\?/\\?}
    pattern=${pattern//\[/\\[}
    pattern=${pattern//…/*}
    # shellcheck disable=SC2053 # it is a pattern
    [[ $1 == $pattern ]]
}

# compare FILE: what was printed against what the page says.
compare() {
    local said=() got=() at=0 skips=false
    mapfile -t said <"$1"
    mapfile -t got <"$dir/out"
    for wanted in "${said[@]}"; do
        if [ "$wanted" = … ]; then
            skips=true
            continue
        fi
        while $skips && [ "$at" -lt "${#got[@]}" ] && ! fits "${got[$at]}" "$wanted"; do
            at=$((at + 1))
        done
        if [ "$at" -ge "${#got[@]}" ] || ! fits "${got[$at]}" "$wanted"; then
            fail "line $line: the page says \"$wanted\", printed was:"$'\n'"$(cat "$dir/out")"
        fi
        skips=false
        at=$((at + 1))
        compared=$((compared + 1))
    done
    $skips || [ "$at" -eq "${#got[@]}" ] ||
        fail "line $line: the page does not say: ${got[$at]}"
}

blocks=0
left_out=0
compared=0
line=0
kind=    # of the block that we are in: commands, text, or another
ran=     # the block before was run, and nothing but its text may follow
machine=
needs=
paper=   # the source, as somebody wrote it down
while IFS= read -r text || [ -n "$text" ]; do
    line=$((line + 1))
    if [ -z "$kind" ]; then
        case $text in
        '```sh'*)
            kind=commands
            read -r machine needs <<<"${text#\`\`\`sh}"
            [ -n "$machine" ] || fail "line $line: a block of commands does not name its machine"
            : >"$dir/block"
            ;;
        '```text')
            kind=text
            : >"$dir/block"
            ;;
        '```'*) kind=other ;;
        '') ;;
        *) ran= ;;
        esac
        continue
    fi
    if [ "$text" != '```' ]; then
        text=${text//\/media\//$dir/media/}
        if [ "$text" = 'export SOURCE=U…' ]; then
            text="export SOURCE=$paper"
        fi
        printf '%s\n' "$text" >>"$dir/block"
        continue
    fi
    case $kind in
    commands)
        ran=
        case $needs in
        network) $has_network && ran=yes ;;
        node) $has_node && ran=yes ;;
        '') ran=yes ;;
        *) fail "line $line: what is \"$needs\"?" ;;
        esac
        if [ -n "$ran" ]; then
            run_block "$machine" "$dir/block"
            blocks=$((blocks + 1))
            if [ -z "$paper" ] && [ "$machine" = offline ]; then
                paper=$(sed -n 's/^source  //p' "$dir/out")
            fi
        else
            left_out=$((left_out + 1))
        fi
        ;;
    text)
        [ -z "$ran" ] || compare "$dir/block"
        ran=
        ;;
    esac
    kind=
done <"$page"
[ -z "$kind" ] || fail "a block does not end"
[ "$blocks" -gt 15 ] || fail "only $blocks blocks were found"
[ "$compared" -gt 15 ] || fail "only $compared lines were compared"
wanted=$(grep -c '^```sh' "$page")
[ "$((blocks + left_out))" -eq "$wanted" ] || fail "$wanted blocks are there, $((blocks + left_out)) were seen"

# ------------------------------------------------------------------ what the page promises

# No payload lies on the stick in clear; the auditor's medium has them, so the search finds what is there.
grep -rqa 'vault room 2' "$dir/media/auditor" || fail "the search for a payload finds nothing at all"
if found=$(grep -rlaE 'vault room 2|dtime|key\.used|ceremony\.opened' "$dir/media/stick"); then
    fail "events are on the stick in clear: $found"
fi
# The folder's page of commands is this page's.
commands=$(sed -n 's/^\$ //p' "$dir/media/auditor/audit-1/VERIFY.txt")
for part in '/^told=/,/^rm /p' '/^node /,/^END$/p'; do
    part=$(sed -n "$part" <<<"$commands")
    [ -n "$part" ] || fail "VERIFY.txt has no such commands"
    [[ $(<"$page") == *"$part"* ]] || fail "the page has other commands than VERIFY.txt: $part"
done

# ------------------------------------------------------------------ pictures and links

while read -r file; do
    case $file in
    http*) ;;
    *) [ -e "$(dirname "$page")/$file" ] || fail "$file is not there" ;;
    esac
done < <(grep -oE '\]\([^)#]+' "$page" | sed 's/^](//')
for picture in "$(dirname "$page")"/airgap-*.svg; do
    grep -q "($(basename "$picture"))" "$page" || fail "$picture is not shown"
    for part in '<title id=' '<desc id=' 'viewBox=' 'prefers-color-scheme: dark'; do
        grep -q "$part" "$picture" || fail "$picture has no $part"
    done
    # The name of the namespace is the only address.
    outside=$(sed 's,xmlns="http://www.w3.org/2000/svg",,' "$picture" |
        grep -cE 'https?:|href|@import|<script|url\([^#]' || true)
    [ "$outside" -eq 0 ] || fail "$picture needs something from outside"
    if command -v xmllint >/dev/null; then
        xmllint --noout --nonet "$picture" || fail "$picture is not well-formed"
    fi
done

echo "$blocks blocks run, $left_out left out, $compared lines compared"
