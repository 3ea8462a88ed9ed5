/*
 * What the server says about the stream and the bucket's stream: asked for once at the start of
 * each operation, so that a missing or unfit one gives a clear line and not a timeout.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STREAMS_H
#define QUIPU_STREAMS_H

#include <nats/nats.h>

#include "connection.h"

/* The caller destroys `*out` with jsStreamInfo_Destroy.
 * @retval QUIPU_NOT_PROVISIONED  there is no such stream
 * @retval QUIPU_SERVER  JetStream is off, …; or the stream has replicas, and for as long as a
 * request may take no leader
 * @retval QUIPU_OFFLINE, QUIPU_TIMEOUT, QUIPU_PERMISSION, QUIPU_NO_MEMORY */
enum quipu_status quipu_stream_info(struct quipu_nats *nats, const char *stream, jsStreamInfo **out,
                                    struct quipu_error *err) QUIPU_MUST_CHECK;

/* Facts of the event stream: it keeps what it takes, takes "<prefix>.>", and answers direct gets.
 * Pulls ask for them too. @retval also
 * QUIPU_DRIFT  it is there, but cannot be used as it is */
enum quipu_status quipu_event_stream_facts(struct quipu_nats *nats, struct stream_facts *out,
                                           struct quipu_error *err) QUIPU_MUST_CHECK;

/* The same for the bucket's stream, which also takes roll-ups. */
enum quipu_status quipu_bucket_facts(struct quipu_nats *nats, struct stream_facts *out,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* Append what is worth knowing about a stream that is as asked, one line each. */
void quipu_provision_notes(const jsStreamInfo *info, bool is_events, struct quipu_buf *notes);

/* Report a failed JetStream request: a denied permission before a timeout, and the cure for a
 * server without JetStream. */
enum quipu_status quipu_js_failure(struct quipu_nats *nats, natsStatus s, int number,
                                   const char *what, const char *name, struct quipu_error *err);

#endif
