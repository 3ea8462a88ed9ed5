/*
 * Decode strictly, encode again: the property that every decoder here is held to. For the tests of
 * several programs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TEST_RECODE_H
#define QUIPU_TEST_RECODE_H

#include "quipu/buf.h"
#include "quipu/dagcbor.h"

/* Called for each link. */
typedef void recode_on_link(void *ctx, const struct quipu_dagcbor_item *link);

/* Pull every item of `block` and give it to the writer, which appends to `out`. Returns what the
 * reader refused, or what the writer says at the end. `on_link` may be NULL. */
enum quipu_status recode_dagcbor(struct quipu_slice block, struct quipu_buf *out,
                                 recode_on_link *on_link, void *ctx, struct quipu_error *err);

#endif
