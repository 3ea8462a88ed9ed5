#!/usr/bin/env bash
# Who we are and TLS, said on the command line, by variable and in the file: an option is over a
# variable, that over the file, and neither touches the other.
#   identity.sh QUIPU with|without TOML
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
toml=$2
command -v openssl >/dev/null || skip "there is no openssl"

# ------------------------------------------------------------------ keys and certificates

certs=$dir/certs
mkdir -m 700 "$certs"
cd "$certs"
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
authority() { openssl req -x509 "${key[@]}" -keyout "$1.key" -out "$1.pem" -subj "/CN=$1" -days 2; }
# issue NAME SUBJECT-ALT-NAME CA
issue() {
    openssl req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -out "$1.pem" -days 2 \
        -extfile <(printf 'subjectAltName=%s\n' "$2")
}
{
    authority ca && authority wrongca && issue server DNS:vault.example ca &&
        issue client DNS:client ca && issue stranger DNS:stranger wrongca
} 2>openssl.log || fail "openssl: $(cat openssl.log)"
chmod 600 ./*.key
cd "$dir"

# A user's NKey: such as any other store has for signing.
"$quipu" init --store "$dir/knot" >/dev/null
user=$("$quipu" status --store "$dir/knot" --json | member source)
install -m 600 "$dir/knot/signing.key" "$dir/user.nk"
install -m 600 /dev/null "$dir/other.nk"
"$quipu" init --store "$dir/other" >/dev/null
cat "$dir/other/signing.key" >"$dir/other.nk"

cat >"$dir/server.conf" <<END
authorization { users: [ { nkey: $user }, { user: ada, password: "right" } ] }
tls { cert_file: "$certs/server.pem", key_file: "$certs/server.key", ca_file: "$certs/ca.pem", verify: true }
END
server_options=(-c "$dir/server.conf")
start_server
export QUIPU_SERVER=$url QUIPU_STORE=$dir/store
"$quipu" init >/dev/null

# ------------------------------------------------------------------ options alone

tls=(--tls-ca "$certs/ca.pem" --tls-cert "$certs/client.pem" --tls-key "$certs/client.key" --tls-name vault.example)
has "everything by option" "$("$quipu" provision --nkey "$dir/user.nk" "${tls[@]}")" "made"
has "a password beside the same TLS" \
    "$(QUIPU_NATS_PASSWORD=right "$quipu" provision --user ada "${tls[@]}")" "was there"
for verb in flush pull reconcile; do
    "$quipu" $verb --nkey "$dir/user.nk" "${tls[@]}" >/dev/null || fail "$verb"
    checks=$((checks + 1))
done
refused 8 '; ' AUTH provision "${tls[@]}"
refused 8 '; ' AUTH provision --nkey "$dir/other.nk" "${tls[@]}"
refused 8 '; ' AUTH provision --nkey "$dir/user.nk" "${tls[@]}" --tls-name elsewhere.example
refused 8 '; ' AUTH provision --nkey "$dir/user.nk" "${tls[@]}" --tls-ca "$certs/wrongca.pem"
found=0
"$quipu" provision --nkey "$dir/user.nk" --tls-ca "$certs/ca.pem" --tls-name vault.example \
    >/dev/null 2>"$dir/err" || found=$?
equal "no certificate of ours" "$found" 7
found=0
"$quipu" provision --nkey "$dir/user.nk" "${tls[@]}" --tls-cert "$certs/stranger.pem" \
    --tls-key "$certs/stranger.key" >/dev/null 2>"$dir/err" || found=$?
equal "a stranger's certificate" "$found" 7

refused 2 'one is given' INVALID provision --tls-cert "$certs/client.pem"
refused 2 'one is given' INVALID provision --tls-key "$certs/client.key"
refused 2 'one is wanted' INVALID provision --nkey "$dir/user.nk" --user ada
refused 2 'one is wanted' INVALID provision --nkey "$dir/user.nk" --creds "$dir/x.creds"
chmod 644 "$dir/user.nk"
refused 8 'chmod 600' PERMISSION provision --nkey "$dir/user.nk" "${tls[@]}"
chmod 600 "$dir/user.nk"
refused 3 '; ' INVALID provision --nkey "$QUIPU_STORE/signing.key" "${tls[@]}" # it signs events
install -m 600 "$dir/knot/signing.key" "$dir/knot.nk"
refused 3 'never connects' INVALID provision --store "$dir/knot" --nkey "$dir/knot.nk" "${tls[@]}" # by another name too

# ------------------------------------------------------------------ layers

[ "$toml" = with ] || { passed && exit 0; }
cat >"$dir/config.toml" <<END
[nats]
nkey_file = "other.nk"
[nats.tls]
ca_cert = "certs/ca.pem"
client_cert = "certs/stranger.pem"
client_key = "certs/stranger.key"
server_name = "vault.example"
END
export QUIPU_CONFIG=$dir/config.toml
found=0
"$quipu" provision >/dev/null 2>"$dir/err" || found=$?
equal "the file alone" "$found" 7
export QUIPU_NATS_TLS_CLIENT_CERT=$certs/client.pem QUIPU_NATS_TLS_CLIENT_KEY=$certs/client.key
refused 8 "$("$quipu" status --store "$dir/other" --json | member source)" AUTH provision
has "a variable is over the file" "$(QUIPU_NATS_NKEY_FILE=$dir/user.nk "$quipu" provision)" "was there"
has "an option is over a variable" \
    "$(QUIPU_NATS_NKEY_FILE=$dir/other.nk "$quipu" provision --nkey "$dir/user.nk")" "was there"
has "an option of one kind leaves the other kind" \
    "$(QUIPU_NATS_PASSWORD=right "$quipu" provision --user ada)" "was there"
export QUIPU_NATS_TLS_CA_CERT=$certs/wrongca.pem
refused 8 '; ' AUTH provision --nkey "$dir/user.nk"
has "TLS by option over a variable" \
    "$("$quipu" provision --nkey "$dir/user.nk" --tls-ca "$certs/ca.pem")" "was there"
unset QUIPU_NATS_TLS_CA_CERT
export QUIPU_NATS_TLS_SERVER_NAME=elsewhere.example
refused 8 '; ' AUTH provision --nkey "$dir/user.nk"
has "the name by option" \
    "$("$quipu" provision --nkey "$dir/user.nk" --tls-name vault.example)" "was there"
passed
