/*
 * How long an answer holds with dedup = "window": half of the time for which the stream knows ids.
 * The machine is asleep between question and answer, as far as the flush can tell, and the server
 * counts the questions; nothing here waits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>

#include "connection.h"
#include "js_kit.h"
#include "quipu/flush.h"

#define MINUTE_US     ((int64_t)60 * 1000 * 1000)
#define DUPLICATES_US (120 * MINUTE_US)
#define LOOKS         "$JS.API.DIRECT.GET." QUIPU_STREAM_DEFAULT ".>"

static struct nats_fixture server;
static struct js_store store;
static struct quipu_nats *nats;
static natsConnection *side;
static jsCtx *js;
static natsSubscription *ears;
static int64_t sleep_us;
static int slept_asked;

/* In place of the real one (--wrap): asked in front of each round of sending, of which the first
 * sends the question. */
int64_t __wrap_quipu_slept_us(void);
int64_t __wrap_quipu_slept_us(void)
{
    return slept_asked++ == 0 ? 0 : sleep_us;
}

static void start(void)
{
    js_start(&server, &store, &nats);
    js_provision(nats, DUPLICATES_US);
    js_side_open(&server, &side, &js);
    cr_assert_eq(natsConnection_SubscribeSync(&ears, side, LOOKS), NATS_OK);
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
}

static void stop(void)
{
    natsSubscription_Destroy(ears);
    js_side_close(&side, &js);
    js_stop(&server, &store, &nats);
}

TestSuite(flush_look, .init = start, .fini = stop, .timeout = 60);

/* Questions of a flush that sleeps for so long behind its first one. */
static int looks_with(int64_t asleep_us)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    natsMsg *msg = NULL;
    int looks = 0;
    js_store_fill(&store, 1, 100, JS_PAYLOADS_UNIQUE);
    options.dedup = QUIPU_DEDUP_WINDOW;
    sleep_us = asleep_us;

    enum quipu_status status = quipu_flush(store.engine, nats, &options, &report, &err);

    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    cr_assert_eq(report.published, 1);
    cr_assert_gt(slept_asked, 1);
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
    while (natsSubscription_NextMsg(&msg, ears, 0) == NATS_OK) {
        natsMsg_Destroy(msg);
        looks++;
    }
    return looks;
}

Test(flush_look, an_answer_older_than_half_the_duplicate_window_is_asked_for_again)
{
    cr_assert_eq(looks_with(65 * MINUTE_US), 2);
}

Test(flush_look, a_younger_one_is_not)
{
    cr_assert_eq(looks_with(30 * MINUTE_US), 1);
}
