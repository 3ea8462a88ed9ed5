/*
 * A message whose headers are exactly these bytes, which no client library sends: published over a
 * socket of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_RAW_MESSAGE_H
#define QUIPU_TESTS_RAW_MESSAGE_H

#include "nats_fixture.h"
#include "quipu/slice.h"

/* Fails the test where the server does not take it. `headers`: all of the block, from "NATS/1.0".
 */
void raw_message_publish(const struct nats_fixture *server, const char *subject,
                         struct quipu_slice headers, struct quipu_slice body);

#endif
