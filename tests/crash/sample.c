/*
 * The events of the crash tests, and claims that end a program.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sample.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/bytes.h"
#include "tuning.h"

#define AGGREGATES 7

uint64_t sample_random(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Most are small; every sixteenth fills a few pages, every 64th a great many. */
static size_t filling_bytes(uint64_t number)
{
    uint64_t state = number;
    uint64_t random = sample_random(&state);
    if (number % 64 == 63) {
        return (size_t)(40000 + random % 40000);
    }
    return (size_t)(number % 16 == 15 ? 3000 + random % 9000 : 300 + random % 300);
}

void sample_make(struct sample *sample, uint64_t number)
{
    uint64_t state = number;
    size_t len = filling_bytes(number);
    /* {"b": bytes, "n": number}, in the shortest form for lengths and numbers of this size. */
    uint8_t *at = sample->payload;
    memcpy(at, "\xa2\x61\x62", 3);
    at += 3;
    if (len < 65536) {
        *at++ = 0x59;
    } else {
        *at++ = 0x5a;
        *at++ = 0;
        *at++ = (uint8_t)(len >> 16);
    }
    *at++ = (uint8_t)(len >> 8);
    *at++ = (uint8_t)len;
    for (size_t i = 0; i < len; i++) {
        at[i] = (uint8_t)(sample_random(&state) >> 24);
    }
    at += len;
    memcpy(at, "\x61\x6e\x1b", 3);
    at += 3;
    quipu_store_be64(at, (UINT64_C(1) << 32) + number);
    at += 8;

    (void)snprintf(sample->aggregate_id, sizeof sample->aggregate_id, "%s-%d",
                   number >= SAMPLE_FOREIGN ? "far" : "thing", (int)(number % AGGREGATES));
    sample->event = (struct quipu_event){
        .type = "thing.changed",
        .aggregate = {"thing", sample->aggregate_id},
        .payload = quipu_slice(sample->payload, (size_t)(at - sample->payload)),
        /* Random bytes look like a key to the guard now and then. */
        .secrets = QUIPU_SECRET_ALLOW,
        .event_id = {{0x01, 0x90, 0xb5, 0xd6, 0x7c, 0x3a, 0x70, 0, 0x80}},
    };
    /* Odd ones lie out of order, as imported ones do. */
    quipu_store_be64(&sample->event.event_id.bytes[8], (UINT64_C(1) << 63) + number);
    if (number % 2 == 1) {
        sample->event.event_id.bytes[5] = (uint8_t)(sample_random(&state) >> 24);
    }
}

uint64_t sample_number(const struct quipu_uuid *event_id)
{
    uint64_t number = quipu_load_be64(&event_id->bytes[8]) & ~(UINT64_C(1) << 63);
    return number < SAMPLE_FOREIGN ? number : 0;
}

static enum quipu_status apply(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err)
{
    uint8_t row[16] = {0};
    struct quipu_slice value;
    (void)ctx;
    enum quipu_status status = quipu_rows_get(rows, event->envelope.aggregate_id, &value, err);
    if (status == QUIPU_OK && value.len == sizeof row) {
        memcpy(row, value.data, sizeof row);
    } else if (status != QUIPU_NOT_FOUND) {
        return status == QUIPU_OK ? QUIPU_CORRUPT : status;
    }
    quipu_store_be64(row, quipu_load_be64(row) + 1);
    quipu_store_be64(row + 8, quipu_load_be64(row + 8) + event->position);
    return quipu_rows_put(rows, event->envelope.aggregate_id, quipu_slice(row, sizeof row), err);
}

struct quipu_projection sample_projection(void)
{
    return (struct quipu_projection){.name = "things", .version = 1, .apply = apply};
}

enum quipu_status sample_store_open(const char *path, const struct quipu_store_options *options,
                                    uint64_t number, struct quipu_store **out,
                                    struct quipu_error *err)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    if (number % 2 == 0) {
        tuning.tail_events = 16;
        tuning.fan_out = 2;
        tuning.segment_entries = 32;
        tuning.trash_values = 2;
    }
    struct quipu_store_options given = QUIPU_STORE_OPTIONS_INIT;
    if (options != NULL) {
        given = *options;
    }
    if (given.map_bytes == 0) {
        given.map_bytes = UINT64_C(1) << 30;
    }
    return quipu_store_open_tuned(path, &given, &tuning, out, err);
}

void sample_require(bool is_true, const char *what, uint64_t wanted, uint64_t found)
{
    if (!is_true) {
        (void)fprintf(stderr, "%s: wanted %" PRIu64 ", found %" PRIu64 "\n", what, wanted, found);
        exit(EXIT_FAILURE);
    }
}

void sample_must(enum quipu_status status, const char *what, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        (void)fprintf(stderr, "%s: %s: %s\n", what, quipu_status_name(status), err->message);
        exit(EXIT_FAILURE);
    }
}
