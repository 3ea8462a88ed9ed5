/*
 * Who records: the Ed25519 key in the store's folder and the row that counts what it has recorded.
 *
 * The row names a source and the last number it gave out. The key in the folder decides:
 *   no key                     a new one is made; a row that is there belongs to a lost key (the
 *                              store was restored from a backup, which holds no key), so the new
 *                              source starts at 1 and cannot fork the old one
 *   key of the row's source    goes on from the row
 *   key of another source      goes on from that source's last number here, 0 where it has none
 * A backup says of itself that it is one (quipu_txn_backup_mark). Put back into the folder that it
 * was made from, it finds there the key of a source that has given out more numbers than the backup
 * knows of; so a key that is there is retired, whosesoever it is: the backup cannot know what has
 * recorded under it since. First the old key is renamed, then the new one is made, and the mark
 * goes with the commit of the row of the new source. A kill in between leaves the mark, and the
 * next one begins again.
 *
 * Numbers of sources that are no longer the store's own stay in rows of their own.
 *
 * A wrapped key does not say whose it is. It is taken for that of the row, which nothing but a
 * signature depends on, and is held against the row when it is opened; where there is no row yet,
 * it must be opened before the first event. The store remembers that its key is wrapped: where that
 * file is gone, nobody is there to wrap the new key, and whoever is in front of it is told that it
 * is plain (quipu_identity_was_wrapped).
 *
 * A plain key is read for each signature and wiped after it; what is kept is the public text.
 *
 * Specification: docs/SPEC.md §3, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "identity.h"

#include <sodium.h>
#include <string.h>

#include "identity_file.h"
#include "identity_opened.h"
#include "internal/bytes.h"
#include "numbers.h"
#include "tables.h"

#define ROW_BYTES (NKEY_PUBLIC_CHARS + 8)

/* ------------------------------------------------------------------ rows */

enum quipu_status identity_row_get(struct quipu_txn *txn, struct identity_row *out,
                                   struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_META, quipu_slice_text(META_SOURCE), &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (value.len != ROW_BYTES ||
        !nkey_looks_like_source(quipu_slice(value.data, NKEY_PUBLIC_CHARS))) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "meta row %s: expected %d bytes that begin with "
                               "a source, found %zu bytes",
                               META_SOURCE, ROW_BYTES, value.len);
    }
    memcpy(out->source, value.data, NKEY_PUBLIC_CHARS);
    out->source[NKEY_PUBLIC_CHARS] = 0;
    out->last_seq = quipu_load_be64(value.data + NKEY_PUBLIC_CHARS);
    return QUIPU_OK;
}

enum quipu_status identity_row_put(struct quipu_txn *txn, const struct identity_row *row,
                                   struct quipu_error *err)
{
    uint8_t value[ROW_BYTES];
    memcpy(value, row->source, NKEY_PUBLIC_CHARS);
    quipu_store_be64(value + NKEY_PUBLIC_CHARS, row->last_seq);
    return quipu_txn_table_put(txn, TABLE_META, quipu_slice_text(META_SOURCE),
                               quipu_slice(value, sizeof value), err);
}

/* "past_source/U…" */
static struct quipu_slice past_key(const char *source,
                                   char storage[sizeof META_PAST_SOURCE + QUIPU_SOURCE_TEXT_BYTES])
{
    memcpy(storage, META_PAST_SOURCE, sizeof META_PAST_SOURCE - 1);
    memcpy(storage + sizeof META_PAST_SOURCE - 1, source, QUIPU_SOURCE_TEXT_BYTES);
    return quipu_slice_text(storage);
}

enum quipu_status identity_numbers_join(struct quipu_txn *txn, struct identity_row *row,
                                        struct quipu_error *err)
{
    uint64_t last = 0;
    enum quipu_status status = numbers_last(txn, quipu_slice_text(row->source), &last, err);
    if (status == QUIPU_OK && last > row->last_seq) {
        row->last_seq = last;
    }
    return status;
}

enum quipu_status identity_last_given(struct quipu_txn *txn, struct quipu_slice source,
                                      uint64_t *last, struct quipu_error *err)
{
    struct identity_row row;
    enum quipu_status status = identity_row_get(txn, &row, err);
    if (status == QUIPU_OK && quipu_slice_equal(source, quipu_slice_text(row.source))) {
        *last = row.last_seq;
        return QUIPU_OK;
    }
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    char text[QUIPU_SOURCE_TEXT_BYTES] = {0};
    char key[sizeof META_PAST_SOURCE + QUIPU_SOURCE_TEXT_BYTES];
    memcpy(text, source.data, NKEY_PUBLIC_CHARS);
    (void)past_key(text, key);
    return meta_get_u64(txn, key, last, err);
}

/* Put the row of `source` in the place of `old` (NULL: there was none). */
static enum quipu_status row_switch(struct quipu_txn *txn, const struct identity_row *old,
                                    const char *source, struct identity_row *out,
                                    struct quipu_error *err)
{
    char key[sizeof META_PAST_SOURCE + QUIPU_SOURCE_TEXT_BYTES];
    if (old != NULL) {
        uint8_t last[8];
        quipu_store_be64(last, old->last_seq);
        enum quipu_status status = quipu_txn_table_put(txn, TABLE_META, past_key(old->source, key),
                                                       quipu_slice(last, sizeof last), err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    struct identity_row row;
    memcpy(row.source, source, sizeof row.source);
    (void)past_key(source, key);
    enum quipu_status status = meta_get_u64(txn, key, &row.last_seq, err);
    if (status != QUIPU_OK) {
        return status;
    }
    *out = row;
    return identity_row_put(txn, &row, err);
}

/* ------------------------------------------------------------------ the key */

static enum quipu_status sodium_ready(struct quipu_error *err)
{
    /* 1: done before. Threads may race here; libsodium sees to it. */
    if (sodium_init() < 0) {
        return quipu_error_set(err, QUIPU_NO_RANDOM, "libsodium cannot start");
    }
    return QUIPU_OK;
}

static void seed_to_source(const uint8_t seed[NKEY_SEED_BYTES], char out[QUIPU_SOURCE_TEXT_BYTES])
{
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
    (void)crypto_sign_seed_keypair(public_key, secret_key, seed); /* always 0 */
    sodium_memzero(secret_key, sizeof secret_key);
    quipu_nkey_format('U', public_key, out);
}

/* Source of the key in the folder. @retval QUIPU_KEY_LOCKED  it is wrapped, so does not say */
static enum quipu_status source_of_file(const struct quipu_engine *engine,
                                        char out[QUIPU_SOURCE_TEXT_BYTES], struct quipu_error *err)
{
    enum quipu_status status = sodium_ready(err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t seed[NKEY_SEED_BYTES];
    status = identity_file_read(quipu_store_folder(engine->store), quipu_store_path(engine->store),
                                seed, err);
    if (status == QUIPU_OK) {
        seed_to_source(seed, out);
    }
    sodium_memzero(seed, sizeof seed);
    return status;
}

static enum quipu_status key_make(const struct quipu_engine *engine,
                                  char out[QUIPU_SOURCE_TEXT_BYTES], struct quipu_error *err)
{
    uint8_t seed[NKEY_SEED_BYTES];
    enum quipu_status status = engine->random.fill(engine->random.ctx, seed, sizeof seed, err);
    if (status == QUIPU_OK) {
        status = identity_file_write(quipu_store_folder(engine->store),
                                     quipu_store_path(engine->store), seed, err);
    }
    if (status == QUIPU_OK) {
        seed_to_source(seed, out);
    }
    sodium_memzero(seed, sizeof seed);
    return status;
}

/* A key that nobody has recorded under. What this engine made for a transaction that then failed is
 * one: it knows no source before it has seen the mark cleared or made a key under it. */
static enum quipu_status key_renew(const struct quipu_engine *engine,
                                   char out[QUIPU_SOURCE_TEXT_BYTES], struct quipu_error *err)
{
    if (engine->source[0] != 0 && source_of_file(engine, out, NULL) == QUIPU_OK &&
        strcmp(engine->source, out) == 0) {
        return QUIPU_OK;
    }
    enum quipu_status status = identity_file_retire(quipu_store_folder(engine->store),
                                                    quipu_store_path(engine->store), err);
    return status == QUIPU_OK ? key_make(engine, out, err) : status;
}

/* Source of a wrapped key; `row` NULL: there is none. */
static enum quipu_status source_of_wrapped(struct quipu_engine *engine,
                                           const struct identity_row *row,
                                           char out[QUIPU_SOURCE_TEXT_BYTES],
                                           struct quipu_error *err)
{
    if (row == NULL && identity_opened_source(engine, out, NULL) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_KEY_LOCKED,
                               "%s/" IDENTITY_FILE " is wrapped, and nothing was recorded under it "
                               "yet; open it once with `quipu keygen --public`",
                               quipu_store_path(engine->store));
    }
    if (row == NULL) {
        return QUIPU_OK;
    }
    memcpy(out, row->source, sizeof row->source);
    return QUIPU_OK;
}

static enum quipu_status wrapped_remember(struct quipu_txn *txn, bool is_wrapped,
                                          struct quipu_error *err)
{
    uint64_t was_wrapped = 0;
    enum quipu_status status = meta_get_u64(txn, META_KEY_WRAPPED, &was_wrapped, err);
    return status == QUIPU_OK && (was_wrapped != 0) != is_wrapped
               ? meta_put_u64(txn, META_KEY_WRAPPED, is_wrapped, err)
               : status;
}

/* The source to record under; its key is in the folder then. `row` NULL: there is none. */
static enum quipu_status source_take(struct quipu_engine *engine, struct quipu_txn *txn,
                                     const struct identity_row *row,
                                     char out[QUIPU_SOURCE_TEXT_BYTES], struct quipu_error *err)
{
    bool is_backup = false;
    enum quipu_status status = quipu_txn_backup_mark(txn, &is_backup, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (is_backup) {
        status = key_renew(engine, out, err);
        return status == QUIPU_OK ? quipu_txn_backup_mark_clear(txn, err) : status;
    }
    status = source_of_file(engine, out, err);
    bool is_wrapped = status == QUIPU_KEY_LOCKED;
    if (status == QUIPU_NOT_FOUND) {
        return key_make(engine, out, err);
    }
    if (is_wrapped) {
        status = source_of_wrapped(engine, row, out, err);
    }
    return status == QUIPU_OK ? wrapped_remember(txn, is_wrapped, err) : status;
}

bool identity_file_exists(const struct quipu_engine *engine)
{
    return identity_file_is_there(quipu_store_folder(engine->store));
}

enum quipu_status identity_take(struct quipu_engine *engine, struct quipu_txn *txn,
                                struct identity_row *out, struct quipu_error *err)
{
    struct identity_row row;
    enum quipu_status status = identity_row_get(txn, &row, err);
    bool has_row = status == QUIPU_OK;
    if (!has_row && status != QUIPU_NOT_FOUND) {
        return status;
    }
    /* The usual way: this engine has seen that key before. */
    if (has_row && strcmp(row.source, engine->source) == 0) {
        *out = row;
        return identity_count_check(txn, &engine->looked, out, err);
    }
    char source[QUIPU_SOURCE_TEXT_BYTES];
    status = source_take(engine, txn, has_row ? &row : NULL, source, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!has_row || strcmp(row.source, source) != 0) {
        status = row_switch(txn, has_row ? &row : NULL, source, &row, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    uint64_t given = row.last_seq;
    engine->looked = (struct identity_looked){.position = 0};
    status = identity_numbers_join(txn, &row, err);
    if (status == QUIPU_OK) {
        status = identity_count_check(txn, &engine->looked, &row, err);
    }
    if (status == QUIPU_OK && row.last_seq != given) {
        status = identity_row_put(txn, &row, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    memcpy(engine->source, source, sizeof source);
    *out = row;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ public */

/* Is the row that of the key in the folder, and may be gone on from? */
static enum quipu_status identity_is_ready(struct quipu_engine *engine, bool *is_ready,
                                           struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_status status = source_of_file(engine, source, err);
    if (status == QUIPU_NOT_FOUND) {
        *is_ready = false;
        return QUIPU_OK;
    }
    bool is_wrapped = status == QUIPU_KEY_LOCKED;
    if (status != QUIPU_OK && !is_wrapped) {
        return status;
    }
    struct quipu_txn *txn = NULL;
    status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct identity_row row;
    bool is_backup = false;
    uint64_t was_wrapped = 0;
    status = quipu_txn_backup_mark(txn, &is_backup, err);
    if (status == QUIPU_OK) {
        status = meta_get_u64(txn, META_KEY_WRAPPED, &was_wrapped, err);
    }
    if (status == QUIPU_OK) {
        status = identity_row_get(txn, &row, err);
    }
    quipu_txn_abort(&txn);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    *is_ready = status == QUIPU_OK && !is_backup && is_wrapped == (was_wrapped != 0) &&
                (is_wrapped || strcmp(row.source, source) == 0);
    return QUIPU_OK;
}

enum quipu_status quipu_identity_ensure(struct quipu_engine *engine, struct quipu_error *err)
{
    bool is_ready = false;
    enum quipu_status status = identity_is_ready(engine, &is_ready, err);
    if (status != QUIPU_OK || is_ready) {
        return status;
    }
    struct quipu_txn *txn = NULL;
    status = quipu_txn_begin_write(engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* Whatever this engine knew is out of date. */
    engine->source[0] = 0;
    struct identity_row row;
    status = identity_take(engine, txn, &row, err);
    if (status != QUIPU_OK) {
        quipu_txn_abort(&txn);
        return status;
    }
    return quipu_txn_commit(&txn, err);
}

/* The row as it is now. @retval QUIPU_NOT_FOUND */
static enum quipu_status row_read(struct quipu_engine *engine, struct identity_row *out,
                                  struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = identity_row_get(txn, out, err);
    quipu_txn_abort(&txn);
    return status;
}

/* May a signature be asked for? */
static enum quipu_status opened_check(struct quipu_engine *engine, struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_identity_state state;
    enum quipu_status status = quipu_identity_state(engine, &state, err);
    return status == QUIPU_OK && state == QUIPU_IDENTITY_LOCKED
               ? identity_opened_source(engine, source, err)
               : status;
}

enum quipu_status quipu_identity_ensure_first(struct quipu_engine *engine, struct quipu_error *err)
{
    if (identity_file_exists(engine)) {
        enum quipu_status status = quipu_identity_ensure(engine, err);
        return status == QUIPU_OK ? opened_check(engine, err) : status;
    }
    struct identity_row row;
    enum quipu_status status = row_read(engine, &row, err);
    if (status == QUIPU_NOT_FOUND) {
        return quipu_identity_ensure(engine, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    return quipu_error_set(err, QUIPU_NOT_FOUND,
                           "%s/" IDENTITY_FILE ", the key of source %s, is gone: put it back; or "
                           "append an event, and the store goes on under a new source",
                           quipu_store_path(engine->store), row.source);
}

enum quipu_status quipu_identity_source(struct quipu_engine *engine,
                                        char out[QUIPU_SOURCE_TEXT_BYTES], struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_status status = source_of_file(engine, source, err);
    if (status == QUIPU_KEY_LOCKED) {
        struct identity_row row;
        status = row_read(engine, &row, err);
        if (status == QUIPU_OK || status == QUIPU_NOT_FOUND) {
            status = source_of_wrapped(engine, status == QUIPU_OK ? &row : NULL, source, err);
        }
    }
    if (status == QUIPU_OK) {
        memcpy(out, source, sizeof source);
    }
    return status;
}

enum quipu_status quipu_identity_state(struct quipu_engine *engine, enum quipu_identity_state *out,
                                       struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_status status = source_of_file(engine, source, err);
    switch ((int)status) {
    case QUIPU_OK:
        *out = QUIPU_IDENTITY_PLAIN;
        return QUIPU_OK;
    case QUIPU_NOT_FOUND:
        *out = QUIPU_IDENTITY_ABSENT;
        return QUIPU_OK;
    case QUIPU_KEY_LOCKED:
        *out = identity_opened_source(engine, source, NULL) == QUIPU_OK ? QUIPU_IDENTITY_OPENED
                                                                        : QUIPU_IDENTITY_LOCKED;
        return QUIPU_OK;
    default:
        return status;
    }
}

enum quipu_status quipu_identity_was_wrapped(struct quipu_engine *engine, bool *out,
                                             struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    uint64_t was_wrapped = 0;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = meta_get_u64(txn, META_KEY_WRAPPED, &was_wrapped, err);
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        *out = was_wrapped != 0;
    }
    return status;
}

/* Is `source`, whose key was opened, the one that the store records under? */
static enum quipu_status opened_compare(struct quipu_engine *engine, const char *source,
                                        struct quipu_error *err)
{
    char own[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_status status = source_of_file(engine, own, err);
    if (status == QUIPU_KEY_LOCKED) {
        struct identity_row row;
        status = row_read(engine, &row, err);
        if (status == QUIPU_NOT_FOUND) {
            return QUIPU_OK; /* the first event will be of this source */
        }
        if (status == QUIPU_OK) {
            memcpy(own, row.source, sizeof own);
        }
    }
    if (status != QUIPU_OK || strcmp(own, source) == 0) {
        return status;
    }
    return quipu_error_set(err, QUIPU_INVALID,
                           "%s/" IDENTITY_FILE " holds the key of source %s, and the store records "
                           "under %s; put that one's key back",
                           quipu_store_path(engine->store), source, own);
}

enum quipu_status quipu_identity_unlock(struct quipu_engine *engine, struct quipu_slice key,
                                        struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t seed[NKEY_SEED_BYTES];
    enum quipu_identity_state state;
    enum quipu_status status = quipu_identity_state(engine, &state, err);
    if (status == QUIPU_OK && state == QUIPU_IDENTITY_ABSENT) {
        status = quipu_error_set(err, QUIPU_NOT_FOUND, "%s has no signing key yet",
                                 quipu_store_path(engine->store));
    }
    if (status != QUIPU_OK) {
        return status;
    }
    size_t chars = key.len == NKEY_SEED_CHARS + 1 && key.data[NKEY_SEED_CHARS] == '\n'
                       ? NKEY_SEED_CHARS
                       : key.len;
    if (nkey_user_seed_parse(quipu_slice(key.data, chars), seed) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "what is wrapped in %s/" IDENTITY_FILE " is not one NKey user seed; "
                               "put the right file back",
                               quipu_store_path(engine->store));
    }
    seed_to_source(seed, source);
    status = opened_compare(engine, source, err);
    if (status == QUIPU_OK && state != QUIPU_IDENTITY_PLAIN) {
        status = identity_opened_put(engine, source, seed, err);
    }
    sodium_memzero(seed, sizeof seed);
    return status;
}

/* The seed of a wrapped key that was opened. Held against the row: a long-lived engine may have
 * opened a key that another process has put away since. */
static enum quipu_status seed_of_opened(struct quipu_engine *engine, uint8_t seed[NKEY_SEED_BYTES],
                                        struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_status status = quipu_identity_source(engine, source, err);
    return status == QUIPU_OK ? identity_opened_seed(engine, source, seed, err) : status;
}

enum quipu_status quipu_identity_sign(struct quipu_engine *engine, struct quipu_slice message,
                                      uint8_t signature[QUIPU_SIGNATURE_BYTES],
                                      struct quipu_error *err)
{
    enum quipu_status status = sodium_ready(err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t seed[NKEY_SEED_BYTES];
    status = identity_file_read(quipu_store_folder(engine->store), quipu_store_path(engine->store),
                                seed, err);
    if (status == QUIPU_KEY_LOCKED) {
        status = seed_of_opened(engine, seed, err);
    }
    if (status == QUIPU_OK) {
        nkey_seed_sign(seed, message, signature);
    }
    sodium_memzero(seed, sizeof seed);
    return status;
}
