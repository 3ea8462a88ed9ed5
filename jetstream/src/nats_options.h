/*
 * What the caller gave as options: checked, copied, and turned into libnats' options.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_NATS_OPTIONS_H
#define QUIPU_NATS_OPTIONS_H

#include "connection.h"

/* Check every field and fill in names, timeouts and nats->options. On failure nats->options may be
 * set; the caller destroys it. @retval QUIPU_INVALID  names the field and the cure */
enum quipu_status quipu_nats_configure(struct quipu_nats *nats,
                                       const struct quipu_nats_options *options,
                                       struct quipu_error *err) QUIPU_MUST_CHECK;

/* One or more "[nats://|tls://][user[:password]@]host[:port]" with commas between. */
enum quipu_status quipu_nats_url_check(const char *url, struct quipu_error *err) QUIPU_MUST_CHECK;

/* The same without user, password and token; cut where it does not fit. */
void quipu_nats_url_redact(const char *url, char *out, size_t cap);

/* Non-empty tokens of printable ASCII without wildcards, joined by dots. */
bool quipu_subject_is_literal(const char *subject);

#endif
