/*
 * Checkpoints as signed notes. Never holds a secret key: the store's identity signs.
 *
 * Specification: c2sp.org/tlog-checkpoint, c2sp.org/signed-note; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "checkpoint.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#define ORIGIN_PREFIX     "quipu/"
#define ALGORITHM_ED25519 0x01
#define KEY_ID_BYTES      4u
#define SIGNATURE_BYTES   (KEY_ID_BYTES + QUIPU_SIGNATURE_BYTES)
#define BASE64_BYTES_MAX  128u

/* Base64 with padding of at most 68 bytes. */
static void append_base64(struct quipu_buf *out, const uint8_t *bytes, size_t len)
{
    char text[BASE64_BYTES_MAX];
    (void)sodium_bin2base64(text, sizeof text, bytes, len, sodium_base64_VARIANT_ORIGINAL);
    quipu_buf_append_text(out, text);
}

static void append_name(struct quipu_buf *out, struct quipu_slice source)
{
    quipu_buf_append_text(out, ORIGIN_PREFIX);
    quipu_buf_append_slice(out, source);
}

static void append_body(struct quipu_buf *out, struct quipu_slice source,
                        const struct quipu_proof_tree *tree)
{
    append_name(out, source);
    quipu_buf_printf(out, "\n%" PRIu64 "\n", tree->size);
    append_base64(out, tree->root, sizeof tree->root);
    quipu_buf_append_byte(out, '\n');
}

/* The first bytes of SHA-256(name ‖ 0A ‖ algorithm ‖ public key). */
static void key_id(struct quipu_slice source, const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                   uint8_t out[KEY_ID_BYTES])
{
    static const uint8_t separator[] = {'\n', ALGORITHM_ED25519};
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_sha256_stream stream;
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, quipu_slice_text(ORIGIN_PREFIX));
    quipu_sha256_stream_update(&stream, source);
    quipu_sha256_stream_update(&stream, quipu_slice(separator, sizeof separator));
    quipu_sha256_stream_update(&stream, quipu_slice(public_key, QUIPU_PUBLIC_KEY_BYTES));
    quipu_sha256_stream_final(&stream, digest);
    memcpy(out, digest, KEY_ID_BYTES);
}

/* "— name base64\n", behind an empty line. */
static void append_signature(struct quipu_buf *out, struct quipu_slice source,
                             const uint8_t signature[SIGNATURE_BYTES])
{
    quipu_buf_append_text(out, "\n\xe2\x80\x94 ");
    append_name(out, source);
    quipu_buf_append_byte(out, ' ');
    append_base64(out, signature, SIGNATURE_BYTES);
    quipu_buf_append_byte(out, '\n');
}

enum quipu_status quipu_checkpoint_sign(struct quipu_engine *engine, const char *source,
                                        const struct quipu_proof_tree *tree, struct quipu_buf *out,
                                        struct quipu_error *err)
{
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t signature[SIGNATURE_BYTES];
    struct quipu_buf body = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_source_public_key(quipu_slice_text(source), public_key, err);
    if (status == QUIPU_OK) {
        append_body(&body, quipu_slice_text(source), tree);
        key_id(quipu_slice_text(source), public_key, signature);
        status = body.status;
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_sign(engine, quipu_buf_slice(&body), signature + KEY_ID_BYTES, err);
    }
    if (status == QUIPU_OK) {
        quipu_buf_append_slice(out, quipu_buf_slice(&body));
        append_signature(out, quipu_slice_text(source), signature);
        status = out->status;
    }
    quipu_buf_release(&body);
    return status == QUIPU_NO_MEMORY ? quipu_error_set(err, status, "no memory for a checkpoint")
                                     : status;
}

/* Up to the next newline, and step over it. */
static bool take_line(struct quipu_slice *rest, struct quipu_slice *line)
{
    const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->data, '\n', rest->len);
    if (end == NULL) {
        return false;
    }
    *line = quipu_slice(rest->data, (size_t)(end - rest->data));
    *rest = quipu_slice(end + 1, rest->len - line->len - 1);
    return true;
}

static bool read_base64(struct quipu_slice text, uint8_t *out, size_t len)
{
    size_t got = 0;
    return sodium_base642bin(out, len, (const char *)text.data, text.len, NULL, &got, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           got == len;
}

static bool read_number(struct quipu_slice text, uint64_t *out)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 16) { /* 2^53 has 16 digits */
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return true;
}

/* What is read, without a look at whether it is written as it must be. */
static bool read_fields(struct quipu_slice note, struct quipu_proof_tree *tree,
                        uint8_t signature[SIGNATURE_BYTES])
{
    struct quipu_slice line = {0};
    const uint8_t *space = NULL;
    if (!take_line(&note, &line) || !take_line(&note, &line) || !read_number(line, &tree->size) ||
        !take_line(&note, &line) || !read_base64(line, tree->root, sizeof tree->root) ||
        !take_line(&note, &line) || line.len != 0 || !take_line(&note, &line)) {
        return false;
    }
    for (size_t i = 0; i < line.len; i++) {
        space = line.data[i] == ' ' ? line.data + i : space;
    }
    return space != NULL &&
           read_base64(quipu_slice(space + 1, line.len - (size_t)(space + 1 - line.data)),
                       signature, SIGNATURE_BYTES);
}

enum quipu_status quipu_checkpoint_verify(struct quipu_slice note, struct quipu_slice source,
                                          struct quipu_proof_tree *tree, struct quipu_error *err)
{
    uint8_t storage[QUIPU_CHECKPOINT_BYTES_MAX];
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t signature[SIGNATURE_BYTES];
    uint8_t id[KEY_ID_BYTES];
    struct quipu_proof_tree found = {0};
    struct quipu_buf again;
    quipu_buf_init_fixed(&again, storage, sizeof storage);
    if (quipu_source_public_key(source, public_key, NULL) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE, "the checkpoint's source is no key");
    }
    if (!read_fields(note, &found, signature)) {
        return quipu_error_set(err, QUIPU_BUNDLE, "the checkpoint is not a signed note of a log");
    }
    /* Written again it must be the very same bytes: no other origin, key, form or line. */
    append_body(&again, source, &found);
    size_t body_len = again.len;
    append_signature(&again, source, signature);
    if (again.status != QUIPU_OK || !quipu_slice_equal(quipu_buf_slice(&again), note)) {
        return quipu_error_set(err, QUIPU_BUNDLE,
                               "the checkpoint is not one of source %.*s, or not in its form",
                               QUIPU_SLICE_FMT(source));
    }
    key_id(source, public_key, id);
    if (sodium_init() < 0 || memcmp(id, signature, sizeof id) != 0 ||
        crypto_sign_verify_detached(signature + KEY_ID_BYTES, again.data, body_len, public_key) !=
            0) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE,
                               "the checkpoint's signature by %.*s does not verify",
                               QUIPU_SLICE_FMT(source));
    }
    *tree = found;
    return QUIPU_OK;
}

enum quipu_status quipu_checkpoint_vkey(struct quipu_slice source, struct quipu_buf *out,
                                        struct quipu_error *err)
{
    uint8_t key[1 + QUIPU_PUBLIC_KEY_BYTES] = {ALGORITHM_ED25519};
    uint8_t id[KEY_ID_BYTES];
    enum quipu_status status = quipu_source_public_key(source, key + 1, err);
    if (status != QUIPU_OK) {
        return status;
    }
    key_id(source, key + 1, id);
    append_name(out, source);
    quipu_buf_printf(out, "+%02x%02x%02x%02x+", id[0], id[1], id[2], id[3]);
    append_base64(out, key, sizeof key);
    quipu_buf_append_byte(out, '\n');
    return out->status == QUIPU_OK ? QUIPU_OK
                                   : quipu_error_set(err, out->status, "no memory for a key");
}
