/*
 * Upcasters: how events of an old schema are read as events of the newest. Each makes the payload
 * of schema s + 1 from that of schema s; together they are chained by event type and schema. Bytes
 * in the store never change: what is read is brought up on its way to whoever folds it.
 *
 * One function, quipu_upcast, is the hook of projections, subscriptions and aggregate kinds alike
 * (their members `upcast` and `upcast_ctx`):
 *
 *     struct quipu_upcasting upcasting = {.upcasts = upcasts};
 *     projection.upcast = quipu_upcast;
 *     projection.upcast_ctx = &upcasting;
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_UPCAST_H
#define QUIPU_UPCAST_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_UPCASTERS_MAX 4096

/**
 * Append to `payload`, which is empty, one item of DAG-CBOR: what the event's payload is in the
 * next schema. `event->envelope.schema` is the schema of `event->payload`; everything else in the
 * view is as it is stored. It must depend on nothing but the event. A failure is handed on, with
 * type, schema and position before its line.
 */
typedef enum quipu_status (*quipu_upcaster_fn)(void *ctx, const struct quipu_event_view *event,
                                               struct quipu_buf *payload, struct quipu_error *err);

struct quipu_upcaster {
    const char *event_type;
    uint64_t schema; /* of what it reads: it makes schema + 1 */
    quipu_upcaster_fn make;
    void *ctx;
};

/** The newest schema of a type that this program knows. */
struct quipu_schema {
    const char *event_type;
    uint64_t newest; /* ≥ 1 */
};

/** What a program knows of types and schemas. Never changes; shareable. */
struct quipu_upcasts;

/**
 * Chain `upcasters`, which may come in any order. Texts are copied; contexts must stay until free.
 *
 * @param schemas  types with their newest schema. A type with upcasters need not be among them: its
 * newest schema is what its last upcaster makes. Of a type that appears in neither, nothing is
 * known, and its events pass as they are.
 * @retval QUIPU_INVALID    a chain with a hole, or that does not end at the declared newest schema;
 *         two upcasters for one schema; a type, a schema or a function that is none; err names type
 *         and schema
 * @retval QUIPU_TOO_LARGE  more than QUIPU_UPCASTERS_MAX of either. @retval QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_upcasts_new(const struct quipu_upcaster *upcasters, size_t upcaster_count,
                  const struct quipu_schema *schemas, size_t schema_count,
                  struct quipu_upcasts **out, struct quipu_error *err);
/** NULL is fine. */
QUIPU_API void quipu_upcasts_free(struct quipu_upcasts *upcasts);

/** The newest schema of this type, 0 where nothing is known of it. */
QUIPU_API uint64_t quipu_upcasts_newest(const struct quipu_upcasts *upcasts,
                                        struct quipu_slice event_type);

/** A reader's working memory. Set `upcasts`, leave the rest zero. One thread at a time. */
struct quipu_upcasting {
    const struct quipu_upcasts *upcasts;
    struct quipu_buf buffers[2];
};

/** Free what it holds; it may be used again. */
QUIPU_API void quipu_upcasting_release(struct quipu_upcasting *upcasting);

/**
 * Bring `event` up to the newest schema of its type: `payload` and `envelope.schema` change, and
 * nothing else, so that the CIDs name the stored blocks. The payload is valid until the next call
 * with the same context, or its release.
 *
 * @param upcasting  a struct quipu_upcasting
 * @retval QUIPU_SCHEMA_NEWER  its schema is above the newest that is known; err names type and
 *         both schemas
 * @retval QUIPU_INVALID       no upcaster begins at its schema
 * @retval QUIPU_CBOR_*, QUIPU_TOO_LARGE  what an upcaster made is no payload. Or what it says
 * @retval QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_upcast(void *upcasting, struct quipu_event_view *event, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
