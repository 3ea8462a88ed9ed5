/*
 * An aggregate's state that is one number, for examples that are about something else: how such a
 * state is made, freed, and kept as a snapshot. command.c shows a kind with a state of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef NUMBER_H
#define NUMBER_H

#include <stdlib.h>

#include "quipu/command.h"
#include "quipu/dagcbor.h"

/* The number that is one member of a payload. */
static inline enum quipu_status number_of(struct quipu_slice payload, const char *member,
                                          uint64_t *out, struct quipu_error *err)
{
    struct quipu_slice item;
    struct quipu_dagcbor_reader reader;
    enum quipu_status status = quipu_dagcbor_map_get(payload, member, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_dagcbor_reader_init(&reader, item);
    return quipu_dagcbor_read_uint(&reader, out, err);
}

static inline enum quipu_status number_create(void *ctx, void **state, struct quipu_error *err)
{
    (void)ctx;
    *state = calloc(1, sizeof(uint64_t));
    return *state != NULL ? QUIPU_OK : quipu_error_set(err, QUIPU_NO_MEMORY, "no memory");
}

static inline void number_destroy(void *ctx, void *state)
{
    (void)ctx;
    free(state);
}

static inline enum quipu_status number_save(void *ctx, const void *state, struct quipu_buf *out,
                                            struct quipu_error *err)
{
    (void)ctx;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_uint(&writer, *(const uint64_t *)state);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static inline enum quipu_status number_restore(void *ctx, void *state, struct quipu_slice saved,
                                               struct quipu_error *err)
{
    (void)ctx;
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, saved);
    return quipu_dagcbor_read_uint(&reader, state, err);
}

#endif
