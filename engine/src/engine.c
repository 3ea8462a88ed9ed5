/*
 * Opening and closing an engine. It starts no thread and touches no file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine_impl.h"

#include "identity_opened.h"
#include "quipu/alloc.h"
#include "scratch.h"
#include "types_stored.h"

static enum quipu_status options_check(const struct quipu_engine_options *options,
                                       struct quipu_error *err)
{
    if (options != NULL && options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "engine options: size %zu, expected %zu; start from "
                               "QUIPU_ENGINE_OPTIONS_INIT",
                               options->size, sizeof *options);
    }
    return QUIPU_OK;
}

/* The plain locks, in the order in which they are made. */
#define LOCKS 4

static pthread_mutex_t *lock_at(struct quipu_engine *engine, size_t i)
{
    pthread_mutex_t *const locks[LOCKS] = {&engine->ids_lock, &engine->scratch_lock,
                                           &engine->types_lock, &engine->opened_lock};
    return locks[i];
}

/* Of the plain locks the first `count`. Nobody holds one: no call is in progress. */
static void locks_release(struct quipu_engine *engine, size_t count)
{
    while (count > 0) {
        (void)pthread_mutex_destroy(lock_at(engine, --count)); /* fails for a held one only */
    }
    append_queue_release(&engine->queue);
}

static enum quipu_status locks_init(struct quipu_engine *engine)
{
    if (append_queue_init(&engine->queue) != 0) {
        return QUIPU_NO_MEMORY;
    }
    for (size_t i = 0; i < LOCKS; i++) {
        if (pthread_mutex_init(lock_at(engine, i), NULL) != 0) {
            locks_release(engine, i);
            return QUIPU_NO_MEMORY;
        }
    }
    return QUIPU_OK;
}

enum quipu_status quipu_engine_open(struct quipu_store *store,
                                    const struct quipu_engine_options *options,
                                    struct quipu_engine **out, struct quipu_error *err)
{
    if (store == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "engine: no store, or nowhere to put the handle");
    }
    enum quipu_status status = options_check(options, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_engine *engine = quipu_alloc_zero(1, sizeof *engine);
    if (engine == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "engine: out of memory");
    }
    engine->store = store;
    engine->clock =
        options != NULL && options->clock != NULL ? *options->clock : quipu_clock_system();
    engine->random =
        options != NULL && options->random != NULL ? *options->random : quipu_random_system();
    engine->types = options != NULL ? options->types : NULL;
    engine->asks_stored_types =
        engine->types == NULL && (options == NULL || !options->ignores_stored_types);
    if (quipu_buf_reserve(&engine->envelope, QUIPU_ENVELOPE_BYTES_MAX) == NULL ||
        locks_init(engine) != QUIPU_OK) {
        quipu_buf_release(&engine->envelope);
        quipu_free(engine);
        return quipu_error_set(err, QUIPU_NO_MEMORY, "engine: out of memory");
    }
    *out = engine;
    return QUIPU_OK;
}

void quipu_engine_close(struct quipu_engine **engine)
{
    struct quipu_engine *closing = *engine;
    *engine = NULL;
    if (closing == NULL) {
        return;
    }
    append_scratch_release(closing);
    types_stored_give_back(closing->stored_types);
    identity_opened_release(closing);
    locks_release(closing, LOCKS);
    quipu_buf_release(&closing->envelope);
    quipu_free(closing);
}

struct quipu_store *quipu_engine_store(const struct quipu_engine *engine)
{
    return engine->store;
}

enum quipu_status engine_last_position(const struct quipu_engine *engine, uint64_t *out,
                                       struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        *out = quipu_txn_last_position(txn);
    }
    quipu_txn_abort(&txn);
    return status;
}
