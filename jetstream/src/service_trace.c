/*
 * W3C trace context, read strictly: what is malformed is treated as absent, as that standard asks.
 *
 * Specification: docs/SPEC.md §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "service_trace.h"

#include "quipu/dagcbor.h"

static bool is_hex_run(const uint8_t *text, size_t len, bool may_be_zero)
{
    bool is_zero = true;
    for (size_t i = 0; i < len; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f'))) {
            return false;
        }
        is_zero = is_zero && text[i] == '0';
    }
    return may_be_zero || !is_zero;
}

bool quipu_traceparent_is_good(struct quipu_slice text)
{
    const uint8_t *at = text.data;
    return text.len == TRACEPARENT_LEN && at[0] == '0' && at[1] == '0' && at[2] == '-' &&
           is_hex_run(at + 3, 32, false) && at[35] == '-' && is_hex_run(at + 36, 16, false) &&
           at[52] == '-' && is_hex_run(at + 53, 2, true);
}

struct quipu_slice quipu_traceparent_of_meta(struct quipu_slice meta)
{
    struct quipu_slice value;
    struct quipu_slice text;
    struct quipu_dagcbor_reader reader;
    if (meta.len == 0 || quipu_dagcbor_map_get(meta, "traceparent", &value, NULL) != QUIPU_OK) {
        return quipu_slice(NULL, 0);
    }
    quipu_dagcbor_reader_init(&reader, value);
    bool is_good = quipu_dagcbor_read_text(&reader, &text, NULL) == QUIPU_OK &&
                   quipu_traceparent_is_good(text);
    return is_good ? text : quipu_slice(NULL, 0);
}
