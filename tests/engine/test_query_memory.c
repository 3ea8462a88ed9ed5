/*
 * Memory of the query API: whichever allocation fails, the query says so, the reply stays
 * empty, and nothing leaks.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "alloc_kit.h"
#include "counting_kit.h"
#include "quipu/query.h"

static struct alloc_kit counter;
static struct kit kit;

static void setup(void)
{
    alloc_kit_open(&counter, &kit);
}

static void teardown(void)
{
    alloc_kit_close(&counter, &kit);
}

TestSuite(query_memory, .init = setup, .fini = teardown);

/* Fail the first allocation, the second and so on, until the query goes well without. */
static void sweep(const char *json)
{
    struct quipu_slice request = kit_block(&kit, json);
    enum quipu_status status = QUIPU_NO_MEMORY;
    uint64_t refused = 0;
    for (uint64_t n = 1; status != QUIPU_OK; n++) {
        struct quipu_buf reply = QUIPU_BUF_INIT;
        counter.calls = 0;
        counter.fail_at = n;
        status = quipu_query_answer(kit.engine, request, NULL, &reply, &kit.err);
        counter.fail_at = 0;
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "%s: allocation %lu: %s", json,
                  (unsigned long)n, kit.err.message);
        if (status != QUIPU_OK) {
            refused++;
            cr_assert_eq(reply.len, 0, "%s: allocation %lu", json, (unsigned long)n);
        }
        quipu_buf_release(&reply);
        cr_assert_lt(n, 1000);
    }
    cr_assert_gt(refused, 0, "%s: no allocation was made to fail", json);
}

Test(query_memory, a_query_survives_each_allocation_that_fails)
{
    struct counting counting = {.poison = 0};
    kit_append_many(&kit, 40);
    kit_append(&kit, "b", 1);
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_OK);

    sweep("{\"query\":\"get\",\"projection\":\"counts\",\"key\":\"a\"}");
    sweep("{\"query\":\"list\",\"projection\":\"counts\"}");
    sweep("{\"query\":\"status\"}");
    sweep("{\"query\":\"event\",\"position\":1}");
    sweep("{\"query\":\"events\"}");
    sweep("{\"query\":\"events\",\"aggregate_type\":\"thing\",\"aggregate_id\":\"a\"}");
}
