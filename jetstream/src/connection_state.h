/*
 * What a connection is doing, and telling the host so: one place where every thread leaves its
 * news, in order.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CONNECTION_STATE_H
#define QUIPU_CONNECTION_STATE_H

#include "connection.h"

void quipu_link_init(struct nats_link *link, const struct quipu_nats_options *options);
void quipu_link_release(struct nats_link *link);

/* Enter `state` and tell the host. `status` and `message` ("" with QUIPU_OK) say why. */
void quipu_link_enter(struct nats_link *link, enum quipu_nats_state state, enum quipu_status status,
                      const char *message);

/* The connection stands, and is of no use for what it was made for until somebody does something,
 * which `status` and `message` say: told once, however often it is tried. */
void quipu_link_spoil(struct nats_link *link, enum quipu_status status, const char *message);
/* It is of use again, and still the same connection. Nothing where it was not spoilt. */
void quipu_link_mend(struct nats_link *link);

/* Queue the present report; the caller holds the mutex. */
void quipu_link_note(struct nats_link *link);

/* Tell the host what is queued, unless another thread is at it. The caller holds the mutex, which
 * is let go for each call. */
void quipu_link_tell(struct nats_link *link);

/* Wait until no thread is in the host's callback. */
void quipu_link_settle(struct nats_link *link);

/* Wall clock, as JWTs have it. */
int64_t quipu_link_now_us(void);

/* Credentials are due to be renewed when less than this is left. */
#define NATS_REFRESH_BEFORE_US ((int64_t)3600 * 1000 * 1000)

#endif
