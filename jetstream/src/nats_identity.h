/*
 * Who we are: the caller's options turned into one identity, newer credentials taken as they come,
 * and the answers to what libnats asks while it connects.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_NATS_IDENTITY_H
#define QUIPU_NATS_IDENTITY_H

#include "connection.h"

/* Find out who we are, load what is in files, and tell nats->options. `url_names_user`: the url
 * does. Nothing here touches TLS.
 * @retval QUIPU_INVALID, QUIPU_PERMISSION, QUIPU_NO_MEMORY, and what the host's callback says */
enum quipu_status quipu_nats_identity_configure(struct quipu_nats *nats,
                                                const struct quipu_nats_options *options,
                                                bool url_names_user,
                                                struct quipu_error *err) QUIPU_MUST_CHECK;

/* Get newer credentials, from the host or the file. QUIPU_OK also where they are the same ones: the
 * generation tells. Any failure leaves those that are there. */
enum quipu_status quipu_nats_identity_renew(struct quipu_nats *nats,
                                            struct quipu_error *err) QUIPU_MUST_CHECK;

/* Make the newest credentials those of the next connection; a file is read again first. */
enum quipu_status quipu_nats_identity_take(struct quipu_nats *nats,
                                           struct quipu_error *err) QUIPU_MUST_CHECK;

/* Are there newer credentials than those of the connection? */
bool quipu_nats_identity_is_newer(struct quipu_nats *nats);

/* The thread that renews credentials before they expire, where they do. */
enum quipu_status quipu_nats_identity_watch(struct quipu_nats *nats,
                                            struct quipu_error *err) QUIPU_MUST_CHECK;

/* Stop that thread, and wipe all that is secret. */
void quipu_nats_identity_release(struct quipu_nats *nats);

#endif
