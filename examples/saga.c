/* A process manager: once a person and their key are there, in whatever order, a certificate is
 * issued. Run it again, or kill it anywhere: each is issued once. SPDX-License-Identifier:
 * Apache-2.0
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "quipu/engine.h"
#include "quipu/process.h"

static void check(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        fprintf(stderr, "%s: %s\n", quipu_status_text(status), err->message);
        exit(1);
    }
}

/* Is there an aggregate of this type with this id? */
static enum quipu_status is_there(struct quipu_engine *engine, const char *type,
                                  struct quipu_slice id, bool *out, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_head head;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    if (status == QUIPU_OK) {
        struct quipu_aggregate aggregate = {quipu_slice_text(type), id};
        status = quipu_txn_head(txn, aggregate, &head, err);
    }
    quipu_txn_abort(&txn);
    *out = status == QUIPU_OK;
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

/* What follows from an event: decided from the store, guarded by an expectation. */
static enum quipu_status issue(void *ctx, const struct quipu_event_view *event,
                               struct quipu_reactions *out, struct quipu_error *err)
{
    struct quipu_engine *engine = ctx;
    struct quipu_slice person = event->envelope.aggregate_id;
    bool has_person = false;
    bool has_key = false;
    bool is_issued = false;
    enum quipu_status status = is_there(engine, "person", person, &has_person, err);
    if (status == QUIPU_OK) {
        status = is_there(engine, "key", person, &has_key, err);
    }
    if (status == QUIPU_OK) {
        status = is_there(engine, "certificate", person, &is_issued, err);
    }
    if (status != QUIPU_OK || !has_person || !has_key || is_issued) {
        return status; /* nothing follows, for now */
    }
    char id[QUIPU_AGGREGATE_ID_BYTES_MAX + 1];
    snprintf(id, sizeof id, "%.*s", QUIPU_SLICE_FMT(person));
    static const uint8_t empty_map[] = {0xa0};
    struct quipu_event certificate = {.type = "certificate.issued",
                                      .aggregate = {"certificate", id},
                                      .payload = quipu_slice(empty_map, sizeof empty_map),
                                      .expected = quipu_expect_no_stream()};
    return quipu_reactions_add(out, &certificate, err); /* its id, cause and correlation are set */
}

/* Record that something happened to the person, once. */
static void record(struct quipu_engine *engine, const char *type, const char *aggregate,
                   const char *person)
{
    struct quipu_error err;
    static const uint8_t empty_map[] = {0xa0};
    struct quipu_event event = {.type = type,
                                .aggregate = {aggregate, person},
                                .payload = quipu_slice(empty_map, sizeof empty_map),
                                .expected = quipu_expect_no_stream()};
    enum quipu_status status = quipu_append(engine, &event, NULL, &err);
    if (status != QUIPU_VERSION_CONFLICT) { /* it is known already */
        check(status, &err);
    }
}

static enum quipu_status print(void *ctx, const struct quipu_event_view *event,
                               struct quipu_error *err)
{
    (void)ctx;
    (void)err;
    printf("%llu %.*s %.*s\n", (unsigned long long)event->position,
           QUIPU_SLICE_FMT(event->envelope.event_type),
           QUIPU_SLICE_FMT(event->envelope.aggregate_id));
    return QUIPU_OK;
}

int main(int argc, char **argv)
{
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct quipu_error err;
    check(quipu_store_open(argc > 1 ? argv[1] : "ceremony.quipu", NULL, &store, &err), &err);
    check(quipu_engine_open(store, NULL, &engine, &err), &err);

    record(engine, "person.added", "person", "alice");
    record(engine, "key.generated", "key", "alice");
    record(engine, "key.generated", "key", "bob"); /* the key may come first */
    record(engine, "person.added", "person", "bob");
    record(engine, "key.generated", "key", "carol"); /* nobody knows carol yet */

    static const char *const causes[] = {"person.added", "key.generated", NULL};
    struct quipu_process_options options = QUIPU_PROCESS_OPTIONS_INIT;
    options.name = "issuer"; /* its cursor in the store */
    options.event_types = causes;
    options.react = issue;
    options.ctx = engine;
    struct quipu_process *issuer;
    check(quipu_process_open(engine, &options, &issuer, &err), &err);
    check(quipu_process_run(issuer, QUIPU_RUN_CATCH_UP, &err), &err); /* QUIPU_RUN_ON: for ever */

    check(quipu_each_event(engine, NULL, print, NULL, &err), &err);
    quipu_process_close(&issuer);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    return 0;
}
