/*
 * Declared event types: for a type and a schema, what its payload holds. A registry of declarations
 * checks events before they are appended, travels as canonical DAG-CBOR (and so as DAG-JSON), and
 * may be kept in the store, so that every program that opens it checks the same.
 *
 * A declaration is about what is recorded here from now on. What is in the log already, and what
 * comes from other stores, is never refused because of it.
 *
 *     static const struct quipu_field key_fields[] = {
 *         {.name = "algorithm", .kind = QUIPU_FIELD_TEXT},
 *         {.name = "expires", .kind = QUIPU_FIELD_TIME, .is_optional = true},
 *     };
 *     static const struct quipu_type key_generated = {
 *         .name = "key.generated", .schema = 1, .aggregate_type = "key",
 *         .payload = {.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(key_fields)}};
 *
 * Specification: docs/SPEC.md §7.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TYPES_H
#define QUIPU_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct quipu_event; /* quipu/engine.h */

/** Declarations in one registry. */
#define QUIPU_TYPES_MAX 4096
/** Fields of one declaration, on all levels together. */
#define QUIPU_TYPE_FIELDS_MAX 1024
/** Maps and lists around a field; the payload itself is the first. */
#define QUIPU_TYPE_DEPTH_MAX 16
/** Longest name of a field. */
#define QUIPU_FIELD_NAME_BYTES_MAX 128
/** A registry as DAG-CBOR. */
#define QUIPU_TYPES_BYTES_MAX (4u << 20)

/* ------------------------------------------------------------------ declarations */

/* X(NAME, word in the encoding) */
#define QUIPU_FIELD_KIND_MAP(X)                                                                    \
    X(ANY, "any") /* whatever, null too */                                                         \
    X(TEXT, "text")                                                                                \
    X(BYTES, "bytes")                                                                              \
    X(INT, "int")   /* any integer */                                                              \
    X(UINT, "uint") /* an integer from 0 on */                                                     \
    X(BOOL, "bool")                                                                                \
    X(FLOAT, "float")                                                                              \
    X(LINK, "link")                                                                                \
    X(UUID, "uuid")           /* 16 bytes */                                                       \
    X(UUID_TEXT, "uuid_text") /* 36 characters */                                                  \
    X(TIME, "time")           /* integer, microseconds since 1970 UTC, within 64 bits */           \
    X(TIME_TEXT, "time_text") /* RFC 3339 */                                                       \
    X(LIST, "list")                                                                                \
    X(MAP, "map")

enum quipu_field_kind {
#define QUIPU_FIELD_ENUM(name, word) QUIPU_FIELD_##name,
    QUIPU_FIELD_KIND_MAP(QUIPU_FIELD_ENUM)
#undef QUIPU_FIELD_ENUM
};

/** Its word, such as "uuid_text". Static text. Any thread. */
QUIPU_API const char *quipu_field_kind_text(enum quipu_field_kind kind);

/** What a value must be: a payload, a member of a map, or each item of a list. */
struct quipu_field {
    const char *name; /* key in the map around it; NULL for a payload and for items */
    enum quipu_field_kind kind;
    bool is_optional; /* may be absent; a member only */
    /** Of a map: its members. NULL: any map at all. Given in any order; a registry keeps them in
     * the canonical order of keys. */
    const struct quipu_field *fields;
    size_t field_count;
    bool is_open;                    /* a map may hold members that are not declared */
    const struct quipu_field *items; /* of a list: what each item is; NULL: anything */
};

/** Members `fields` and `field_count` of a struct quipu_field, from an array. */
#define QUIPU_FIELDS(array) .fields = (array), .field_count = sizeof(array) / sizeof((array)[0])

struct quipu_type {
    const char *name;           /* event type */
    uint64_t schema;            /* ≥ 1 */
    const char *aggregate_type; /* of the aggregates that it belongs to; NULL: any */
    struct quipu_field payload; /* without a name */
};

/* ------------------------------------------------------------------ the registry */

/** Shareable as long as nobody changes it. */
struct quipu_types;

/** What becomes of events whose type, or whose schema of a declared type, is not declared. */
enum quipu_types_rule {
    QUIPU_TYPES_LENIENT = 0, /* they pass */
    QUIPU_TYPES_STRICT,      /* they are refused */
};

/** @retval QUIPU_NO_MEMORY */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_types_new(enum quipu_types_rule rule, struct quipu_types **out, struct quipu_error *err);
/** NULL is fine. */
QUIPU_API void quipu_types_free(struct quipu_types *types);

QUIPU_API enum quipu_types_rule quipu_types_rule(const struct quipu_types *types);
QUIPU_API void quipu_types_rule_set(struct quipu_types *types, enum quipu_types_rule rule);

/**
 * Add a declaration; copied. The same one again changes nothing.
 * @retval QUIPU_EXISTS     this type and schema is declared otherwise: raise the schema
 * @retval QUIPU_INVALID    a name, schema 0, a field twice, a payload or item that is optional,
 *         members of what is no map, items of what is no list; err names type and field
 * @retval QUIPU_TOO_LARGE  over one of the limits above. @retval QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_types_declare(struct quipu_types *types,
                                                                 const struct quipu_type *type,
                                                                 struct quipu_error *err);

/** Add every declaration of `from`, all or none. As quipu_types_declare. The rule stays. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_types_merge(struct quipu_types *types,
                                                               const struct quipu_types *from,
                                                               struct quipu_error *err);

QUIPU_API size_t quipu_types_count(const struct quipu_types *types);

/** Declaration `index` (below the count), by name bytewise and then by schema. Borrowed until the
 * registry changes or is freed; NULL beyond the last. */
QUIPU_API const struct quipu_type *quipu_types_at(const struct quipu_types *types, size_t index);

/** NULL where it is not declared. Borrowed as above. */
QUIPU_API const struct quipu_type *quipu_types_find(const struct quipu_types *types,
                                                    struct quipu_slice name, uint64_t schema);

/** Greatest schema that is declared for this type, 0: none. */
QUIPU_API uint64_t quipu_types_newest(const struct quipu_types *types, struct quipu_slice name);

/* ------------------------------------------------------------------ checking */

/**
 * Does the event fit what is declared? Looks at type, schema (0 counts as 1), aggregate type and
 * payload, which must be strict DAG-CBOR. quipu_append_batch calls this for each event, with the
 * registry that the store keeps or that the engine was given (struct quipu_engine_options).
 * @retval QUIPU_TYPE    it does not; err names type, schema, path, and the expected and the found
 *         kind, such as "key.generated schema 1: owner.serial: expected uint, found text"
 * @retval QUIPU_CBOR_*  the payload is not DAG-CBOR
 * @threads any   @cost one pass over the payload, no allocation
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_types_check(const struct quipu_types *types,
                                                               const struct quipu_event *event,
                                                               struct quipu_error *err);

/* ------------------------------------------------------------------ encoding */

/** Append the registry as canonical DAG-CBOR; the same declarations give the same bytes.
 * @retval QUIPU_TOO_LARGE (QUIPU_TYPES_BYTES_MAX), QUIPU_NO_MEMORY */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_types_encode(const struct quipu_types *types, struct quipu_buf *out, struct quipu_error *err);

/** Read what quipu_types_encode writes, and nothing else: encode(decode(x)) = x.
 * @retval QUIPU_INVALID         not a registry; err names declaration and field
 * @retval QUIPU_FORMAT_NEWER    of a later format
 * @retval QUIPU_TOO_LARGE, QUIPU_CBOR_*, QUIPU_NO_MEMORY */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_types_decode(struct quipu_slice block, struct quipu_types **out, struct quipu_error *err);

/* ------------------------------------------------------------------ in the store */

/** Keep the registry in the store, in the place of the one before. Durable when it returns: what is
 * appended from then on is held to it, by every program that opens the store, those that have it
 * open too.
 * @retval QUIPU_TOO_LARGE, QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_SPACE, … @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_types_save(struct quipu_store *store,
                                                              const struct quipu_types *types,
                                                              struct quipu_error *err);

/** The registry that the store keeps; the caller frees it.
 * @retval QUIPU_NOT_FOUND  it keeps none. @retval QUIPU_CORRUPT, QUIPU_IO, … @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_types_load(struct quipu_store *store, struct quipu_types **out, struct quipu_error *err);

/** Keep none any more. @retval QUIPU_NOT_FOUND  it keeps none. As quipu_types_save */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_types_forget(struct quipu_store *store,
                                                                struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
