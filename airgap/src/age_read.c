/*
 * Decryption. In this order, and each before anything of the next is believed: the form of the
 * header, its file key, its MAC, then chunk after chunk. Of each chunk the tag is checked before a
 * byte of it is decrypted, and whether it is the last is part of what the tag covers; the one byte
 * read beyond it says whether it should be.
 *
 * Specification: c2sp.org/age; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "age_parts.h"
#include "quipu/alloc.h"

struct quipu_age_reader {
    struct age_input input;
    struct age_keys *keys;
    uint8_t *sealed; /* one chunk and the byte behind it */
    size_t sealed_len;
    uint8_t *plain; /* of one chunk, [at, len) not yet taken */
    size_t at;
    size_t len;
    uint64_t number; /* of the next chunk */
    bool is_end;     /* the last chunk was opened */
    enum quipu_status failed;
    struct quipu_error failure;
};

/* ------------------------------------------------------------------ file key */

static enum quipu_status open_scrypt(struct age_keys *keys, const struct age_stanza *stanza,
                                     const struct quipu_age_secrets *secrets, unsigned limit,
                                     struct quipu_error *err)
{
    if (secrets->passphrase == NULL) {
        return quipu_error_set(err, QUIPU_AGE_NO_MATCH,
                               "this age file is encrypted to a passphrase, and none was given");
    }
    if (stanza->work_factor > limit) {
        return quipu_error_set(err, QUIPU_AGE_WORK_FACTOR,
                               "this age file asks for scrypt with a work factor of %s%u; the "
                               "limit is %u",
                               stanza->work_factor >= 1000 ? "at least " : "", stanza->work_factor,
                               limit);
    }
    enum quipu_status status =
        age_derive_scrypt(keys, secrets, stanza->share, stanza->work_factor, err);
    if (status == QUIPU_OK && !age_open_file_key(keys, stanza->body)) {
        status =
            quipu_error_set(err, QUIPU_AGE_NO_MATCH, "the passphrase does not open this age file");
    }
    return status;
}

static enum quipu_status no_match(const struct age_header *header,
                                  const struct quipu_age_secrets *secrets, struct quipu_error *err)
{
    if (header->has_unsupported || secrets->has_unsupported) {
        return quipu_error_set(err, QUIPU_AGE_UNSUPPORTED,
                               "no X25519 identity opens this age file, and %s of a type that is "
                               "not supported",
                               header->has_unsupported ? "it has recipients"
                                                       : "the others given are");
    }
    return quipu_error_set(err, QUIPU_AGE_NO_MATCH,
                           "none of the %zu identities given opens this age file (%zu stanzas)",
                           secrets->count, header->stanza_count);
}

/* keys->file_key by whatever of `secrets` opens a stanza. */
static enum quipu_status find_file_key(struct age_keys *keys, const struct age_header *header,
                                       const struct quipu_age_secrets *secrets, unsigned limit,
                                       struct quipu_error *err)
{
    for (size_t i = 0; i < age_header_count(header); i++) {
        struct age_stanza stanza;
        age_header_stanza(header, i, &stanza);
        if (stanza.type == AGE_STANZA_SCRYPT) {
            return open_scrypt(keys, &stanza, secrets, limit, err);
        }
        for (size_t j = 0; j < secrets->count; j++) {
            enum age_unwrapped unwrapped =
                age_unwrap_x25519(keys, &secrets->identities[j], stanza.share, stanza.body);
            if (unwrapped == AGE_LOW_ORDER) {
                return quipu_error_set(err, QUIPU_AGE_HEADER,
                                       "age header: X25519 stanza %zu has a point of low order",
                                       i + 1);
            }
            if (unwrapped == AGE_UNWRAPPED) {
                return QUIPU_OK;
            }
        }
    }
    return no_match(header, secrets, err);
}

static enum quipu_status check_mac(struct age_keys *keys, const struct age_header *header,
                                   struct quipu_error *err)
{
    uint8_t mac[AGE_MAC_BYTES];
    age_header_mac(keys, quipu_slice(header->text.data, header->mac_at), mac);
    return sodium_memcmp(mac, header->mac, sizeof mac) == 0
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_AGE_MAC,
                                 "the header of this age file is not as it was written: its MAC "
                                 "differs");
}

/* ------------------------------------------------------------------ payload */

static enum quipu_status refuse(const struct quipu_age_reader *reader, enum quipu_status status,
                                uint64_t offset, const char *what, struct quipu_error *err)
{
    return quipu_error_set_at(err, status, offset, "age payload, chunk %" PRIu64 ": %s",
                              reader->number, what);
}

/* The chunk does not open as it should. Does it as what it should not be? Its plaintext is not
 * kept. */
static enum quipu_status refuse_chunk(struct quipu_age_reader *reader, struct quipu_slice sealed,
                                      bool is_last, uint64_t offset, struct quipu_error *err)
{
    bool is_other = age_open_chunk(reader->keys, reader->number, !is_last, sealed, reader->plain);
    sodium_memzero(reader->plain, QUIPU_AGE_CHUNK_BYTES);
    if (!is_other) {
        return refuse(reader, QUIPU_AGE_PAYLOAD, offset,
                      is_last ? "it was changed, or the file is cut off in it" : "it was changed",
                      err);
    }
    if (is_last && sealed.len == AGE_SEALED_BYTES) {
        return refuse(reader, QUIPU_AGE_TRUNCATED, offset,
                      "the file ends behind it, and it is not the last", err);
    }
    return refuse(reader, QUIPU_AGE_PAYLOAD, offset,
                  is_last ? "it is short, and not the last" : "bytes follow the last one", err);
}

/* Open the next chunk into `into`, which has room for a whole one. */
static enum quipu_status next_chunk(struct quipu_age_reader *reader, uint8_t *into, size_t *len,
                                    struct quipu_error *err)
{
    size_t got = 0;
    uint64_t offset = reader->input.taken - reader->sealed_len;
    enum quipu_status status = age_input_read(&reader->input, reader->sealed + reader->sealed_len,
                                              AGE_SEALED_BYTES + 1 - reader->sealed_len, &got, err);
    if (status != QUIPU_OK) {
        return status;
    }
    size_t have = reader->sealed_len + got;
    bool is_last = have <= AGE_SEALED_BYTES;
    struct quipu_slice sealed = quipu_slice(reader->sealed, is_last ? have : AGE_SEALED_BYTES);
    if (sealed.len < AGE_TAG_BYTES) {
        return refuse(reader, QUIPU_AGE_TRUNCATED, offset, "the file ends before it, or in it",
                      err);
    }
    if (!age_open_chunk(reader->keys, reader->number, is_last, sealed, into)) {
        return refuse_chunk(reader, sealed, is_last, offset, err);
    }
    /* One plaintext has one ciphertext only where the last chunk is not empty. */
    if (is_last && sealed.len == AGE_TAG_BYTES && reader->number > 0) {
        return refuse(reader, QUIPU_AGE_PAYLOAD, offset, "it is the last and empty", err);
    }
    *len = sealed.len - AGE_TAG_BYTES;
    reader->is_end = is_last;
    reader->number++;
    reader->sealed[0] = reader->sealed[AGE_SEALED_BYTES];
    reader->sealed_len = is_last ? 0 : 1;
    return QUIPU_OK;
}

static enum quipu_status reader_fill(struct quipu_age_reader *reader, uint8_t *into, size_t *len,
                                     struct quipu_error *err)
{
    if (reader->failed == QUIPU_OK) {
        reader->failed = next_chunk(reader, into, len, &reader->failure);
    }
    if (reader->failed != QUIPU_OK && err != NULL) {
        *err = reader->failure;
    }
    return reader->failed;
}

static enum quipu_status reader_read(void *ctx, void *into, size_t cap, size_t *got,
                                     struct quipu_error *err)
{
    struct quipu_age_reader *reader = ctx;
    if (reader->at == reader->len && !reader->is_end) {
        if (cap >= QUIPU_AGE_CHUNK_BYTES) {
            return reader_fill(reader, into, got, err);
        }
        reader->at = 0;
        reader->len = 0;
        enum quipu_status status = reader_fill(reader, reader->plain, &reader->len, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    size_t rest = reader->len - reader->at;
    size_t take = rest < cap ? rest : cap;
    if (take > 0) {
        memcpy(into, reader->plain + reader->at, take);
    }
    reader->at += take;
    *got = take;
    return QUIPU_OK;
}

struct quipu_source quipu_age_reader_source(struct quipu_age_reader *reader)
{
    return (struct quipu_source){reader_read, reader};
}

/* ------------------------------------------------------------------ open, close */

static enum quipu_status read_nonce(struct quipu_age_reader *reader, struct quipu_error *err)
{
    uint8_t nonce[AGE_NONCE_BYTES];
    size_t got = 0;
    enum quipu_status status = age_input_read(&reader->input, nonce, sizeof nonce, &got, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (got < sizeof nonce) {
        return quipu_error_set_at(err, QUIPU_AGE_HEADER, reader->input.taken,
                                  "age header: the file ends before the payload's nonce, or in it");
    }
    age_derive_payload_key(reader->keys, nonce);
    return QUIPU_OK;
}

static enum quipu_status reader_start(struct quipu_age_reader *reader, struct quipu_source source,
                                      const struct quipu_age_secrets *secrets, unsigned limit,
                                      struct quipu_error *err)
{
    struct age_header header = {.mac_at = 0};
    bool is_locked = true;
    enum quipu_status status = age_input_init(&reader->input, source, err);
    if (status != QUIPU_OK) {
        return status;
    }
    reader->keys = age_secret_alloc(sizeof *reader->keys, &is_locked);
    reader->sealed = quipu_alloc(AGE_SEALED_BYTES + 1, 1);
    reader->plain = quipu_alloc(QUIPU_AGE_CHUNK_BYTES, 1);
    if (reader->keys == NULL || reader->sealed == NULL || reader->plain == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to read an age file");
    }
    status = age_header_read(&reader->input, &header, err);
    if (status == QUIPU_OK) {
        status = find_file_key(reader->keys, &header, secrets, limit, err);
    }
    if (status == QUIPU_OK) {
        status = check_mac(reader->keys, &header, err);
    }
    if (status == QUIPU_OK) {
        status = read_nonce(reader, err);
    }
    age_header_release(&header);
    return status;
}

enum quipu_status quipu_age_reader_open(struct quipu_source source,
                                        const struct quipu_age_secrets *secrets,
                                        const struct quipu_age_read_options *options,
                                        struct quipu_age_reader **out, struct quipu_error *err)
{
    unsigned limit =
        secrets->work_factor_max != 0 ? secrets->work_factor_max : QUIPU_AGE_SCRYPT_LOG_MAX;
    if (options != NULL && options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "options of an age reader have another size");
    }
    if (options != NULL && options->work_factor_max != 0) {
        limit = options->work_factor_max;
    }
    if (limit > QUIPU_AGE_SCRYPT_LOG_CEILING) {
        return quipu_error_set(err, QUIPU_INVALID, "scrypt work factor %u; at most %d", limit,
                               QUIPU_AGE_SCRYPT_LOG_CEILING);
    }
    enum quipu_status status = age_start(err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_age_reader *reader = quipu_alloc_zero(1, sizeof *reader);
    if (reader == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to read an age file");
    }
    status = reader_start(reader, source, secrets, limit, err);
    if (status != QUIPU_OK) {
        quipu_age_reader_close(&reader);
        return status;
    }
    *out = reader;
    return QUIPU_OK;
}

void quipu_age_reader_close(struct quipu_age_reader **reader)
{
    struct quipu_age_reader *old = *reader;
    *reader = NULL;
    if (old == NULL) {
        return;
    }
    age_secret_free(old->keys);
    if (old->plain != NULL) {
        sodium_memzero(old->plain, QUIPU_AGE_CHUNK_BYTES);
    }
    quipu_free(old->plain);
    quipu_free(old->sealed);
    age_input_release(&old->input);
    quipu_free(old);
}
