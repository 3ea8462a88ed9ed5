/*
 * Encryption: a fresh file key, wrapped for each recipient or for the passphrase; the header under
 * its MAC; then chunk after chunk as the plaintext comes. A full chunk waits until more comes, for
 * the last one is sealed otherwise.
 *
 * Specification: c2sp.org/age; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "age_parts.h"
#include "quipu/alloc.h"

struct quipu_age_writer {
    struct quipu_sink out; /* the sink, or the armor before it */
    struct age_armor_writer armor;
    bool is_armored;
    struct age_keys *keys;
    uint8_t *plain;
    uint8_t *sealed;
    size_t plain_len;
    uint64_t number; /* of the next chunk */
    bool is_over;    /* finished, or failed */
};

/* Test builds may take a small one from the environment, so that scripts can make many keys. In
 * what people use, there is no such thing. */
static unsigned work_factor_default(void)
{
#ifdef QUIPU_FAILPOINTS
    const char *wanted = getenv("QUIPU_TEST_WORK_FACTOR");
    unsigned long factor = wanted == NULL ? 0 : strtoul(wanted, NULL, 10);
    if (factor > 0 && factor < QUIPU_AGE_SCRYPT_LOG) {
        return (unsigned)factor;
    }
#endif
    return QUIPU_AGE_SCRYPT_LOG;
}

static enum quipu_status check_options(const struct quipu_age_write_options *options,
                                       struct quipu_error *err)
{
    bool has_passphrase = options->passphrase != NULL && options->passphrase->passphrase != NULL;
    if (options->size != sizeof *options || has_passphrase == (options->recipient_count > 0)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "an age file is encrypted either to recipients or to a passphrase");
    }
    if (options->recipient_count > QUIPU_AGE_RECIPIENTS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "%zu age recipients; at most %d",
                               options->recipient_count, QUIPU_AGE_RECIPIENTS_MAX);
    }
    if (options->work_factor > QUIPU_AGE_SCRYPT_LOG_CEILING) {
        return quipu_error_set(err, QUIPU_INVALID, "scrypt work factor %u; at most %d",
                               options->work_factor, QUIPU_AGE_SCRYPT_LOG_CEILING);
    }
    /* Two of the same mean that a third was forgotten. */
    for (size_t i = 1; i < options->recipient_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (memcmp(&options->recipients[i], &options->recipients[j],
                       sizeof *options->recipients) == 0) {
                return quipu_error_set(err, QUIPU_INVALID,
                                       "age recipients %zu and %zu are the same; name each once",
                                       j + 1, i + 1);
            }
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ header */

static enum quipu_status add_recipient(struct age_keys *keys, struct quipu_random random,
                                       const struct quipu_age_recipient *recipient, size_t number,
                                       struct quipu_buf *header, struct quipu_error *err)
{
    struct age_stanza stanza = {.type = AGE_STANZA_X25519};
    enum quipu_status status =
        random.fill(random.ctx, keys->ephemeral, sizeof keys->ephemeral, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!age_wrap_x25519(keys, recipient, stanza.share, stanza.body)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "age recipient %zu is a point of low order: no secret can be "
                               "shared with it",
                               number);
    }
    age_header_write_stanza(header, &stanza);
    return QUIPU_OK;
}

static enum quipu_status add_passphrase(struct age_keys *keys, struct quipu_random random,
                                        const struct quipu_age_write_options *options,
                                        struct quipu_buf *header, struct quipu_error *err)
{
    struct age_stanza stanza = {.type = AGE_STANZA_SCRYPT};
    stanza.work_factor = options->work_factor != 0 ? options->work_factor : work_factor_default();
    enum quipu_status status = random.fill(random.ctx, stanza.share, AGE_SALT_BYTES, err);
    if (status == QUIPU_OK) {
        status =
            age_derive_scrypt(keys, options->passphrase, stanza.share, stanza.work_factor, err);
    }
    if (status == QUIPU_OK) {
        age_seal_file_key(keys, stanza.body);
        age_header_write_stanza(header, &stanza);
    }
    return status;
}

/* The header and the nonce of the payload into `header`; keys->payload_key is ready then. */
static enum quipu_status make_header(struct age_keys *keys,
                                     const struct quipu_age_write_options *options,
                                     struct quipu_buf *header, struct quipu_error *err)
{
    struct quipu_random random = options->random != NULL ? *options->random : quipu_random_system();
    uint8_t mac[AGE_MAC_BYTES];
    uint8_t nonce[AGE_NONCE_BYTES];
    enum quipu_status status = random.fill(random.ctx, keys->file_key, sizeof keys->file_key, err);
    quipu_buf_append_text(header, AGE_VERSION_LINE);
    for (size_t i = 0; i < options->recipient_count && status == QUIPU_OK; i++) {
        status = add_recipient(keys, random, &options->recipients[i], i + 1, header, err);
    }
    if (options->recipient_count == 0 && status == QUIPU_OK) {
        status = add_passphrase(keys, random, options, header, err);
    }
    if (status == QUIPU_OK) {
        status = random.fill(random.ctx, nonce, sizeof nonce, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_append_text(header, "---");
    age_header_mac(keys, quipu_buf_slice(header), mac);
    age_header_write_mac(header, mac);
    quipu_buf_append(header, nonce, sizeof nonce);
    age_derive_payload_key(keys, nonce);
    return header->status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, header->status, "no memory for an age header");
}

/* ------------------------------------------------------------------ payload */

static enum quipu_status write_chunk(struct quipu_age_writer *writer, struct quipu_slice plain,
                                     bool is_last, struct quipu_error *err)
{
    age_seal_chunk(writer->keys, writer->number++, is_last, plain, writer->sealed);
    enum quipu_status status = writer->out.write(
        writer->out.ctx, quipu_slice(writer->sealed, plain.len + AGE_TAG_BYTES), err);
    writer->is_over = is_last || status != QUIPU_OK;
    return status;
}

static enum quipu_status writer_write(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    struct quipu_age_writer *writer = ctx;
    enum quipu_status status = QUIPU_OK;
    if (writer->is_over) {
        return quipu_error_set(err, QUIPU_MISUSE, "this age file takes no more bytes");
    }
    while (bytes.len > 0 && status == QUIPU_OK) {
        if (writer->plain_len == QUIPU_AGE_CHUNK_BYTES) {
            status = write_chunk(writer, quipu_slice(writer->plain, writer->plain_len), false, err);
            writer->plain_len = 0;
            continue;
        }
        /* More than a chunk, and nothing waits: sealed from where it lies. */
        if (writer->plain_len == 0 && bytes.len > QUIPU_AGE_CHUNK_BYTES) {
            status =
                write_chunk(writer, quipu_slice(bytes.data, QUIPU_AGE_CHUNK_BYTES), false, err);
            bytes =
                quipu_slice(bytes.data + QUIPU_AGE_CHUNK_BYTES, bytes.len - QUIPU_AGE_CHUNK_BYTES);
            continue;
        }
        size_t room = QUIPU_AGE_CHUNK_BYTES - writer->plain_len;
        size_t take = bytes.len < room ? bytes.len : room;
        memcpy(writer->plain + writer->plain_len, bytes.data, take);
        writer->plain_len += take;
        bytes = quipu_slice(bytes.data + take, bytes.len - take);
    }
    return status;
}

struct quipu_sink quipu_age_writer_sink(struct quipu_age_writer *writer)
{
    return (struct quipu_sink){writer_write, writer};
}

enum quipu_status quipu_age_writer_finish(struct quipu_age_writer *writer, struct quipu_error *err)
{
    if (writer->is_over) {
        return quipu_error_set(err, QUIPU_MISUSE, "this age file was finished, or has failed");
    }
    enum quipu_status status =
        write_chunk(writer, quipu_slice(writer->plain, writer->plain_len), true, err);
    if (status == QUIPU_OK && writer->is_armored) {
        status = age_armor_finish(&writer->armor, err);
    }
    return status;
}

/* ------------------------------------------------------------------ open, close */

static enum quipu_status writer_start(struct quipu_age_writer *writer, struct quipu_sink sink,
                                      const struct quipu_age_write_options *options,
                                      struct quipu_error *err)
{
    struct quipu_buf header = QUIPU_BUF_INIT;
    bool is_locked = true;
    enum quipu_status status = QUIPU_OK;
    writer->keys = age_secret_alloc(sizeof *writer->keys, &is_locked);
    writer->plain = quipu_alloc(QUIPU_AGE_CHUNK_BYTES, 1);
    writer->sealed = quipu_alloc(AGE_SEALED_BYTES, 1);
    if (writer->keys == NULL || writer->plain == NULL || writer->sealed == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to write an age file");
    }
    writer->out = sink;
    status = make_header(writer->keys, options, &header, err);
    if (status == QUIPU_OK && options->form == QUIPU_AGE_ARMORED) {
        writer->is_armored = true;
        status = age_armor_open(&writer->armor, sink, err);
        writer->out = age_armor_sink(&writer->armor);
    }
    if (status == QUIPU_OK) {
        status = writer->out.write(writer->out.ctx, quipu_buf_slice(&header), err);
    }
    quipu_buf_release(&header);
    return status;
}

enum quipu_status quipu_age_writer_open(struct quipu_sink sink,
                                        const struct quipu_age_write_options *options,
                                        struct quipu_age_writer **out, struct quipu_error *err)
{
    enum quipu_status status = check_options(options, err);
    if (status == QUIPU_OK) {
        status = age_start(err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_age_writer *writer = quipu_alloc_zero(1, sizeof *writer);
    if (writer == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to write an age file");
    }
    status = writer_start(writer, sink, options, err);
    if (status != QUIPU_OK) {
        quipu_age_writer_close(&writer);
        return status;
    }
    *out = writer;
    return QUIPU_OK;
}

void quipu_age_writer_close(struct quipu_age_writer **writer)
{
    struct quipu_age_writer *old = *writer;
    *writer = NULL;
    if (old == NULL) {
        return;
    }
    age_secret_free(old->keys);
    if (old->plain != NULL) {
        sodium_memzero(old->plain, QUIPU_AGE_CHUNK_BYTES);
    }
    quipu_free(old->plain);
    quipu_free(old->sealed);
    quipu_free(old);
}
