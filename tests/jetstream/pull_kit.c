/*
 * What every test of pulls begins and ends with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "pull_kit.h"

struct nats_fixture server;
struct js_store here;
struct js_store there;
struct quipu_nats *nats;

void pull_kit_start(void)
{
    js_start(&server, &here, &nats);
    js_store_open(&there);
}

void pull_kit_stop(void)
{
    js_store_release(&there);
    js_stop(&server, &here, &nats);
}
