/*
 * When the bucket is asked again for payloads that were missing: a row per event in quarantine, in
 * a table of the store. The pause doubles with every question in vain. All of them are in memory
 * during a pull; they are as few as the events that miss their payload.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PULL_RETRIES_H
#define QUIPU_PULL_RETRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/cid.h"
#include "quipu/engine.h"

#define RETRY_FIRST_US ((int64_t)10 * 1000 * 1000)
#define RETRY_MAX_US   ((int64_t)3600 * 1000 * 1000)

struct retry {
    uint8_t key[QUIPU_CID_BYTES]; /* of the event */
    int64_t next_unix_us;
    uint64_t tries;
    bool is_changed;
    bool is_wanted; /* its event still misses the payload */
};

struct retries {
    struct retry *list; /* in the order of keys */
    size_t count;
    size_t cap;
};

/* @retval QUIPU_CORRUPT, QUIPU_NO_MEMORY, and what the store says */
enum quipu_status quipu_retries_load(struct retries *retries, struct quipu_engine *engine,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* The row of that event; NULL: nobody has asked again yet. */
struct retry *quipu_retries_find(const struct retries *retries, const struct quipu_cid *event);

/* May it be asked for at `now`? Also where the clock has been set back by more than a pause. */
bool quipu_retry_is_due(const struct retry *retry, int64_t now_unix_us);

/* It was asked for at `now`, in vain. @retval QUIPU_NO_MEMORY */
enum quipu_status quipu_retries_note(struct retries *retries, const struct quipu_cid *event,
                                     int64_t now_unix_us, struct quipu_error *err) QUIPU_MUST_CHECK;

/* Write what has changed, and remove what is not wanted; nothing where that is nothing. */
enum quipu_status quipu_retries_save(struct retries *retries, struct quipu_engine *engine,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

void quipu_retries_release(struct retries *retries);

#endif
