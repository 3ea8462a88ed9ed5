/*
 * W3C trace context: is this text a traceparent that may be carried on?
 *
 * Specification: docs/SPEC.md §10.8, W3C Trace Context (level 1) §3.2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SERVICE_TRACE_H
#define QUIPU_SERVICE_TRACE_H

#include <stdbool.h>

#include "quipu/slice.h"

#define TRACEPARENT_LEN 55

/* Version 00: "00-<32 hex>-<16 hex>-<2 hex>", lower case, neither id all zeros. */
bool quipu_traceparent_is_good(struct quipu_slice text);

/* The traceparent in an event's meta; empty where there is none that is good. Borrowed from it. */
struct quipu_slice quipu_traceparent_of_meta(struct quipu_slice meta);

#endif
