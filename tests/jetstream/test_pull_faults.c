/*
 * Pulling from a real server that is not there, stands still or was never provisioned, and a puller
 * that is killed at the worst moments: nothing is lost, and each message counts once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "pull_kit.h"
#include "quipu/ingest.h"

TestSuite(pull_faults, .init = pull_kit_start, .fini = pull_kit_stop, .timeout = 100);

/* ------------------------------------------------------------------ what is said */

Test(pull_faults, says_that_nothing_is_provisioned)
{
    struct quipu_error err;
    cr_assert_eq(quipu_pull(here.engine, nats, NULL, NULL, &err), QUIPU_NOT_PROVISIONED);
    cr_assert_not_null(strstr(err.message, "quipu provision"));
}

Test(pull_faults, says_that_another_pull_is_running)
{
    struct quipu_error err;
    struct quipu_store_lock *lock = NULL;
    js_provision(nats, 0);
    cr_assert_eq(quipu_store_lock_take(here.store, "puller", &lock, &err), QUIPU_OK);
    cr_assert_eq(quipu_pull(here.engine, nats, NULL, NULL, &err), QUIPU_BUSY);
    quipu_store_lock_release(&lock);
}

Test(pull_faults, says_that_the_server_is_gone)
{
    struct quipu_error err;
    js_provision(nats, 0);
    nats_fixture_kill(&server);
    cr_assert_eq(quipu_pull(here.engine, nats, NULL, NULL, &err), QUIPU_OFFLINE);
    cr_assert_not_null(strstr(err.message, "start nats-server"));
}

Test(pull_faults, gives_up_on_a_server_that_stands_still_and_loses_nothing)
{
    struct quipu_error err;
    struct quipu_nats *hasty = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    js_provision(nats, 0);
    js_store_fill(&there, 20, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    options.url = server.url;
    options.request_timeout_us = 300000;
    cr_assert_eq(quipu_nats_open(&options, &hasty, &err), QUIPU_OK);
    nats_fixture_pause(&server);

    cr_assert_eq(quipu_pull(here.engine, hasty, NULL, NULL, &err), QUIPU_TIMEOUT);

    nats_fixture_resume(&server);
    quipu_nats_close(&hasty);
    cr_assert_eq(js_pull(&here, nats).events.added, 20);
}

#ifdef QUIPU_FAILPOINTS
/* ------------------------------------------------------------------ deaths */

static enum quipu_status count_one(void *ctx, const struct quipu_quarantined *event,
                                   struct quipu_error *err)
{
    (void)event;
    (void)err;
    ++*(uint64_t *)ctx;
    return QUIPU_OK;
}

static uint64_t quarantined(struct js_store *store)
{
    struct quipu_error err;
    uint64_t count = 0;
    cr_assert_eq(quipu_each_quarantined(store->engine, count_one, &count, &err), QUIPU_OK);
    return count;
}

static void check_killed_at(const char *failpoint)
{
    js_provision(nats, 0);
    js_store_fill(&there, 1200, 60, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    js_store_close(&here);

    int state = js_child_wait(js_child_start(&here, server.url, "pull", failpoint));

    cr_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL, "%s was not reached (%d)",
              failpoint, state);
    js_store_reopen(&here);
    js_pull(&here, nats);
    js_assert_same_events(&there, &here);
    cr_assert_eq(quarantined(&here), 0);
}

Test(pull_faults, killed_before_a_commit)
{
    check_killed_at("jetstream.pull.commit:kill");
}

Test(pull_faults, killed_before_the_second_commit)
{
    check_killed_at("jetstream.pull.commit:kill:2");
}

Test(pull_faults, killed_between_commit_and_acks)
{
    check_killed_at("jetstream.pull.ack:kill");
}

Test(pull_faults, killed_between_the_last_commit_and_its_acks)
{
    check_killed_at("jetstream.pull.ack:kill:3");
}
#endif
