#!/usr/bin/env bash
# A pinentry for tests, without a person: answers from files in the folder SHAM_DIR.
#   greeting   its first lines, instead of "OK"
#   pin-1 …    the lines that it answers the first GETPIN with, and so on over several runs
#   refuse     a command that it answers with an error
# Writes what it is told into `log`, its number into `pid`, and at a GETPIN what may be seen of the
# process that started it into `parent`, and the descriptors that it was started with into
# `descriptors`.
set -u
cd "$SHAM_DIR" || exit 1
echo $$ >pid
# The shell reads this script through one of its own, which is 255 for bash.
opened=
for fd in 0 1 2 3 4 5 6 7 8 9 10 11 12; do
    [ ! -e "/proc/$$/fd/$fd" ] || opened+="${opened:+ }$fd"
done
echo "$opened" >descriptors
if [ -e greeting ]; then cat greeting; else echo "OK sham"; fi
refuse=$(cat refuse 2>/dev/null)
while IFS= read -r line; do
    printf '%s\n' "$line" >>log
    case $line in
    GETPIN*)
        {
            tr '\0' '\n' <"/proc/$PPID/cmdline"
            tr '\0' '\n' <"/proc/$PPID/environ"
            grep '^Max core' "/proc/$PPID/limits"
        } >parent 2>&1
        count=$(($(cat count 2>/dev/null || echo 0) + 1))
        echo "$count" >count
        [ -s "pin-$count" ] || exit 0 # without a word
        cat "pin-$count"
        ;;
    BYE*)
        echo "OK closing"
        exit 0
        ;;
    *)
        if [ -n "$refuse" ] && [ "${line#"$refuse"}" != "$line" ]; then
            echo "ERR 536871187 Unknown option"
        else
            printf '# a comment\nS PROGRESS none\nOK\n'
        fi
        ;;
    esac
done
