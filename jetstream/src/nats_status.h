/*
 * Foreign codes become quipu's: libnats' natsStatus and JetStream's error numbers, one table each.
 * Nothing else in the tree knows what they mean.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_NATS_STATUS_H
#define QUIPU_NATS_STATUS_H

#include <nats/nats.h>

#include "quipu/error.h"

/* JetStream's error numbers that libnats 3.4.1 names are used by those names; the server's own
 * words for the two that decide over duplicates and full streams: */
#define NATS_JS_WRONG_LAST_SEQUENCE 10071
#define NATS_JS_STORE_FAILED        10077

enum quipu_status quipu_status_from_nats(natsStatus status);

/* `number` 0, or one that is not in the table: QUIPU_SERVER. */
enum quipu_status quipu_status_from_js(int number);

/* What a refusal by number means for an event that is being published. */
enum js_refusal {
    JS_REFUSAL_STORED,  /* something is stored there already */
    JS_REFUSAL_NOT_NOW, /* the server says try again */
    JS_REFUSAL_EVENT,   /* this message never, others yes */
    JS_REFUSAL_ALL,     /* every message, until a person does something */
};
enum js_refusal quipu_js_refusal(int number);

/* What the library last said in this thread, without "(name of its source:line): " in front; NULL:
 * nothing. */
const char *quipu_nats_detail(void);

/* "doing what: the library's words" with the translated status; the JetStream number decides where
 * it is not 0. */
enum quipu_status quipu_error_nats(struct quipu_error *err, natsStatus status, int number,
                                   const char *format, ...) QUIPU_PRINTF(4, 5);

#endif
