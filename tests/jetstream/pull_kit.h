/*
 * A server, a store that pulls, and another one that flushes what there is to pull.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_PULL_KIT_H
#define QUIPU_TESTS_PULL_KIT_H

#include "js_kit.h"

/* Opened by pull_kit_start, and closed by pull_kit_stop. */
extern struct nats_fixture server;
extern struct js_store here;  /* pulls */
extern struct js_store there; /* flushes */
extern struct quipu_nats *nats;

/* Nothing is provisioned yet, and both stores are empty. */
void pull_kit_start(void);
void pull_kit_stop(void);

#endif
