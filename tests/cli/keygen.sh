#!/usr/bin/env bash
# Keys and passphrases as people meet them: quipu keygen, init --wrap, what signs with a wrapped key;
# from a descriptor, a credential, pinentry, the terminal. age, age-keygen and ssh-keygen agree.
#   keygen.sh QUIPU ON_TERMINAL
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
on_terminal=$2
sham=$(cd "$(dirname "$0")" && pwd)/sham_pinentry.sh
unset QUIPU_PINENTRY CREDENTIALS_DIRECTORY
input=/dev/null
words='correct horse battery'
other='another horse battery'
cd "$dir"
# What a passphrase is worth is not what is tried here: test builds make keys with little work, but
# for one.
export QUIPU_TEST_WORK_FACTOR=10

# alone COMMAND…: without a terminal to ask on.
alone() {
    setsid -w "$@"
}

# typed SCRIPT COMMAND…: on a terminal, with somebody who follows the script; the terminal's side is in
# $dir/screen, stdout in $dir/out, stderr in $dir/err.
typed() {
    printf '%s\n' "$1" >"$dir/script"
    shift
    found=0
    "$on_terminal" "$dir/script" "$dir/screen" "$@" >"$dir/out" 2>"$dir/err" || found=$?
}

# ------------------------------------------------------------------ making

out=$(env -u QUIPU_TEST_WORK_FACTOR "$quipu" keygen --signing a.key --passphrase-fd 3 3<<<"$words")
equal "mode of a key" "$(stat -c %a a.key)" 600
equal "mode of its public half" "$(stat -c %a a.key.pub)" 644
has "keygen --signing" "$out" "key     a.key, wrapped"
source=$(awk '$1 == "public" { print $2 }' <<<"$out")
equal "the NKey begins with U and has 56 characters" "${source:0:1}${#source}" U56
has "keygen --signing" "$out" "ssh     $(cat a.key.pub)"
equal "first line of a wrapped key" "$(head -1 a.key)" '-----BEGIN AGE ENCRYPTED FILE-----'
equal "the work that a passphrase takes" "$(sed '1d; $d' a.key | base64 -d | sed -n 's/^-> scrypt .* //p' | head -1)" 18
equal "what is left beside it" "$(find . -name '*quipu-new*' | wc -l)" 0
if command -v ssh-keygen >/dev/null; then
    has "ssh-keygen -l" "$(ssh-keygen -l -f a.key.pub)" "$source (ED25519)"
fi
# Its public half is there whole, or not at all.
found=0
QUIPU_FAILPOINT=airgap.export.sync:kill "$quipu" keygen --signing half.key --plain >out 2>err || found=$?
if [ "$found" != 0 ]; then
    equal "how the making ended" "$found" 137
    [ ! -e half.key.pub ] || fail "a public half was there before it was whole"
    "$quipu" keygen --public half.key >out
else
    echo "note: no failpoints here, the interrupted making was not tried"
fi
json=$("$quipu" keygen --public --json --passphrase-fd 3 a.key 3<<<"$words")
equal "public, of --public" "$(member public <<<"$json")" "$source"
equal "ssh, of --public" "$(member ssh <<<"$json")" "$(cat a.key.pub)"
equal "wrapped, of --public" "$(member wrapped <<<"$json")" true

out=$("$quipu" keygen --age id.txt --plain)
has "keygen --age" "$out" "key     id.txt, plain"
equal "mode of an identity" "$(stat -c %a id.txt)" 600
equal "comment of an identity" "$(sed -n 2p id.txt)" "# public key: $(awk '$1 == "public" { print $2 }' <<<"$out")"
has_age=false
if command -v age >/dev/null && command -v age-keygen >/dev/null; then
    has_age=true
    equal "age-keygen -y" "$(age-keygen -y id.txt)" "$(awk '$1 == "public" { print $2 }' <<<"$out")"
fi

# ------------------------------------------------------------------ the terminal, and age on it

typed "expect New passphrase for b.key: 
echo off
send short
expect the passphrase has 5 characters
expect New passphrase for b.key: 
echo off
send $words
expect The same again: 
echo off
send $other
expect the two are not the same
expect New passphrase for b.key: 
send $words
expect The same again: 
send $words" "$quipu" keygen --age b.key
equal "exit code on a terminal: $(cat err)" "$found" 0
recipient=$(awk '$1 == "public" { print $2 }' out)
equal "what was typed is not shown" "$(grep -c 'horse\|short' screen || true)" 0

typed "expect Passphrase of b.key: 
echo off
send $words" "$quipu" keygen --public b.key
equal "exit code of --public on a terminal" "$found" 0
has "--public on a terminal" "$(cat out)" "$recipient"

typed "expect Passphrase of b.key: 
echo off
key 26
stopped
echo on
continue
expect Passphrase of b.key: 
echo off
key 3" "$quipu" keygen --public b.key
equal "exit code after ^Z and ^C" "$found" 130
typed "expect Passphrase of b.key: 
key 4" "$quipu" keygen --public b.key
equal "exit code after ^D" "$found" 1
has "after ^D" "$(cat err)" "no passphrase was typed"
typed "expect New passphrase for c.key: 
send short
expect New passphrase for c.key: 
send short
expect New passphrase for c.key: 
send short" "$quipu" keygen --signing c.key
equal "exit code after three that are too short" "$found" 3
[ ! -e c.key ] || fail "a key was made all the same"

if $has_age; then
    typed "expect assphrase
send $words" age -d -o a.plain a.key
    equal "exit code of age -d: $(cat err)" "$found" 0
    equal "bytes of a signing key" "$(wc -c <a.plain)" 59
    equal "a signing key begins" "$(head -c 2 a.plain)" SU
    chmod 600 a.plain
    equal "what age opened is the key" "$("$quipu" keygen --public --json a.plain | member public)" "$source"
    echo "for b" | age -r "$recipient" -o for_b.age
    typed "expect assphrase
send $words" age -d -i b.key -o for_b for_b.age
    equal "exit code of age -d -i: $(cat err)" "$found" 0
    equal "what age opens with a wrapped identity" "$(cat for_b)" "for b"
    # And a key that age has wrapped.
    typed "expect assphrase
send $other
expect assphrase
send $other" age -p -o by_age.key a.plain
    equal "exit code of age -p: $(cat err)" "$found" 0
    chmod 600 by_age.key
    equal "a key that age wrapped" \
        "$("$quipu" keygen --public --json --passphrase-fd 3 by_age.key 3<<<"$other" | member public)" "$source"
fi

# ------------------------------------------------------------------ refusals

refused 2 'quipu keygen --help' INVALID keygen
refused 2 'quipu keygen --help' INVALID keygen --wrap --unwrap a.key
refused 2 'quipu keygen --help' INVALID keygen --signing x --age y
refused 2 'quipu keygen --help' INVALID keygen --signing x y
refused 2 'quipu keygen --help' INVALID keygen --plain --wrap a.key
refused 2 'quipu keygen --help' INVALID keygen --plain --signing x --passphrase-fd 3
refused 2 'quipu keygen --help' INVALID keygen --wrap --new-passphrase-fd 3 a.key
before=$(sha256sum a.key a.key.pub id.txt)
refused 4 'choose another name' EXISTS keygen --signing a.key --plain
refused 4 'choose another name' EXISTS keygen --age a.key.pub --plain
mv a.key moved.key
refused 4 'choose another name' EXISTS keygen --signing a.key --plain
mv moved.key a.key
equal "files that were there" "$(sha256sum a.key a.key.pub id.txt)" "$before"
refused 5 '' NOT_FOUND keygen --signing no/folder --plain
refused 5 'quipu keygen --signing FILE' NOT_FOUND keygen --public nothing
chmod 640 a.key
refused 1 'chmod 600 it' PERMISSION keygen --public a.key
chmod 600 a.key
printf 'no key\n' >junk
chmod 600 junk
refused 6 'name a key file' CORRUPT keygen --public junk
refused 3 'wrap it with --wrap' INVALID keygen --unwrap id.txt
refused 3 'with --change' INVALID keygen --wrap a.key
# A program that starts without a terminal has nobody to ask.
found=0
alone "$quipu" keygen --public a.key >out 2>err </dev/null || found=$?
equal "exit code with nobody to ask" "$found" 3
has "nobody to ask" "$(cat err)" 'no passphrase for a.key, and no terminal to ask on; give --passphrase-fd N, or --pinentry'
found=0
alone "$quipu" keygen --signing c.key --json >out 2>err </dev/null || found=$?
equal "exit code with nobody to ask for a new one" "$found" 3
has "nobody to ask for a new one" "$(cat err)" '"status":"INVALID"'

# with_fd TEXT CODE PART ARGUMENT…: a passphrase from descriptor 3.
with_fd() {
    local text=$1 code=$2 part=$3
    shift 3
    found=0
    "$quipu" "$@" --passphrase-fd 3 >out 2>err 3<<<"$text" || found=$?
    equal "exit code of quipu $* with \"$text\": $(cat err)" "$found" "$code"
    has "quipu $*" "$(cat out err)" "$part"
    equal "the passphrase is not said" "$(grep -cF "${text:-nothing at all}" out err | grep -cv ':0' || true)" 0
}
with_fd "$other" 3 'a.key: the passphrase does not open this age file' keygen --public a.key
with_fd '' 3 'is empty' keygen --public a.key
with_fd 'eleven char' 3 'the passphrase has 11 characters' keygen --signing c.key
with_fd "$(printf '%4097s' x)" 3 'more than 4096 bytes' keygen --signing c.key
[ ! -e c.key ] || fail "a key was made all the same"
found=0
"$quipu" keygen --public a.key --passphrase-fd 99999999999 2>err || found=$?
equal "exit code of a descriptor that cannot be" "$found" 3
found=0
"$quipu" keygen --public a.key --passphrase-fd 9 2>err 9>&- || found=$?
has "a descriptor that is closed" "$(cat err)" "read the passphrase from descriptor 9"

# A line may end as on Windows: the same passphrase.
printf '%s\r\n' "$words" >crlf
"$quipu" keygen --age crlf.key --passphrase-fd 3 3<crlf >out
with_fd "$words" 0 'crlf.key, wrapped' keygen --public crlf.key
"$quipu" keygen --public crlf.key --passphrase-fd 3 3<crlf >out
# What nobody can type, or nobody could guess wrong.
# bytes CODE PART FORMAT ARGUMENT…: a passphrase of these bytes.
bytes() {
    local code=$1 part=$2 format=$3
    shift 3
    # shellcheck disable=SC2059 # bytes are written as a format
    printf "$format" >given
    found=0
    "$quipu" "$@" --passphrase-fd 3 >out 2>err 3<given || found=$?
    equal "exit code of quipu $* with $format: $(cat err)" "$found" "$code"
    has "quipu $* with $format" "$(cat err)" "$part"
}
bytes 3 'nothing but blanks' '            \n' keygen --signing c.key
bytes 3 'nothing but blanks' '\t \t \t \t \t \t \t' keygen --age c.key
bytes 3 'nothing but blanks' '             \r\n' init --store c
bytes 3 'there is a NUL in' 'correct\0horse battery' keygen --signing c.key
bytes 3 'there is a NUL in' 'correct horse battery\0\n' keygen --public a.key
bytes 3 'is empty' '\r\n' keygen --public a.key
if [ -e c.key ] || [ -e c ]; then fail "a key was made all the same"; fi

# An answer that is none, from wherever it comes, is never the key file's fault.
"$quipu" keygen --age e.key --passphrase-fd 3 3<<<"$words" >out
"$quipu" init --store plain >out
printf '%s\n' '{"event_type":"e","aggregate_type":"t","aggregate_id":"a","payload":{"n":1}}' |
    "$quipu" append --store plain - >out
"$quipu" export --store plain b.car >out
"$quipu" export --store plain --recipient "$("$quipu" keygen --public --json e.key --passphrase-fd 3 3<<<"$words" | member public)" b.age >out
# nothing CODE PART COMMAND…: the command says so, and nothing of the file.
nothing() {
    local code=$1 part=$2
    shift 2
    found=0
    alone "$@" >out 2>err </dev/null || found=$?
    equal "exit code of $*: $(cat err)" "$found" "$code"
    has "$*" "$(cat err)" "$part"
    ! grep -q 'does not hold\|holds neither\|no age identity' err || fail "$*: $(cat err)"
}
openers=("sign b.car --key a.key" "keygen --public a.key" "keygen --public e.key"
    "verify b.age --identity e.key")
empty=$dir/empty
: >"$empty"
mkdir nobody
cp "$empty" nobody/quipu-passphrase
mkdir -p folder/quipu-passphrase fifo
mkfifo fifo/quipu-passphrase
for opener in "${openers[@]}"; do
    fd=--passphrase-fd
    [ "${opener%% *}" != verify ] || fd=--key-passphrase-fd
    # shellcheck disable=SC2086 # a verb and its arguments
    {
        # shellcheck disable=SC2016 # the inner bash expands it
        nothing 3 'is empty' bash -c '"$@" 3<"$0"' "$empty" "$quipu" $opener $fd 3
        nothing 3 'the number of an open descriptor' "$quipu" $opener $fd 999999999999
        nothing 3 'is empty' env CREDENTIALS_DIRECTORY="$dir/nobody" "$quipu" $opener
        nothing 3 'is not a plain file' env CREDENTIALS_DIRECTORY="$dir/folder" "$quipu" $opener
        nothing 3 'is not a plain file' env CREDENTIALS_DIRECTORY="$dir/fifo" "$quipu" $opener
        nothing 3 'no absolute path' env CREDENTIALS_DIRECTORY=nobody "$quipu" $opener
        rm -rf sham
        mkdir sham
        echo OK >sham/pin-1
        nothing 3 'is empty' env SHAM_DIR="$dir/sham" "$quipu" $opener --pinentry="$sham"
        typed "expect Passphrase of ${opener##* }: 
send " "$quipu" $opener
    }
    equal "exit code of $opener after Enter" "$found" 3
    has "$opener after Enter" "$(cat err)" 'is empty'
done

# ------------------------------------------------------------------ other covers

printf '%s\n%s\n' "$words" "$other" |
    "$quipu" keygen --change --passphrase-fd 0 --new-passphrase-fd 0 a.key >out
has "--change" "$(cat out)" "key     a.key, wrapped"
with_fd "$words" 3 'does not open' keygen --public a.key
with_fd "$other" 0 "key     a.key, plain" keygen --unwrap a.key
equal "the key is the same" "$("$quipu" keygen --public --json a.key | member public)" "$source"
with_fd "$words" 0 "key     a.key, wrapped" keygen --wrap a.key
has "after --wrap" "$(cat err)" "what the disk held in clear may still be found on it"
equal "mode after all that" "$(stat -c %a a.key)" 600

# ------------------------------------------------------------------ credentials

mkdir credentials
printf '%s\n' "$words" >credentials/quipu-passphrase
export CREDENTIALS_DIRECTORY=$dir/credentials
equal "with a credential" "$(alone "$quipu" keygen --public --json a.key | member public)" "$source"
with_fd "$other" 3 'does not open' keygen --public a.key # the descriptor comes first
mv credentials/quipu-passphrase credentials/kept
ln -s kept credentials/quipu-passphrase
refused 1 '' IO keygen --public a.key
rm credentials/quipu-passphrase
mkfifo credentials/quipu-passphrase
refused 3 '' INVALID keygen --public a.key
rm credentials/quipu-passphrase
printf '%4097s' x >credentials/quipu-passphrase
refused 3 '' TOO_LARGE keygen --public a.key
rm credentials/quipu-passphrase
CREDENTIALS_DIRECTORY=credentials refused 3 'absolute path' INVALID keygen --public a.key
unset CREDENTIALS_DIRECTORY

# ------------------------------------------------------------------ pinentry

# pins LINES…: a folder for the sham pinentry, which answers so.
pins() {
    rm -rf sham
    mkdir sham
    local number=0 lines
    for lines in "$@"; do
        number=$((number + 1))
        printf '%b' "$lines" >"sham/pin-$number"
    done
}
export SHAM_DIR=$dir/sham

pins 'D correct%20hor\nD se%20b%61ttery\nOK\n'
json=$(alone "$quipu" keygen --public --json --pinentry="$sham" a.key)
equal "with pinentry" "$(member public <<<"$json")" "$source"
has "what pinentry is told" "$(cat sham/log)" "SETDESC Passphrase of a.key"
has "what pinentry is told" "$(cat sham/log)" "OPTION ttyname=/dev/tty"
equal "pinentry's last line" "$(tail -1 sham/log)" BYE
! kill -0 "$(cat sham/pid)" 2>/dev/null || fail "pinentry is still there"
equal "core dumps" "$(grep -c '^Max core file size  *0  *0 ' sham/parent)" 1
equal "the passphrase in arguments or environment" "$(grep -c horse sham/parent || true)" 0

# It gets none of our descriptors: one of them may lead to a passphrase.
pins "D $words\nOK\n"
# shellcheck disable=SC2094 # it is only read
alone "$quipu" keygen --public --pinentry="$sham" a.key >out 7<a.key 8<a.key
equal "descriptors that pinentry has" "$(cat sham/descriptors)" "0 1 2"

pins 'D correct horse battery\nOK\n'
echo 'OPTION' >sham/refuse # settings that it does not know
equal "with QUIPU_PINENTRY" \
    "$(QUIPU_PINENTRY=$sham alone "$quipu" keygen --public --json a.key | member public)" "$source"

# A new one is asked for twice, and again where it will not do.
pins 'D short\nOK\n' "D $words\nOK\n" "D $other\nOK\n" "D $words\nOK\n" "D $words\nOK\n"
alone "$quipu" keygen --signing d.key --pinentry="$sham" >out
equal "times that pinentry was asked" "$(cat sham/count)" 5
has "why it is asked again" "$(cat sham/log)" "SETERROR the passphrase has 5 characters"
has "why it is asked again" "$(cat sham/log)" "SETERROR the two are not the same"
has "asked for the second time" "$(cat sham/log)" "SETDESC The same again"
with_fd "$words" 0 "d.key, wrapped" keygen --public d.key

# pinned CODE PART LINES: pinentry answers so, and nothing comes of it.
pinned() {
    local code=$1 part=$2
    pins "$3"
    [ -z "${greeting:-}" ] || printf '%b' "$greeting" >sham/greeting
    found=0
    alone "$quipu" keygen --public --pinentry="$sham" a.key >out 2>err || found=$?
    equal "exit code where pinentry says $3: $(cat err)" "$found" "$code"
    has "pinentry says $3" "$(cat err)" "$part"
    equal "lines on stderr" "$(wc -l <err)" 1
    ! kill -0 "$(cat sham/pid)" 2>/dev/null || fail "pinentry is still there"
}
long=$(printf '%1100s' '' | tr ' ' x)
pinned 1 'pinentry was left' 'ERR 83886179 Operation cancelled <Pinentry>\n'
pinned 1 'pinentry says error 83886340' 'ERR 83886340 Invalid response\n'
pinned 1 'an error without a number' 'ERR\n'
pinned 1 'what nobody asked for' 'INQUIRE PASSPHRASE\n'
pinned 1 'two hexadecimal digits' 'D a%2\nOK\n'
pinned 1 'two hexadecimal digits' 'D a%zz\nOK\n'
pinned 1 'a line is too long' "D $long\nOK\n"
pinned 1 'too many lines' "$(for i in $(seq 300); do printf 'S %d\\n' "$i"; done)"
pinned 1 'ended without an answer' ''
pinned 3 'at most 4096 bytes' "$(for i in 1 2 3 4 5; do printf 'D %s\\n' "${long:0:990}"; done)OK\n"
pinned 3 'is empty' 'OK\n'
pinned 3 'does not open' 'D wrong%21\nOK\n'
greeting='ERR 1 no\n' pinned 1 'pinentry says error 1' 'OK\n'
greeting='D unasked\n' pinned 1 'what nobody asked for' 'OK\n'
found=0
alone "$quipu" keygen --public --pinentry="$dir/nothing" a.key >out 2>err || found=$?
equal "exit code of a pinentry that is not there" "$found" 1
has "a pinentry that is not there" "$(cat err)" "cannot be started"

# Who is not the superuser cannot look into a process that holds secrets, even as the same user.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    pins "D $words\nOK\n"
    mkdir theirs
    cp a.key "$sham" theirs/
    chmod 711 "$dir"
    if chown -R 65534:65534 sham theirs 2>err && (cd theirs && setpriv --reuid 65534 --regid 65534 --clear-groups \
        setsid -w "$quipu" keygen --public --pinentry=./sham_pinentry.sh a.key) >out 2>err; then
        has "another process of that user looks into it" "$(cat sham/parent)" "environ: Permission denied"
        # Nor may that user lock memory where the limit says so; it is said once. The address
        # sanitizer takes mlock for itself, and says that it is done.
        unlocked="the system does not lock memory here (ulimit -l), so secrets may reach swap"
        ! grep -q __asan_init "$quipu" || unlocked=
        (cd theirs && ulimit -l 0 && setpriv --reuid 65534 --regid 65534 --clear-groups \
            "$quipu" keygen --public --passphrase-fd 3 a.key 3<<<"$words") >out 2>err
        equal "what is said where no memory is locked" "$(cat err)" "$unlocked"
    else
        echo "note: another user cannot run the program from where it is: $(cat err)"
    fi
fi

# ------------------------------------------------------------------ a store with a wrapped key

"$quipu" init --wrap --passphrase-fd 3 --store s 3<<<"$words" >out
own=$(awk '$1 == "source" { print $2 }' out)
equal "a store's key is never there in clear" "$(head -1 s/signing.key)" '-----BEGIN AGE ENCRYPTED FILE-----'
equal "mode of a store's key" "$(stat -c %a s/signing.key)" 600
export QUIPU_STORE=$dir/s
event='{"event_type":"key.generated","aggregate_type":"key","aggregate_id":"root","payload":{"n":1}}'
for _ in 1 2 3; do
    printf '%s\n' "$event" | alone "$quipu" append - >out
done
equal "events are recorded without the passphrase" "$("$quipu" status --json | member source)" "$own"
found=0
alone "$quipu" export locked.car >out 2>err </dev/null || found=$?
equal "exit code of an export with nobody to ask" "$found" 3
has "an export with nobody to ask" "$(cat err)" \
    'signing.key, and no terminal to ask on; give --key-passphrase-fd N, or --pinentry'
[ ! -e locked.car ] || fail "a bundle was written all the same"
found=0
alone "$quipu" export --key-passphrase-fd 3 locked.car 3<<<"$other" >out 2>err || found=$?
equal "exit code of an export with another passphrase" "$found" 3
has "an export with another passphrase" "$(cat err)" 'does not open this age file'

"$quipu" export --key-passphrase-fd 3 one.car 3<<<"$words" >out
equal "number of the first bundle" "$(awk '$1 == "bundle" { print $2 }' out)" 1
equal "who signed" "$("$quipu" verify --json one.car | member signer)" "$own"
pins "D $words\nOK\n"
alone "$quipu" export --volume-size 64K --pinentry="$sham" volumes >out
equal "who signed the volumes" "$("$quipu" verify --json volumes | member signer)" "$own"
# Two passphrases, each from its own place: the key's, and the bundle's.
mkdir -p credentials
printf '%s' "$words" >credentials/quipu-passphrase
printf '%s' "$other" >credentials/quipu-bundle-passphrase
export CREDENTIALS_DIRECTORY=$dir/credentials
alone "$quipu" export --passphrase two.age >out
equal "a bundle for a passphrase" "$(alone "$quipu" verify --passphrase --json two.age | member encrypted)" true
unset CREDENTIALS_DIRECTORY
# What a try may cost is the reader's to say.
# tried CODE PART N: with this limit.
tried() {
    found=0
    "$quipu" verify --passphrase-fd 3 --scrypt-max "$3" two.age 3<<<"$other" >out 2>err || found=$?
    equal "exit code with --scrypt-max $3: $(cat err)" "$found" "$1"
    has "--scrypt-max $3" "$(cat out err)" "$2"
}
tried 0 'intact: two.age' 18
tried 3 'the limit is 9' 9
tried 3 'scrypt work factor 31; at most 30' 31
tried 3 'at most 30' 99999999999
found=0
"$quipu" verify --passphrase-fd 3 two.age 3<<<"$words" >out 2>err || found=$?
equal "a bundle is never for the passphrase of the key" "$found" 27
typed "expect Passphrase of the bundle: 
echo off
send $other" "$quipu" verify --passphrase --json two.age
equal "exit code of verify --passphrase on a terminal: $(cat err)" "$found" 0
# To a wrapped identity.
"$quipu" export --key-passphrase-fd 3 --recipient "$recipient" three.age 3<<<"$words" >out
found=0
alone "$quipu" verify --identity b.key three.age >out 2>err </dev/null || found=$?
equal "exit code with a locked identity" "$found" 3
equal "a bundle for a wrapped identity" \
    "$(alone "$quipu" verify --identity b.key --key-passphrase-fd 3 --json three.age 3<<<"$words" | member intact)" true
chmod 644 id.txt
refused 1 'chmod 600 it' PERMISSION verify --identity id.txt three.age
chmod 600 id.txt

# Receipts are signed too.
found=0
alone "$quipu" export --receipts receipts.car >out 2>err </dev/null || found=$?
equal "exit code of receipts with nobody to ask" "$found" 3
has "receipts with nobody to ask" "$(cat err)" 'give --key-passphrase-fd N'
found=0
"$quipu" export --receipts --key-passphrase-fd 3 receipts.car 3<<<"$words" >out 2>err || found=$?
equal "exit code of receipts where nothing is published" "$found" 5
has "receipts where nothing is published" "$(cat err)" 'publish with'

# Another passphrase, none, and one again; the source stays.
printf '%s\n%s\n' "$words" "$other" | "$quipu" keygen --change --passphrase-fd 0 --new-passphrase-fd 0 >out
has "--change, the store's key" "$(cat out)" "$own"
"$quipu" keygen --unwrap --passphrase-fd 3 3<<<"$other" >out
alone "$quipu" export plain.car >out
equal "who signed with a plain key" "$("$quipu" verify --json plain.car | member signer)" "$own"
"$quipu" keygen --wrap --quiet --passphrase-fd 3 3<<<"$words" >out
equal "after --wrap" "$(head -1 s/signing.key)" '-----BEGIN AGE ENCRYPTED FILE-----'
"$quipu" export --key-passphrase-fd 3 again.car 3<<<"$words" >out
equal "who signed after all that" "$("$quipu" verify --json again.car | member signer)" "$own"

# Another key in its place is not the store's, and nobody signs with it.
cp s/signing.key kept.key
cp d.key s/signing.key
found=0
"$quipu" export --key-passphrase-fd 3 wrong.car 3<<<"$words" >out 2>err || found=$?
equal "exit code with another store's key" "$found" 3
has "another store's key" "$(cat err)" "holds the key of source"
has "another store's key" "$(cat err)" "the store records under $own"
cp kept.key s/signing.key
"$quipu" verify >out

# Restored over itself it takes a new key, and nobody is there to wrap that.
"$quipu" backup copy >out
printf '%s\n' "$event" | "$quipu" append - >out
cp copy/data.mdb s/data.mdb
printf '%s\n' "$event" | "$quipu" append - >out 2>err
has "a restored store" "$(cat err)" "records under a new source"
has "a restored store" "$(cat err)" "the new source's key is plain; wrap it with"
cmp -s kept.key s/signing.key.retired || fail "the retired key is not the wrapped one"
equal "what the new key is" "$("$quipu" keygen --public --json | member wrapped)" false

# Where its wrapped key is gone, the next event makes a plain one, and says so; the store remembers.
"$quipu" init --store gone --passphrase-fd 3 3<<<"$words" >out
printf '%s\n' "$event" | "$quipu" append --store gone - >out 2>err
equal "what is said while the key is there" "$(cat err)" ""
mv gone/signing.key gone/elsewhere
printf '%s\n' "$event" | "$quipu" append --store gone - >out 2>err
has "the key is gone" "$(cat err)" "had a wrapped key, which is gone: it records under a new source from now on, U"
has "the key is gone" "$(cat err)" "the new source's key is plain; wrap it with \`quipu keygen --wrap\`"
printf '%s\n' "$event" | "$quipu" append --store gone - >out 2>err
equal "it is said once" "$(cat err)" ""
"$quipu" keygen --wrap --quiet --store gone --passphrase-fd 3 3<<<"$words" >out
rm gone/signing.key
printf '%s\n' "$event" | "$quipu" append --store gone - >out 2>err
has "wrapped later, and gone" "$(cat err)" "which is gone"
"$quipu" keygen --wrap --quiet --store gone --passphrase-fd 3 3<<<"$words" >out
"$quipu" keygen --unwrap --store gone --passphrase-fd 3 3<<<"$words" >out
rm gone/signing.key
printf '%s\n' "$event" | "$quipu" append --store gone - >out 2>err
equal "what was made plain by will" "$(cat err)" ""
"$quipu" verify --store gone >out

# A store whose making was interrupted does not know its source before the key was opened once. Only
# programs with failpoints can be interrupted there.
found=0
QUIPU_FAILPOINT=airgap.keyring.named:kill "$quipu" init --store u --passphrase-fd 3 3<<<"$words" >out 2>err ||
    found=$?
if [ "$found" != 0 ]; then
    equal "how the making ended" "$found" 137
    found=0
    printf '%s\n' "$event" | "$quipu" append --store u - >out 2>err || found=$?
    equal "exit code of the first event" "$found" 3
    has "the first event" "$(cat err)" '; open it once with'
    equal "status of a store without a source" "$("$quipu" status --json --store u | member source)" null
    "$quipu" keygen --public --store u --passphrase-fd 3 3<<<"$words" >out
    printf '%s\n' "$event" | "$quipu" append --store u - >out
    equal "the first event's source" "$("$quipu" show --json --store u 1 | member source)" \
        "$("$quipu" keygen --public --json --store u --passphrase-fd 3 3<<<"$words" | member public)"
else
    echo "note: no failpoints here, the interrupted making was not tried"
fi

# Who gives up leaves nothing.
found=0
alone "$quipu" init --wrap --store t >out 2>err </dev/null || found=$?
equal "exit code of init with nobody to ask" "$found" 3
[ ! -e t ] || fail "a store was made all the same"

passed
