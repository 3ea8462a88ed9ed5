/*
 * SSHSIGs forged field by field: a signature that holds is taken apart, one field is changed, and
 * what is put together from it must be refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <openssl/err.h>

#include "internal/bytes.h"
#include "ssh_kit.h"

#define NAME_SPACE "quipu-bundle@v1"
#define MESSAGE    quipu_slice_text("the manifest")
#define TYPES      (QUIPU_SSH_KEY_SK_ECDSA_P256 + 1)

/* A signature taken apart into what its fields hold; each forgery changes one. */
struct parts {
    struct quipu_sshsig sshsig;
    struct quipu_buf key;
    struct quipu_buf signature;
    const char *type_name;      /* in the key */
    const char *curve;          /* NULL: none */
    struct quipu_slice numbers; /* of the key behind type and curve, as it stood */
    const char *algorithm;
    struct quipu_slice value; /* of the signature */
    struct quipu_slice tail;  /* behind it: flags and counter */
    /* ECDSA */
    struct quipu_slice r;
    struct quipu_slice s;
};

static struct quipu_slice take(struct quipu_slice *rest, size_t len)
{
    struct quipu_slice taken = quipu_slice(rest->data, len);
    cr_assert_leq(len, rest->len);
    *rest = quipu_slice(rest->data + len, rest->len - len);
    return taken;
}

static struct quipu_slice take_string(struct quipu_slice *rest)
{
    return take(rest, quipu_load_be32(take(rest, 4).data));
}

/* Without the zero that keeps it positive. */
static struct quipu_slice take_number(struct quipu_slice *rest)
{
    struct quipu_slice number = take_string(rest);
    if (number.data[0] == 0) {
        (void)take(&number, 1);
    }
    return number;
}

static void split(struct parts *parts, const struct ssh_kit *kit, struct quipu_slice blob)
{
    *parts = (struct parts){.type_name = quipu_ssh_key_type_name(kit->type),
                            .algorithm = kit->algorithm};
    cr_assert_eq(quipu_sshsig_decode(blob, &parts->sshsig, NULL), QUIPU_OK);
    struct quipu_slice rest = parts->sshsig.key;
    (void)take_string(&rest);
    if (kit->pkey != NULL && kit->type != QUIPU_SSH_KEY_RSA) {
        (void)take_string(&rest);
        parts->curve = kit->type == QUIPU_SSH_KEY_ECDSA_P384   ? "nistp384"
                       : kit->type == QUIPU_SSH_KEY_ECDSA_P521 ? "nistp521"
                                                               : "nistp256";
    }
    parts->numbers = rest;
    rest = parts->sshsig.signature;
    (void)take_string(&rest);
    parts->value = take_string(&rest);
    parts->tail = rest;
    if (parts->curve != NULL) {
        rest = parts->value;
        parts->r = take_number(&rest);
        parts->s = take_number(&rest);
    }
}

/* Put together from the fields as they are now. */
static void join(struct parts *parts, struct quipu_buf *blob)
{
    quipu_buf_reset(&parts->key);
    quipu_buf_reset(&parts->signature);
    quipu_buf_reset(blob);
    ssh_kit_string(&parts->key, quipu_slice_text(parts->type_name));
    if (parts->curve != NULL) {
        ssh_kit_string(&parts->key, quipu_slice_text(parts->curve));
    }
    quipu_buf_append_slice(&parts->key, parts->numbers);
    ssh_kit_string(&parts->signature, quipu_slice_text(parts->algorithm));
    ssh_kit_string(&parts->signature, parts->value);
    quipu_buf_append_slice(&parts->signature, parts->tail);
    parts->sshsig.key = quipu_buf_slice(&parts->key);
    parts->sshsig.signature = quipu_buf_slice(&parts->signature);
    quipu_sshsig_encode(&parts->sshsig, blob);
}

static uint8_t scratch[4096];
static struct quipu_buf made;

static struct quipu_slice copy_of(struct quipu_slice bytes)
{
    cr_assert_leq(bytes.len, sizeof scratch);
    memcpy(scratch, bytes.data, bytes.len);
    return quipu_slice(scratch, bytes.len);
}

/* ---- names */

static void other_type(struct parts *parts)
{
    parts->type_name = strcmp(parts->type_name, "ssh-ed25519") == 0 ? "ssh-rsa" : "ssh-ed25519";
}
static void dsa(struct parts *parts)
{
    parts->type_name = "ssh-dss";
}
static void certificate(struct parts *parts)
{
    parts->type_name = "ssh-ed25519-cert-v01@openssh.com";
}
static void algorithm_of_another(struct parts *parts)
{
    parts->algorithm =
        strcmp(parts->algorithm, "ssh-ed25519") == 0 ? "rsa-sha2-512" : "ssh-ed25519";
}
static void other_curve(struct parts *parts)
{
    parts->curve = strcmp(parts->curve, "nistp384") == 0 ? "nistp256" : "nistp384";
}

/* ---- points */

static void point_off_its_curve(struct parts *parts)
{
    parts->numbers = copy_of(parts->numbers);
    scratch[4 + 1 + 40] ^= 1; /* in a coordinate */
}
static void compressed_point(struct parts *parts)
{
    struct quipu_slice rest = parts->numbers;
    struct quipu_slice point = take_string(&rest);
    memcpy(scratch, point.data, point.len);
    scratch[0] = 2;
    quipu_buf_reset(&made);
    ssh_kit_string(&made, quipu_slice(scratch, 1 + (point.len - 1) / 2));
    quipu_buf_append_slice(&made, rest);
    parts->numbers = quipu_buf_slice(&made);
}
static void hybrid_point(struct parts *parts)
{
    parts->numbers = copy_of(parts->numbers);
    scratch[4] = 6;
}
static void point_at_infinity(struct parts *parts)
{
    quipu_buf_reset(&made);
    ssh_kit_string(&made, quipu_slice("", 1));
    parts->numbers = quipu_buf_slice(&made);
}
static void zero_point(struct parts *parts)
{
    parts->numbers = copy_of(parts->numbers);
    memset(scratch + 5, 0, quipu_load_be32(scratch) - 1);
}

/* ---- r and s */

static void set_numbers(struct parts *parts, struct quipu_slice r, size_t more_r,
                        struct quipu_slice s, size_t more_s)
{
    quipu_buf_reset(&made);
    ssh_kit_number(&made, r, more_r);
    ssh_kit_number(&made, s, more_s);
    parts->value = quipu_buf_slice(&made);
}
static void r_is_zero(struct parts *parts)
{
    set_numbers(parts, quipu_slice(NULL, 0), 0, parts->s, 0);
}
static void s_is_zero_byte(struct parts *parts)
{
    set_numbers(parts, parts->r, 0, quipu_slice(NULL, 0), 1);
}
static void r_has_a_zero_in_front(struct parts *parts)
{
    set_numbers(parts, parts->r, 1, parts->s, 0);
}
static void s_has_two_zeros_in_front(struct parts *parts)
{
    set_numbers(parts, parts->r, 0, parts->s, 2);
}
static void swapped(struct parts *parts)
{
    set_numbers(parts, parts->s, 0, parts->r, 0);
}
static void r_is_negative(struct parts *parts)
{
    quipu_buf_reset(&made);
    memcpy(scratch, parts->r.data, parts->r.len);
    scratch[0] |= 0x80;
    ssh_kit_string(&made, quipu_slice(scratch, parts->r.len));
    ssh_kit_number(&made, parts->s, 0);
    parts->value = quipu_buf_slice(&made);
}
static void s_is_too_high(struct parts *parts)
{
    memset(scratch, 0xff, parts->s.len); /* above the order of the group */
    set_numbers(parts, parts->r, 0, quipu_slice(scratch, parts->s.len), 0);
}
static void r_is_too_long(struct parts *parts)
{
    memset(scratch, 0x55, 80);
    set_numbers(parts, quipu_slice(scratch, 80), 0, parts->s, 0);
}
static void bytes_behind_s(struct parts *parts)
{
    set_numbers(parts, parts->r, 0, parts->s, 0);
    quipu_buf_append_byte(&made, 0);
    parts->value = quipu_buf_slice(&made);
}
static void lengths_swapped(struct parts *parts)
{
    /* the same bytes with the border between r and s in another place */
    struct quipu_slice rest = copy_of(parts->value);
    uint32_t len = quipu_load_be32(rest.data);
    quipu_store_be32(scratch, len + 1);
    parts->value = rest;
}

/* ---- Ed25519 */

static void ed25519_s_plus_order(struct parts *parts)
{
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
                                      0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    unsigned carry = 0;
    parts->value = copy_of(parts->value);
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)scratch[32 + i] + order[i];
        scratch[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
}
static void ed25519_small_order_key(struct parts *parts)
{
    /* the neutral element: with s = 0 and r the same it "signs" everything where that is not
     * looked at */
    static uint8_t zero_signature[64];
    quipu_buf_reset(&made);
    memset(scratch, 0, 32);
    scratch[0] = 1;
    memset(zero_signature, 0, sizeof zero_signature);
    zero_signature[0] = 1;
    ssh_kit_string(&made, quipu_slice(scratch, 32));
    struct quipu_slice rest = parts->numbers;
    (void)take_string(&rest);
    quipu_buf_append_slice(&made, rest);
    parts->numbers = quipu_buf_slice(&made);
    parts->value = quipu_slice(zero_signature, sizeof zero_signature);
}
static void signature_is_shorter(struct parts *parts)
{
    parts->value.len--;
}
static void signature_is_longer(struct parts *parts)
{
    parts->value = copy_of(parts->value);
    scratch[parts->value.len++] = 0;
}
static void signature_has_a_zero_in_front(struct parts *parts)
{
    struct quipu_slice value = parts->value;
    scratch[0] = 0;
    memcpy(scratch + 1, value.data, value.len);
    parts->value = quipu_slice(scratch, value.len + 1);
}
static void signature_is_zero(struct parts *parts)
{
    memset(scratch, 0, parts->value.len);
    parts->value = quipu_slice(scratch, parts->value.len);
}

/* ---- RSA */

static void rsa_numbers(struct parts *parts, struct quipu_slice e, size_t more_e, size_t more_n)
{
    struct quipu_slice rest = parts->numbers;
    struct quipu_slice own_e = take_number(&rest);
    struct quipu_slice n = take_number(&rest);
    quipu_buf_reset(&made);
    ssh_kit_number(&made, e.len == 0 ? own_e : e, more_e);
    ssh_kit_number(&made, n, more_n);
    parts->numbers = quipu_buf_slice(&made);
}
static void exponent_is_one(struct parts *parts)
{
    rsa_numbers(parts, quipu_slice("\1", 1), 0, 0);
}
static void exponent_is_even(struct parts *parts)
{
    rsa_numbers(parts, quipu_slice("\1\0\0", 3), 0, 0);
}
static void exponent_is_long(struct parts *parts)
{
    rsa_numbers(parts, quipu_slice("\1\0\0\0\0\0\0\0\1", 9), 0, 0);
}
static void exponent_has_a_zero_in_front(struct parts *parts)
{
    rsa_numbers(parts, quipu_slice(NULL, 0), 1, 0);
}
static void modulus_has_a_zero_in_front(struct parts *parts)
{
    rsa_numbers(parts, quipu_slice(NULL, 0), 0, 1);
}
static void modulus_is_even(struct parts *parts)
{
    parts->numbers = copy_of(parts->numbers);
    scratch[parts->numbers.len - 1] &= 0xfe;
}
static void rsa_says_sha256(struct parts *parts)
{
    parts->algorithm = "rsa-sha2-256";
}
static void rsa_says_sha1(struct parts *parts)
{
    parts->algorithm = "ssh-rsa";
}

/* ---- hardware keys */

static void set_tail(struct parts *parts, size_t at, uint8_t xor)
{
    parts->tail = copy_of(parts->tail);
    scratch[at] ^= xor;
}
static void other_flags(struct parts *parts)
{
    set_tail(parts, 0, 4);
}
static void other_counter(struct parts *parts)
{
    set_tail(parts, 4, 1);
}
static void no_tail(struct parts *parts)
{
    parts->tail.len = 0;
}
static void short_counter(struct parts *parts)
{
    parts->tail.len--;
}
static void long_tail(struct parts *parts)
{
    parts->tail = copy_of(parts->tail);
    scratch[parts->tail.len++] = 0;
}
static void other_application(struct parts *parts)
{
    parts->numbers = copy_of(parts->numbers);
    scratch[parts->numbers.len - 1] ^= 1;
}
static void plain_key_of_it(struct parts *parts)
{
    /* the same key as if it were in software */
    parts->type_name = parts->curve != NULL ? "ecdsa-sha2-nistp256" : "ssh-ed25519";
    parts->numbers.len -= 4 + 4;
    parts->algorithm = parts->type_name;
    parts->tail.len = 0;
}

#define ALL   0x7fu
#define ED    (1u << QUIPU_SSH_KEY_ED25519 | 1u << QUIPU_SSH_KEY_SK_ED25519)
#define RSA   (1u << QUIPU_SSH_KEY_RSA)
#define SK    (1u << QUIPU_SSH_KEY_SK_ED25519 | 1u << QUIPU_SSH_KEY_SK_ECDSA_P256)
#define ECDSA (ALL & ~ED & ~RSA)

static const struct {
    const char *name;
    unsigned types; /* bits by type */
    void (*forge)(struct parts *parts);
} forgeries[] = {
    {"other type", ALL, other_type},
    {"DSA", ALL, dsa},
    {"certificate", ALL, certificate},
    {"algorithm of another", ALL, algorithm_of_another},
    {"other curve", ECDSA, other_curve},
    {"point off its curve", ECDSA, point_off_its_curve},
    {"compressed point", ECDSA, compressed_point},
    {"hybrid point", ECDSA, hybrid_point},
    {"point at infinity", ECDSA, point_at_infinity},
    {"zero point", ECDSA, zero_point},
    {"r is zero", ECDSA, r_is_zero},
    {"s is a zero byte", ECDSA, s_is_zero_byte},
    {"r has a zero in front", ECDSA, r_has_a_zero_in_front},
    {"s has two zeros in front", ECDSA, s_has_two_zeros_in_front},
    {"swapped", ECDSA, swapped},
    {"r is negative", ECDSA, r_is_negative},
    {"s is too high", ECDSA, s_is_too_high},
    {"r is too long", ECDSA, r_is_too_long},
    {"bytes behind s", ECDSA, bytes_behind_s},
    {"lengths swapped", ECDSA, lengths_swapped},
    {"s plus order", ED, ed25519_s_plus_order},
    {"small order", ED, ed25519_small_order_key},
    {"signature is shorter", ALL, signature_is_shorter},
    {"signature is longer", ALL, signature_is_longer},
    {"zero in front", RSA | ED, signature_has_a_zero_in_front},
    {"signature is zero", ALL, signature_is_zero},
    {"exponent 1", RSA, exponent_is_one},
    {"exponent even", RSA, exponent_is_even},
    {"exponent long", RSA, exponent_is_long},
    {"exponent not shortest", RSA, exponent_has_a_zero_in_front},
    {"modulus not shortest", RSA, modulus_has_a_zero_in_front},
    {"modulus even", RSA, modulus_is_even},
    {"says SHA-256", RSA, rsa_says_sha256},
    {"says SHA-1", RSA, rsa_says_sha1},
    {"other flags", SK, other_flags},
    {"other counter", SK, other_counter},
    {"no tail", SK, no_tail},
    {"short counter", SK, short_counter},
    {"long tail", SK, long_tail},
    {"other application", SK, other_application},
    {"plain key of it", SK, plain_key_of_it},
};

Test(sshsig_forged, every_forgery_is_refused, .timeout = 300)
{
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_buf forged = QUIPU_BUF_INIT;
    size_t tried = 0;
    for (int type = 0; type < TYPES; type++) {
        struct ssh_kit kit;
        struct parts parts;
        ssh_kit_init(&kit, (enum quipu_ssh_key_type)type);
        quipu_buf_reset(&blob);
        ssh_kit_sign(&kit, NAME_SPACE, MESSAGE, &blob);
        split(&parts, &kit, quipu_buf_slice(&blob));
        join(&parts, &forged);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&blob), quipu_buf_slice(&forged)));
        quipu_buf_release(&parts.key);
        quipu_buf_release(&parts.signature);
        for (size_t i = 0; i < sizeof forgeries / sizeof forgeries[0]; i++) {
            if ((forgeries[i].types & 1u << type) == 0) {
                continue;
            }
            split(&parts, &kit, quipu_buf_slice(&blob));
            forgeries[i].forge(&parts);
            join(&parts, &forged);
            cr_assert_eq(
                quipu_sshsig_verify(quipu_buf_slice(&forged), NAME_SPACE, MESSAGE, NULL, NULL),
                QUIPU_BAD_SIGNATURE, "type %d: %s", type, forgeries[i].name);
            cr_assert_eq(ERR_peek_error(), 0u, "%s", forgeries[i].name);
            quipu_buf_release(&parts.key);
            quipu_buf_release(&parts.signature);
            tried++;
        }
        ssh_kit_release(&kit);
    }
    cr_assert_gt(tried, 120u);
    quipu_buf_release(&blob);
    quipu_buf_release(&forged);
    quipu_buf_release(&made);
}
