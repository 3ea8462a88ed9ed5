/*
 * A ring of the payloads seen last. Pure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "payload_window.h"

#include <string.h>

#include "internal/bytes.h"
#include "quipu/alloc.h"

static void window_drop_oldest(struct quipu_payload_window *window)
{
    struct quipu_payload_slot *slot = &window->slots[window->oldest];
    window->bytes -= slot->len;
    quipu_free(slot->bytes);
    *slot = (struct quipu_payload_slot){0};
    window->oldest = (window->oldest + 1) % QUIPU_PAYLOAD_WINDOW_BLOCKS;
    window->count--;
}

void quipu_payload_window_release(struct quipu_payload_window *window)
{
    while (window->count > 0) {
        window_drop_oldest(window);
    }
}

bool quipu_payload_window_find(const struct quipu_payload_window *window,
                               const struct quipu_cid *cid, struct quipu_slice *bytes)
{
    uint64_t prefix = quipu_load_be64(cid->digest);
    /* Slots that are free hold the zero CID, which no payload has: they need no check of their own.
     */
    for (size_t i = 0; i < QUIPU_PAYLOAD_WINDOW_BLOCKS; i++) {
        if (window->prefixes[i] == prefix && quipu_cid_equal(&window->slots[i].cid, cid)) {
            *bytes = quipu_slice(window->slots[i].bytes, window->slots[i].len);
            return true;
        }
    }
    return false;
}

enum quipu_status quipu_payload_window_add(struct quipu_payload_window *window,
                                           const struct quipu_cid *cid, struct quipu_slice bytes,
                                           struct quipu_error *err)
{
    uint8_t *copy = NULL;
    if (bytes.len > QUIPU_PAYLOAD_WINDOW_BYTES) {
        return QUIPU_OK;
    }
    if (window->keeps_bytes && bytes.len > 0) {
        copy = quipu_alloc(bytes.len, 1);
        if (copy == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a payload of %zu bytes",
                                   bytes.len);
        }
        memcpy(copy, bytes.data, bytes.len);
    }
    while (window->count == QUIPU_PAYLOAD_WINDOW_BLOCKS ||
           bytes.len > QUIPU_PAYLOAD_WINDOW_BYTES - window->bytes) {
        window_drop_oldest(window);
    }
    size_t at = (window->oldest + window->count) % QUIPU_PAYLOAD_WINDOW_BLOCKS;
    window->slots[at] = (struct quipu_payload_slot){*cid, copy, bytes.len};
    window->prefixes[at] = quipu_load_be64(cid->digest);
    window->bytes += bytes.len;
    window->count++;
    return QUIPU_OK;
}
