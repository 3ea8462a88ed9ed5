#!/usr/bin/env bash
# Every verb tells about itself: usage, options, exit codes, one example; also in the manual page.
#   help.sh QUIPU MANUAL
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
manual=$2

verbs="init keygen append log show cat verify status query export import sign release operations report provision flush pull reconcile replay projections subscriptions backup compact deadletter
quarantine forks merge serve types cid car config demo help version"

list=$("$quipu" help)
names=$("$quipu" help --json | member verb)
for verb in $verbs; do
    has "quipu help" "$list" "  $verb "
    has "quipu help --json" "$names" "$verb"
    text=$("$quipu" "$verb" --help)
    has "$verb --help" "$text" "Usage: quipu $verb "
    has "$verb --help" "$text" "--store DIR"
    has "$verb --help" "$text" "--json"
    has "$verb --help" "$text" "Exit codes:"
    has "$verb --help" "$text" "  8  "
    has "$verb --help" "$text" "  9  "
    has "$verb --help" "$text" "Example:"
    case $verb in
    provision | flush | pull | reconcile | serve) has "$verb --help" "$text" "--server URL" ;;
    *) equal "--server in $verb --help" "${text//--server URL/}" "$text" ;;
    esac
    equal "quipu --help $verb" "$("$quipu" --help "$verb")" "$text"
    equal "quipu help $verb" "$("$quipu" help "$verb")" "$text"
    # The manual knows each verb and each of its options.
    grep -qE "^\.It Cm $verb( |\$)" "$manual" || fail "the manual page does not have the verb $verb"
    case $verb:$("$quipu" version --json | member with_jetstream) in
    provision:false | flush:false | pull:false | reconcile:false | serve:false) continue ;;
    esac
    for option in $(printf '%s\n' "$text" | grep -oE '^  --[a-z-]+' | tr -d ' ' | sed 's/^--//'); do
        grep -qE "Fl (h , )?-$option( |\$)" "$manual" ||
            fail "the manual page does not have --$option of $verb"
        checks=$((checks + 1))
    done
done
equal "number of verbs" "$(printf '%s\n' "$names" | wc -l)" "$(printf '%s\n' "$verbs" | wc -w)"
has "quipu --help" "$("$quipu" --help)" "Usage: quipu VERB"
has "quipu version" "$("$quipu" version)" "quipu 0."
equal "quipu --version" "$("$quipu" --version)" "$("$quipu" version)"
equal "quipu --version --json" "$("$quipu" --version --json)" "$("$quipu" version --json)"
equal "quipu log --version" "$("$quipu" log --version)" "$("$quipu" version)"

has "export --help" "$("$quipu" export --help)" "nobody signs those lines"

input=/dev/null
refused 2 'quipu help' INVALID
refused 2 'quipu help' INVALID frobnicate
refused 2 'quipu append --help' INVALID append --frobnicate
refused 2 'quipu append --help' INVALID append --expect
found=0
"$quipu" append --frobnicate --json >"$dir/out" 2>"$dir/err" || found=$?
equal "exit code in front of --json" "$found" 2
has "a wrong option in front of --json" "$(cat "$dir/err")" '{"error":{"status":"INVALID"'
refused 2 'quipu append --help' INVALID append --expect many
refused 2 'quipu log --help' INVALID log --correlation 17
refused 2 'quipu log --help' INVALID log --follow --reverse
refused 2 'quipu show --help' INVALID show
refused 2 'quipu show --help' INVALID show 1 2
refused 2 'quipu replay --help' INVALID replay --projection frobnicate
has "replay, no such projection" "$(cat "$dir/err")" 'they are roles, inventory, catalogue'
has "replay --help" "$("$quipu" replay --help)" 'roles, inventory, catalogue'
refused 2 'quipu deadletter --help' INVALID deadletter frobnicate
refused 2 'quipu quarantine --help' INVALID quarantine frobnicate
refused 2 'quipu quarantine --help' INVALID quarantine drop
refused 2 'quipu quarantine --help' INVALID quarantine retry 1
equal 'quarantine lists where nothing is said' "$("$quipu" quarantine --json | wc -l)" 0
refused 2 'quipu car --help' INVALID car unpack a.car
refused 2 'quipu export --help' INVALID export --format zip x

if command -v mandoc >/dev/null; then
    equal "mandoc" "$(mandoc -T lint -W warning "$manual")" ""
else
    echo "note: no mandoc here, the manual page was not checked by it"
fi
passed
