/*
 * A record of the log as bytes: 72 bytes of header, the envelope, the payload (SPEC §6.3).
 * Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_RECORD_H
#define QUIPU_STORE_RECORD_H

#include <stdint.h>

#include "quipu/store.h"

#define QUIPU_RECORD_HEADER_BYTES 72

/* Key of an aggregate in `head`: one byte type length, type, id. */
#define QUIPU_HEAD_KEY_BYTES_MAX (1 + QUIPU_AGGREGATE_TYPE_BYTES_MAX + QUIPU_AGGREGATE_ID_BYTES_MAX)

/* Where in the envelope the bytes are that the header does not repeat. */
struct quipu_record_layout {
    size_t value_bytes;
    uint16_t event_id_at;
    uint16_t payload_digest_at;
    uint16_t aggregate_type_at;
    uint16_t aggregate_id_at;
    uint16_t event_type_at;
    uint16_t correlation_id_at;
    uint64_t prev_position;
};

/* Check the limits of `record` but for those of its aggregate, which quipu_head_key has checked,
 * and find in the envelope what the header is to point at. Fails with QUIPU_TOO_LARGE or
 * QUIPU_MISUSE. */
QUIPU_MUST_CHECK enum quipu_status quipu_record_plan(const struct quipu_record_new *record,
                                                     struct quipu_record_layout *out,
                                                     struct quipu_error *err);

/* Write layout->value_bytes bytes. */
void quipu_record_encode(const struct quipu_record_new *record,
                         const struct quipu_record_layout *layout, uint8_t *into);

/* Read a stored record. Fails with QUIPU_CORRUPT. */
QUIPU_MUST_CHECK enum quipu_status quipu_record_decode(struct quipu_slice value, uint64_t position,
                                                       struct quipu_record *out,
                                                       struct quipu_error *err);

/* Write the aggregate's key; its length, or 0 where type or id is empty or over its limit. */
size_t quipu_head_key(struct quipu_aggregate aggregate, uint8_t out[QUIPU_HEAD_KEY_BYTES_MAX]);

static inline bool quipu_aggregate_equal(struct quipu_aggregate a, struct quipu_aggregate b)
{
    return quipu_slice_equal(a.type, b.type) && quipu_slice_equal(a.id, b.id);
}

/* FNV-1a, 64 bits, over a head key: lets the check tell aggregates apart by a number. */
uint64_t quipu_head_key_hash(struct quipu_slice head_key);
uint64_t quipu_aggregate_hash(struct quipu_aggregate aggregate);

/* Hash of a term as the index has it, see entry.h. */
uint32_t quipu_term_hash(enum quipu_term_kind kind, struct quipu_slice value);
/* Hashes of what the record is indexed by; 0 for a correlation of its own. */
void quipu_record_terms(const struct quipu_record *record, uint32_t *type, uint32_t *correlation);

/* The head after one more event; all zero before the first. */
void quipu_head_advance(struct quipu_head *head, uint64_t position, uint64_t version,
                        const struct quipu_cid *envelope_cid);

#endif
