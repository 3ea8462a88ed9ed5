/*
 * The payloads that a reader of a bundle still remembers. A payload that several events share is
 * written once as long as it is in the window: the blocks written last, at most 256 of them and at
 * most 4 MiB together, oldest out first. Writer and reader keep the same window, so a reader of a
 * stream knows, without looking ahead, whether a payload block follows an envelope.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_PAYLOAD_WINDOW_H
#define QUIPU_AIRGAP_PAYLOAD_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/cid.h"
#include "quipu/error.h"
#include "quipu/slice.h"
#include "quipu/store.h"

#define QUIPU_PAYLOAD_WINDOW_BLOCKS 256u
#define QUIPU_PAYLOAD_WINDOW_BYTES  ((size_t)QUIPU_PAYLOAD_BYTES_MAX)

/* Zero-initialised is empty. */
struct quipu_payload_window {
    bool keeps_bytes;                               /* a writer only needs to know what is in it */
    uint64_t prefixes[QUIPU_PAYLOAD_WINDOW_BLOCKS]; /* first 8 bytes of the digest, to look fast */
    struct quipu_payload_slot {
        struct quipu_cid cid;
        uint8_t *bytes;
        size_t len;
    } slots[QUIPU_PAYLOAD_WINDOW_BLOCKS]; /* a ring */
    size_t oldest;
    size_t count;
    size_t bytes; /* sum of the lengths */
};

void quipu_payload_window_release(struct quipu_payload_window *window);

/* True where the payload is in it; its bytes (where kept) live until the next add. */
bool quipu_payload_window_find(const struct quipu_payload_window *window,
                               const struct quipu_cid *cid, struct quipu_slice *bytes);

/* Take in a payload that is not in it and was just written or read, letting the oldest go until
 * both limits hold. A payload over QUIPU_PAYLOAD_WINDOW_BYTES is not taken in. QUIPU_NO_MEMORY. */
QUIPU_MUST_CHECK enum quipu_status quipu_payload_window_add(struct quipu_payload_window *window,
                                                            const struct quipu_cid *cid,
                                                            struct quipu_slice bytes,
                                                            struct quipu_error *err);

#endif
