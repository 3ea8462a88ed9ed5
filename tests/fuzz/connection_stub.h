/*
 * What the readers of jetstream ask a connection for, without one: everything may be published and
 * nothing was denied.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_FUZZ_CONNECTION_STUB_H
#define QUIPU_FUZZ_CONNECTION_STUB_H

#include "connection.h"

/* The subject is what the next quipu_nats_receive gets; afterwards nothing more comes. NULL:
 * nothing comes at all. Returns false where libnats makes no message of it. */
bool stub_comes(const char *subject);

/* Reply subject of the last message that was published; "" where there was none. */
const char *stub_reply(void);

#endif
