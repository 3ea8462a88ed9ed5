/*
 * Declared event types: what a payload holds, checked before it is recorded. The registry is kept
 * in the store, so that every program that opens it checks the same. Prints:
 *
 *     recorded
 *     refused: key.generated schema 1: owner.serial: expected uint, found text
 *     refused: key.generated schema 1: algorithm: expected text, found nothing
 *     refused: the event type key.lost is not declared, and only declared ones may be appended
 *     declarations in the store: 1
 *     {"strict":true,"types":[{"aggregate":"key","payload":{"map":{"algorithm":"text",…}},"schema":1,…
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/types.h"
#include "example.h"

/* {"algorithm": text, "owner": {"name": text, "serial": uint}} and, where it is known, "expires":
 * an instant. Nothing else: neither map is open. */
static const struct quipu_field owner_fields[] = {
    {.name = "name", .kind = QUIPU_FIELD_TEXT},
    {.name = "serial", .kind = QUIPU_FIELD_UINT},
};
static const struct quipu_field key_fields[] = {
    {.name = "algorithm", .kind = QUIPU_FIELD_TEXT},
    {.name = "owner", .kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(owner_fields)},
    {.name = "expires", .kind = QUIPU_FIELD_TIME_TEXT, .is_optional = true},
};
static const struct quipu_type key_generated = {
    .name = "key.generated",
    .schema = 1, /* what is recorded stays: another shape is another schema */
    .aggregate_type = "key",
    .payload = {.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(key_fields)},
};

/* Declare and keep: done once, by whoever owns the types. */
static void declare(struct quipu_store *store)
{
    struct quipu_types *types;
    struct quipu_error err;
    check(quipu_types_new(QUIPU_TYPES_STRICT, &types, &err),
          &err); /* refuse what is not declared */
    check(quipu_types_declare(types, &key_generated, &err), &err);
    check(quipu_types_save(store, types, &err), &err);
    quipu_types_free(types);
}

static void record(struct quipu_engine *engine, const char *type, const char *json)
{
    struct quipu_error err;
    struct quipu_event event = {.type = type, .aggregate = {"key", "root-2026"}};
    enum quipu_status status = append_json(engine, event, json, &err);
    if (status == QUIPU_TYPE) { /* nothing was written */
        printf("refused: %s\n", err.message);
    } else {
        check(status, &err);
        printf("recorded\n");
    }
}

int main(int argc, char **argv)
{
    struct quipu_store *store;
    struct quipu_types *types;
    struct quipu_engine *engine;
    struct quipu_error err;
    check(quipu_store_open(argc > 1 ? argv[1] : "keys.quipu", NULL, &store, &err), &err);
    declare(store);

    /* What the store keeps is read back, and an engine that holds to it is opened. */
    check(quipu_types_load(store, &types, &err), &err);
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    options.types = types;
    check(quipu_engine_open(store, &options, &engine, &err), &err);

    record(engine, "key.generated",
           "{\"algorithm\":\"Ed25519\",\"owner\":{\"name\":\"alice\",\"serial\":7}}");
    record(engine, "key.generated",
           "{\"algorithm\":\"Ed25519\",\"owner\":{\"name\":\"alice\",\"serial\":\"seven\"}}");
    record(engine, "key.generated", "{\"owner\":{\"name\":\"alice\",\"serial\":7}}");
    record(engine, "key.lost", "{\"where\":\"on the train\"}");

    printf("declarations in the store: %zu\n", quipu_types_count(types));

    /* The registry is DAG-CBOR, and so DAG-JSON: for a review, or for another language. */
    struct quipu_buf block = QUIPU_BUF_INIT;
    check(quipu_types_encode(types, &block, &err), &err);
    print_json("", quipu_buf_slice(&block));
    quipu_buf_release(&block);

    quipu_engine_close(&engine);
    quipu_types_free(types);
    quipu_store_close(&store);
    return 0;
}
