/*
 * Public keys and signatures of OpenSSH in their wire form: taken apart strictly. Only looks at
 * their form; never calls a cipher.
 *
 * Specification: RFC 4251 §5, RFC 4253 §6.6, RFC 5656 §3.1, RFC 8332 §3, RFC 8709; PROTOCOL.u2f of
 * OpenSSH; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "ssh_wire.h"

#define RSA_EXPONENT_BYTES_MAX 8u /* libcrypto takes no longer one for a large modulus either */

enum family { FAMILY_ED25519, FAMILY_ECDSA, FAMILY_RSA };

/* By enum quipu_ssh_key_type. */
static const struct key_kind {
    const char *name;
    enum family family;
    bool is_sk;
    const char *curve;       /* ECDSA */
    size_t coordinate_bytes; /* the same */
} kinds[] = {
    {QUIPU_SSH_ED25519, FAMILY_ED25519, false, NULL, 0},
    {"ecdsa-sha2-nistp256", FAMILY_ECDSA, false, "nistp256", 32},
    {"ecdsa-sha2-nistp384", FAMILY_ECDSA, false, "nistp384", 48},
    {"ecdsa-sha2-nistp521", FAMILY_ECDSA, false, "nistp521", 66},
    {"ssh-rsa", FAMILY_RSA, false, NULL, 0},
    {"sk-ssh-ed25519@openssh.com", FAMILY_ED25519, true, NULL, 0},
    {"sk-ecdsa-sha2-nistp256@openssh.com", FAMILY_ECDSA, true, "nistp256", 32},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

const char *quipu_ssh_key_type_name(enum quipu_ssh_key_type type)
{
    return (size_t)type < KIND_COUNT ? kinds[type].name : "unknown";
}

static bool take_text(struct quipu_slice *rest, const char *text)
{
    struct quipu_slice found = {0};
    return quipu_ssh_take_string(rest, &found) && quipu_slice_equal(found, quipu_slice_text(text));
}

/* A number above 0 (an mpint), in its shortest form: no zero byte in front but the one that keeps
 * it positive. `out` is without that one. */
static bool take_number(struct quipu_slice *rest, struct quipu_slice *out)
{
    struct quipu_slice number = {0};
    if (!quipu_ssh_take_string(rest, &number) || number.len == 0 || number.data[0] >= 0x80) {
        return false;
    }
    if (number.data[0] == 0) {
        if (number.len == 1 || number.data[1] < 0x80) {
            return false;
        }
        (void)quipu_ssh_take(&number, 1);
    }
    *out = number;
    return true;
}

/* ------------------------------------------------------------------ keys */

static const char *decode_ed25519(struct quipu_slice *rest, struct quipu_ssh_key *key)
{
    return quipu_ssh_take_string(rest, &key->point) && key->point.len == QUIPU_PUBLIC_KEY_BYTES
               ? NULL
               : "its Ed25519 key has not 32 bytes";
}

static const char *decode_ecdsa(struct quipu_slice *rest, struct quipu_ssh_key *key)
{
    const struct key_kind *kind = &kinds[key->type];
    if (!take_text(rest, kind->curve)) {
        return "its curve is not that of its type";
    }
    if (!quipu_ssh_take_string(rest, &key->point) ||
        key->point.len != 1 + 2 * kind->coordinate_bytes || key->point.data[0] != 4) {
        return "its point is not an uncompressed one of its curve";
    }
    return NULL;
}

static unsigned bits_of(struct quipu_slice number)
{
    unsigned bits = 0;
    for (unsigned first = number.data[0]; first > 0; first >>= 1) {
        bits++;
    }
    return bits + 8 * (unsigned)(number.len - 1);
}

static const char *decode_rsa(struct quipu_slice *rest, struct quipu_ssh_key *key)
{
    if (!take_number(rest, &key->exponent) || !take_number(rest, &key->modulus)) {
        return "its RSA numbers are cut off or not in their shortest form";
    }
    const struct quipu_slice *e = &key->exponent;
    if (e->len > RSA_EXPONENT_BYTES_MAX || (e->data[e->len - 1] & 1) == 0 ||
        (e->len == 1 && e->data[0] == 1)) {
        return "its RSA exponent is even, 1, or over 64 bits";
    }
    unsigned bits = bits_of(key->modulus);
    if (bits < QUIPU_SSH_RSA_BITS_MIN || bits > QUIPU_SSH_RSA_BITS_MAX) {
        return bits < QUIPU_SSH_RSA_BITS_MIN ? "its RSA key has less than 2048 bits"
                                             : "its RSA key has more than 16384 bits";
    }
    return (key->modulus.data[key->modulus.len - 1] & 1) == 0 ? "its RSA modulus is even" : NULL;
}

static bool find_kind(struct quipu_slice name, enum quipu_ssh_key_type *out)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (quipu_slice_equal(name, quipu_slice_text(kinds[i].name))) {
            *out = (enum quipu_ssh_key_type)i;
            return true;
        }
    }
    return false;
}

const char *quipu_ssh_key_decode(struct quipu_slice bytes, struct quipu_ssh_key *out)
{
    struct quipu_ssh_key key = {0};
    struct quipu_slice rest = bytes;
    struct quipu_slice name = {0};
    const char *wrong = NULL;
    if (bytes.len > QUIPU_SSH_KEY_BYTES_MAX) {
        return "its key is longer than 4096 bytes";
    }
    if (!quipu_ssh_take_string(&rest, &name) || !find_kind(name, &key.type)) {
        return "its key is of no type that may sign";
    }
    const struct key_kind *kind = &kinds[key.type];
    switch (kind->family) {
    case FAMILY_ED25519:
        wrong = decode_ed25519(&rest, &key);
        break;
    case FAMILY_ECDSA:
        wrong = decode_ecdsa(&rest, &key);
        break;
    case FAMILY_RSA:
        wrong = decode_rsa(&rest, &key);
        break;
    }
    if (wrong == NULL && kind->is_sk && !quipu_ssh_take_string(&rest, &key.application)) {
        wrong = "its hardware key names no application";
    }
    if (wrong == NULL && rest.len != 0) {
        wrong = "bytes follow its key";
    }
    if (wrong == NULL) {
        *out = key;
    }
    return wrong;
}

enum quipu_status quipu_ssh_key_read(struct quipu_slice key, enum quipu_ssh_key_type *type,
                                     struct quipu_error *err)
{
    struct quipu_ssh_key decoded;
    const char *wrong = quipu_ssh_key_decode(key, &decoded);
    if (wrong != NULL) {
        return quipu_error_set(err, QUIPU_INVALID, "no public key that may sign: %s", wrong);
    }
    *type = decoded.type;
    return QUIPU_OK;
}

bool quipu_ssh_key_ed25519(struct quipu_slice key, uint8_t out[QUIPU_PUBLIC_KEY_BYTES])
{
    struct quipu_ssh_key decoded;
    if (quipu_ssh_key_decode(key, &decoded) != NULL || decoded.type != QUIPU_SSH_KEY_ED25519) {
        return false;
    }
    memcpy(out, decoded.point.data, QUIPU_PUBLIC_KEY_BYTES);
    return true;
}

void quipu_ssh_key_from_ed25519(const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                uint8_t out[QUIPU_SSH_ED25519_KEY_BYTES])
{
    struct quipu_buf wire;
    quipu_buf_init_fixed(&wire, out, QUIPU_SSH_ED25519_KEY_BYTES);
    quipu_ssh_write_string(&wire, quipu_slice_text(QUIPU_SSH_ED25519));
    quipu_ssh_write_string(&wire, quipu_slice(public_key, QUIPU_PUBLIC_KEY_BYTES));
}

/* ------------------------------------------------------------------ signatures */

static const char *decode_ecdsa_value(struct quipu_slice value, size_t bytes_max,
                                      struct quipu_ssh_signature *signature)
{
    if (!take_number(&value, &signature->r) || !take_number(&value, &signature->s) ||
        value.len != 0) {
        return "its ECDSA numbers are cut off, zero, or not in their shortest form";
    }
    return signature->r.len > bytes_max || signature->s.len > bytes_max
               ? "its ECDSA numbers are longer than those of its curve"
               : NULL;
}

/* RSA keys sign under names of their own; "ssh-rsa", which means SHA-1, is none of them. */
static bool take_algorithm(struct quipu_slice *rest, const struct key_kind *kind,
                           struct quipu_ssh_signature *signature)
{
    if (kind->family != FAMILY_RSA) {
        return take_text(rest, kind->name);
    }
    struct quipu_slice name = {0};
    if (!quipu_ssh_take_string(rest, &name)) {
        return false;
    }
    signature->is_sha256 = quipu_slice_equal(name, quipu_slice_text("rsa-sha2-256"));
    return signature->is_sha256 || quipu_slice_equal(name, quipu_slice_text("rsa-sha2-512"));
}

const char *quipu_ssh_signature_decode(struct quipu_slice bytes, const struct quipu_ssh_key *key,
                                       struct quipu_ssh_signature *out)
{
    struct quipu_ssh_signature signature = {0};
    const struct key_kind *kind = &kinds[key->type];
    struct quipu_slice rest = bytes;
    const char *wrong = NULL;
    if (!take_algorithm(&rest, kind, &signature)) {
        return kind->family == FAMILY_RSA ? "its algorithm is neither rsa-sha2-512 nor rsa-sha2-256"
                                          : "its algorithm is not that of its key";
    }
    if (!quipu_ssh_take_string(&rest, &signature.bytes)) {
        return "its signature is cut off";
    }
    switch (kind->family) {
    case FAMILY_ED25519:
        wrong =
            signature.bytes.len == QUIPU_SIGNATURE_BYTES ? NULL : "its signature has not 64 bytes";
        break;
    case FAMILY_ECDSA:
        wrong = decode_ecdsa_value(signature.bytes, kind->coordinate_bytes, &signature);
        break;
    case FAMILY_RSA:
        wrong = signature.bytes.len == key->modulus.len
                    ? NULL
                    : "its signature is not as long as its RSA key";
        break;
    }
    if (wrong == NULL && kind->is_sk) {
        if (rest.len < 1) {
            return "its flags are cut off";
        }
        signature.flags = quipu_ssh_take(&rest, 1).data[0];
        wrong = quipu_ssh_take_u32(&rest, &signature.counter) ? NULL : "its counter is cut off";
    }
    if (wrong == NULL && rest.len != 0) {
        wrong = "bytes follow its signature";
    }
    if (wrong == NULL) {
        *out = signature;
    }
    return wrong;
}
