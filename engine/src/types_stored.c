/*
 * The store's registry in memory, so that every program that appends is held to it and none reads
 * it anew for each event.
 *
 * It is looked at in the write transaction that appends: what was declared before is in force
 * there, whoever declared it, and no other transaction is needed. The look is one search in a table
 * and a comparison of the row with the bytes that were decoded last. Events are checked before
 * that, outside of any lock, against the registry as it was seen last; only where it has changed
 * since are they checked again.
 *
 * Never writes the registry (types_store.c does).
 *
 * Specification: docs/SPEC.md §7.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "types_stored.h"

#include "quipu/alloc.h"
#include "tables.h"
#include "types_impl.h"

struct stored_types {
    _Atomic uint32_t holders;
    struct quipu_types *types;
    struct quipu_buf block; /* as it is in the store */
};

void types_stored_give_back(struct stored_types *stored)
{
    if (stored == NULL || atomic_fetch_sub(&stored->holders, 1) > 1) {
        return;
    }
    quipu_types_free(stored->types);
    quipu_buf_release(&stored->block);
    quipu_free(stored);
}

struct stored_types *types_stored_hold(struct quipu_engine *engine)
{
    (void)pthread_mutex_lock(&engine->types_lock); /* a default mutex */
    struct stored_types *stored = engine->stored_types;
    if (stored != NULL) {
        atomic_fetch_add(&stored->holders, 1);
    }
    (void)pthread_mutex_unlock(&engine->types_lock); /* as above */
    return stored;
}

/* Put `stored` (NULL: none) in the place of what was seen before; the engine holds it from now. */
static void stored_replace(struct quipu_engine *engine, struct stored_types *stored)
{
    (void)pthread_mutex_lock(&engine->types_lock); /* a default mutex */
    struct stored_types *before = engine->stored_types;
    engine->stored_types = stored;
    (void)pthread_mutex_unlock(&engine->types_lock); /* as above */
    types_stored_give_back(before);
}

static enum quipu_status stored_read(struct quipu_slice block, struct stored_types **out,
                                     struct quipu_error *err)
{
    struct stored_types *stored = quipu_alloc_zero(1, sizeof *stored);
    if (stored == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "types: out of memory");
    }
    atomic_store(&stored->holders, 1);
    quipu_buf_append(&stored->block, block.data, block.len);
    enum quipu_status status =
        stored->block.status == QUIPU_OK
            ? types_block_read(block, &stored->types, err)
            : quipu_error_set(err, QUIPU_NO_MEMORY, "types: out of memory for a registry");
    if (status != QUIPU_OK) {
        types_stored_give_back(stored);
        return status;
    }
    *out = stored;
    return QUIPU_OK;
}

enum quipu_status types_stored_look(struct quipu_engine *engine, struct quipu_txn *txn,
                                    struct stored_types **out, struct quipu_error *err)
{
    *out = NULL;
    if (!engine->asks_stored_types) {
        return QUIPU_OK;
    }
    /* Mostly there is none, and the line that says so would take longer than the look. */
    struct quipu_slice block;
    enum quipu_status status = types_row_get(txn, &block, NULL);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return types_row_get(txn, &block, err);
    }
    /* Only the holder of a write transaction replaces it, so it stays between here and there. */
    struct stored_types *stored = types_stored_hold(engine);
    bool is_same = status == QUIPU_OK
                       ? stored != NULL && quipu_slice_equal(quipu_buf_slice(&stored->block), block)
                       : stored == NULL;
    if (is_same) {
        *out = stored;
        return QUIPU_OK;
    }
    types_stored_give_back(stored);
    stored = NULL;
    if (status == QUIPU_OK) {
        status = stored_read(block, &stored, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    stored_replace(engine, stored);
    *out = types_stored_hold(engine);
    return QUIPU_OK;
}

const struct quipu_types *types_in_force(const struct quipu_engine *engine,
                                         const struct stored_types *stored)
{
    return stored != NULL ? stored->types : engine->types;
}
