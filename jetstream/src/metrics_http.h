/*
 * The strict part of the metrics' HTTP: one request as text in, a verdict out. No I/O.
 *
 * Specification: RFC 9110, RFC 9112.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_METRICS_HTTP_H
#define QUIPU_METRICS_HTTP_H

#include <stdbool.h>

#include "quipu/slice.h"

enum http_target { HTTP_METRICS, HTTP_HEALTHZ };

struct http_request {
    enum http_target target;
    bool is_head;
};

/* Length of the request's head with its empty line; 0: not whole yet. */
size_t quipu_http_head_len(struct quipu_slice text);

/* The status to answer with: 200 and `*out`, or 400, 404, 405, 413, 421, 505. `head` is whole. */
int quipu_http_read(struct quipu_slice head, struct http_request *out);

const char *quipu_http_reason(int status);

#endif
