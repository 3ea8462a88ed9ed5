/*
 * The seed of a wrapped signing key between its opening and the end of the engine: in libsodium's
 * guarded pages, left out of core dumps, locked where the limit of the process allows, wiped when
 * given back. Reads no file and knows no passphrase.
 *
 * Specification: docs/SPEC.md §3.2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "identity_opened.h"

#include <sodium.h>
#include <string.h>

#include "identity.h"
#include "internal/failpoint.h"

static enum quipu_status locked(const struct quipu_engine *engine, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_KEY_LOCKED,
                           "%s/" IDENTITY_FILE " is wrapped and has not been opened; give its "
                           "passphrase",
                           quipu_store_path(engine->store));
}

enum quipu_status identity_opened_source(struct quipu_engine *engine,
                                         char out[QUIPU_SOURCE_TEXT_BYTES], struct quipu_error *err)
{
    (void)pthread_mutex_lock(&engine->opened_lock); /* cannot fail: a plain mutex of ours */
    bool is_there = engine->opened_seed != NULL;
    if (is_there) {
        memcpy(out, engine->opened_source, sizeof engine->opened_source);
    }
    (void)pthread_mutex_unlock(&engine->opened_lock); /* as above */
    return is_there ? QUIPU_OK : locked(engine, err);
}

enum quipu_status identity_opened_seed(struct quipu_engine *engine, const char *source,
                                       uint8_t seed[NKEY_SEED_BYTES], struct quipu_error *err)
{
    (void)pthread_mutex_lock(&engine->opened_lock); /* cannot fail: a plain mutex of ours */
    bool is_there = engine->opened_seed != NULL && strcmp(engine->opened_source, source) == 0;
    if (is_there) {
        memcpy(seed, engine->opened_seed, NKEY_SEED_BYTES);
    }
    (void)pthread_mutex_unlock(&engine->opened_lock); /* as above */
    return is_there ? QUIPU_OK : locked(engine, err);
}

enum quipu_status identity_opened_put(struct quipu_engine *engine, const char *source,
                                      const uint8_t seed[NKEY_SEED_BYTES], struct quipu_error *err)
{
    /* sodium_malloc locks the pages too; where the system does not let it, they are still guarded,
     * and it is for the program to warn. */
    bool is_armed = quipu_failpoint("engine.identity.secret", NULL) != QUIPU_OK;
    uint8_t *pages = is_armed ? NULL : sodium_malloc(NKEY_SEED_BYTES);
    if (pages == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the signing key");
    }
    memcpy(pages, seed, NKEY_SEED_BYTES);
    (void)pthread_mutex_lock(&engine->opened_lock); /* cannot fail: a plain mutex of ours */
    uint8_t *before = engine->opened_seed;
    engine->opened_seed = pages;
    memcpy(engine->opened_source, source, sizeof engine->opened_source);
    (void)pthread_mutex_unlock(&engine->opened_lock); /* as above */
    sodium_free(before);                              /* wipes it; NULL is fine */
    return QUIPU_OK;
}

void identity_opened_release(struct quipu_engine *engine)
{
    sodium_free(engine->opened_seed); /* as above */
    engine->opened_seed = NULL;
}
