/*
 * An engine over a store in a folder of its own, with a clock and randomness that the test owns.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_ENGINE_KIT_H
#define QUIPU_TESTS_ENGINE_KIT_H

#include <stddef.h>

#include "quipu/engine.h"
#include "quipu/event_json.h"
#include "quipu/ingest.h"
#include "quipu/outbox.h"
#include "quipu/projection.h"
#include "quipu/verify.h"
#include "temp_dir.h"

struct kit {
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct quipu_error err;
    int64_t now_unix_us;   /* what the clock says; it stands still */
    uint64_t random_state; /* of the kit's generator */
    struct quipu_buf blocks[8];
    size_t blocks_len;
};

/* A fresh store and engine. The kit must not move afterwards. */
void kit_open(struct kit *kit);
/* Close both and open them again. */
void kit_reopen(struct kit *kit);
/* Close both, keep the folder. */
void kit_shut(struct kit *kit);
/* Close and remove everything. */
void kit_close(struct kit *kit);

/* DAG-CBOR of JSON text. Lives until the kit has made eight more. */
struct quipu_slice kit_block(struct kit *kit, const char *json);

/* An event of type "thing.changed" with the payload {"n": n}. */
struct quipu_event kit_event(struct kit *kit, const char *aggregate_id, int n);

/* Append it; the test fails where that fails. */
struct quipu_appended kit_append(struct kit *kit, const char *aggregate_id, int n);

/* A UUID whose last byte is `n`, never nil for n > 0. */
struct quipu_uuid kit_uuid(uint8_t n);

/* Next number of a generator that starts the same way each time. */
uint64_t kit_random(uint64_t *state);

/* Assert that the store has this many events and that verify finds nothing wrong. */
void kit_assert_sound(struct kit *kit, uint64_t events);

/* Turn one bit of a byte in the data file wherever `word` stands: the one that is `offset` behind
 * its first (-1: the byte before it, so that the same call finds the word again and turns it back).
 */
void kit_damage(struct kit *kit, const char *word, ptrdiff_t offset);
/* The same with these bits of the byte. */
void kit_damage_bits(struct kit *kit, const char *word, ptrdiff_t offset, uint8_t bits);

/* What verify finds, one a line. */
struct kit_findings {
    char text[8192];
    uint64_t count;
    uint64_t first_position;
};
/* Options' `problem`, with the findings as `ctx`. */
void kit_note_problem(void *ctx, uint64_t position, const char *line);

/* A copy of event `position` as another store would send it; release it. */
struct kit_foreign {
    struct quipu_foreign foreign;
    struct quipu_buf envelope;
    struct quipu_buf payload;
};
void kit_foreign_copy(struct kit *kit, uint64_t position, struct kit_foreign *out);
void kit_foreign_release(struct kit_foreign *foreign);

/* Run `child` in a new process with QUIPU_FAILPOINT set; how it ended, as waitpid says. */
int kit_run_child(const char *failpoint, void (*child)(void *ctx), void *ctx);

#define kit_assert_ok(kit, call) cr_assert_eq((call), QUIPU_OK, "%s", (kit)->err.message)

#endif
