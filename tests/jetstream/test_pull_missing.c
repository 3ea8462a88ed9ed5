/*
 * Payloads that are missing: asked for in parallel, again only after a pause that doubles, and at
 * once where somebody wants it. Requests are counted as the server sees them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "internal/bytes.h"
#include "pull_kit.h"
#include "pull_retries.h"
#include "quipu/clock.h"

#define EVENTS 30

static natsConnection *side;
static jsCtx *js;
static natsSubscription *ears;
static atomic_uint_fast64_t asked;

static void on_request(natsConnection *connection, natsSubscription *subscription, natsMsg *msg,
                       void *closure)
{
    (void)connection;
    (void)subscription;
    (void)closure;
    atomic_fetch_add(&asked, 1);
    natsMsg_Destroy(msg);
}

static void start(void)
{
    pull_kit_start();
    js_provision(nats, 0);
    js_side_open(&server, &side, &js);
    js_store_fill(&there, EVENTS, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&there, nats).published, EVENTS);
}

static void stop(void)
{
    natsSubscription_Destroy(ears);
    js_side_close(&side, &js);
    pull_kit_stop();
}

TestSuite(pull_missing, .init = start, .fini = stop, .timeout = 60);

static void listen(void)
{
    cr_assert_eq(natsConnection_Subscribe(&ears, side,
                                          "$JS.API.DIRECT.GET.OBJ_" QUIPU_BUCKET_DEFAULT ".>",
                                          on_request, NULL),
                 NATS_OK);
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
}

/* What a server's client has sent before its pull ended is at this one when a ping comes back. */
static uint64_t asked_by_now(void)
{
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
    int64_t delivered = 0;
    uint64_t pending = 1;
    while (pending > 0) {
        int messages = 0;
        cr_assert_eq(natsSubscription_GetPending(ears, &messages, NULL), NATS_OK);
        cr_assert_eq(natsSubscription_GetDelivered(ears, &delivered), NATS_OK);
        pending = (uint64_t)messages;
    }
    return atomic_load(&asked);
}

static struct quipu_pull_report pull(bool asks_at_once)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    options.asks_at_once = asks_at_once;
    options.batch = 7; /* several rounds */
    enum quipu_status status = quipu_pull(here.engine, nats, &options, &report, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    return report;
}

static void purge(const char *subject)
{
    jsOptions options;
    (void)jsOptions_Init(&options);
    options.Stream.Purge.Subject = subject;
    cr_assert_eq(js_PurgeStream(js, "OBJ_" QUIPU_BUCKET_DEFAULT, &options, NULL), NATS_OK);
}

static void bring_back(void)
{
    struct quipu_error err;
    struct quipu_flush_options again = QUIPU_FLUSH_OPTIONS_INIT;
    again.restart = true;
    cr_assert_eq(quipu_flush(there.engine, nats, &again, NULL, &err), QUIPU_OK, "%s", err.message);
}

static void expect_pauses(bool has_meta)
{
    purge(has_meta ? "$O." QUIPU_BUCKET_DEFAULT ".C.>" : ">");
    cr_assert_eq(pull(false).events.quarantined, EVENTS);
    listen();
    cr_assert_eq(pull(false).events.quarantined, 0, "they are reported once");
    uint64_t once = asked_by_now();
    cr_assert_eq(once, 2 * EVENTS, "the chunk and the meta message of each: %" PRIu64, once);
    (void)pull(false);
    cr_assert_eq(asked_by_now(), once, "their pause is not over");
    (void)pull(true);
    cr_assert_eq(asked_by_now(), 2 * once, "all, at once");

    bring_back();
    cr_assert_eq(pull(false).events.added, 0);
    struct quipu_pull_report report = pull(true);
    cr_assert_eq(report.events.added, EVENTS);
    js_assert_same_events(&there, &here);
    cr_assert_eq(js_store_outbox(&here).pending, 0, "they have their receipts");
    uint64_t before = asked_by_now();
    (void)pull(true);
    cr_assert_eq(asked_by_now(), before, "nothing is missing any more");
}

Test(pull_missing, payloads_are_asked_for_once_and_then_after_a_pause)
{
    expect_pauses(false);
}

Test(pull_missing, chunks_whose_meta_message_is_there_cost_no_more)
{
    expect_pauses(true);
}

/* ------------------------------------------------------------------ the rows */

static struct retries load(void)
{
    struct quipu_error err;
    struct retries retries = {NULL, 0, 0};
    cr_assert_eq(quipu_retries_load(&retries, here.engine, &err), QUIPU_OK, "%s", err.message);
    return retries;
}

Test(pull_missing, rows_go_with_their_events)
{
    purge(">");
    (void)pull(false);
    struct retries retries = load();
    cr_assert_eq(retries.count, 0, "nobody has asked again yet");
    quipu_retries_release(&retries);
    (void)pull(false);
    retries = load();
    cr_assert_eq(retries.count, EVENTS);
    for (size_t i = 0; i < retries.count; i++) {
        cr_assert_eq(retries.list[i].tries, 1);
    }
    quipu_retries_release(&retries);
    js_store_copy(&there, &here); /* they come by another way */
    (void)pull(false);
    retries = load();
    cr_assert_eq(retries.count, 0);
    quipu_retries_release(&retries);
}

Test(pull_missing, pauses_double_up_to_an_hour_and_survive_a_clock_that_is_set_back)
{
    struct quipu_error err;
    struct retries retries = {NULL, 0, 0};
    const struct quipu_cid first = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("a"));
    const struct quipu_cid second = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("b"));
    const int64_t now = INT64_C(1700000000000000);
    int64_t pause = RETRY_FIRST_US;
    cr_assert_null(quipu_retries_find(&retries, &first));
    cr_assert_eq(quipu_retries_note(&retries, &second, now, &err), QUIPU_OK);
    for (uint64_t tries = 1; tries < 80; tries++) {
        cr_assert_eq(quipu_retries_note(&retries, &first, now, &err), QUIPU_OK);
        const struct retry *retry = quipu_retries_find(&retries, &first);
        cr_assert_eq(retry->tries, tries);
        cr_assert_eq(retry->next_unix_us, now + pause, "try %" PRIu64, tries);
        cr_assert(!quipu_retry_is_due(retry, now + pause - 1));
        cr_assert(quipu_retry_is_due(retry, now + pause));
        cr_assert(!quipu_retry_is_due(retry, now));
        cr_assert(quipu_retry_is_due(retry, now - RETRY_MAX_US - 1), "set back");
        pause = 2 * pause < RETRY_MAX_US ? 2 * pause : RETRY_MAX_US;
    }
    cr_assert_eq(pause, RETRY_MAX_US);
    cr_assert_eq(retries.count, 2);
    cr_assert_eq(quipu_retries_find(&retries, &second)->tries, 1);

    cr_assert_eq(quipu_retries_save(&retries, here.engine, &err), QUIPU_OK, "%s", err.message);
    struct retries stored = load();
    cr_assert_eq(stored.count, 2);
    cr_assert_eq(quipu_retries_find(&stored, &first)->tries, 79);
    cr_assert_eq(quipu_retries_find(&stored, &first)->next_unix_us, now + RETRY_MAX_US);
    quipu_retries_release(&stored);
    quipu_retries_release(&retries);
}
