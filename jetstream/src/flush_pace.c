/*
 * How many bytes a flush has under way. Whoever hands a slow line all that he has must wait for all
 * of it before the first answer to the last of it can come, and cannot tell a slow line from a lost
 * message. So what is under way is bounded by what the line carries in a short while:
 *
 *   - at first 128 KiB;
 *   - an answer that came within a fifth of its deadline allows as much again as it acknowledges,
 *     on top of what it frees: on a fast line the bound doubles with each round trip, and the
 *     window's size is soon what counts;
 *   - an answer that came later frees nothing: what is under way shrinks until answers are quick;
 *   - a deadline that runs out halves it. It is never below 32 KiB, and one message always goes.
 *
 * Answers come nearly in order: one says that everything sent before it has arrived too. Pure: no
 * I/O, no clock.
 *
 * Specification: docs/SPEC.md §10.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "flusher.h"

#define BEGIN_BYTES  ((uint64_t)128 << 10)
#define BYTES_MIN    ((uint64_t)32 << 10)
#define BYTES_MAX    ((uint64_t)64 << 20) /* more than the window ever holds */
#define QUICK_PARTS  5
#define HEADER_BYTES 128 /* "HPUB", the reply subject and the lengths, roughly */

void quipu_pace_begin(struct flush_pace *pace)
{
    pace->sent = 0;
    pace->answered = 0;
    pace->allowance = BEGIN_BYTES;
}

bool quipu_pace_allows(const struct flush_pace *pace)
{
    return pace->sent - pace->answered < pace->allowance;
}

void quipu_pace_answered(struct flush_pace *pace, const struct flush_mark *mark, int64_t answer_us,
                         int64_t now_us)
{
    if (mark->end <= pace->answered) {
        return;
    }
    uint64_t bytes = mark->end - pace->answered;
    bool is_quick = now_us - mark->sent_us <= answer_us / QUICK_PARTS;
    pace->answered = mark->end;
    if (is_quick) {
        pace->allowance = pace->allowance < BYTES_MAX - bytes ? pace->allowance + bytes : BYTES_MAX;
    } else {
        pace->allowance = pace->allowance > BYTES_MIN + bytes ? pace->allowance - bytes : BYTES_MIN;
    }
}

void quipu_pace_expired(struct flush_pace *pace)
{
    pace->answered = pace->sent;
    pace->allowance = pace->allowance / 2 > BYTES_MIN ? pace->allowance / 2 : BYTES_MIN;
}

enum quipu_status quipu_flusher_publish(struct flusher *flusher, uint64_t ticket, uint8_t kind,
                                        const struct nats_outgoing *message)
{
    struct nats_token token = {ticket, kind};
    enum quipu_status status =
        quipu_nats_publish(flusher->nats, message, &token, &flusher->trouble);
    if (status == QUIPU_OK) {
        struct flush_pace *pace = &flusher->pace;
        pace->sent += quipu_outgoing_bytes(message) + strlen(message->subject) + HEADER_BYTES;
        flusher_item(flusher, ticket)->marks[kind] =
            (struct flush_mark){pace->sent, quipu_monotonic_us()};
    }
    return status;
}
