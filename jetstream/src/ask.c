/*
 * Many questions at once over one connection, each answered once. Knows nothing of what they ask.
 *
 * Direct gets at first. An answer that cannot be read is asked for again, of the stream's leader;
 * so is one that the library swallows, which shows when so many are left as were swallowed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "internal/invariant.h"
#include "patience.h"
#include "reconcile.h"

#define ATTEMPTS_MAX 3
#define KIND_DIRECT  0
#define KIND_LEADER  1

struct asking {
    struct quipu_nats *nats;
    const struct ask_batch *batch;
    uint64_t first_token;
    size_t left;
    size_t unread; /* of those: answered so that it cannot be read, as far as is known */
    enum stored_via via;
    bool is_answered[ASK_MAX];
};

static enum quipu_status send_all(struct asking *asking, struct quipu_error *err)
{
    char room[STORED_SUBJECT_BYTES];
    struct stored_room request_room;
    asking->unread = 0;
    for (size_t i = 0; i < asking->batch->count; i++) {
        if (asking->is_answered[i]) {
            continue;
        }
        struct stored_ask question = {.stream = NULL};
        struct nats_outgoing message;
        asking->batch->question(asking->batch->ctx, i, room, &question);
        quipu_stored_request(&question, asking->via, &request_room, &message);
        struct nats_token token = {asking->first_token + i,
                                   asking->via == STORED_DIRECT ? KIND_DIRECT : KIND_LEADER};
        enum quipu_status status = quipu_nats_publish(asking->nats, &message, &token, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

static enum quipu_status take(struct asking *asking, const struct nats_token *token, natsMsg *msg,
                              struct quipu_error *err)
{
    uint64_t index = token->number - asking->first_token;
    if (token->number < asking->first_token || index >= asking->batch->count ||
        token->kind > KIND_LEADER || asking->is_answered[index]) {
        return QUIPU_OK; /* an answer to an earlier attempt, or to another operation */
    }
    struct stored stored;
    enum quipu_status status = QUIPU_OK;
    quipu_stored_read(msg, &stored);
    if (stored.code == STORED_UNREADABLE && asking->via == STORED_DIRECT) {
        asking->unread++;
    } else {
        asking->is_answered[index] = true;
        asking->left--;
        status = asking->batch->answer(asking->batch->ctx, index, &stored, err);
    }
    quipu_stored_release(&stored);
    return status;
}

/* Until all are answered that can be so, or none has come for a request's time.
 * @retval QUIPU_TIMEOUT */
static enum quipu_status receive_all(struct asking *asking, struct quipu_error *err)
{
    while (asking->left > asking->unread) {
        natsMsg *msg = NULL;
        struct nats_token token = {0, 0};
        enum quipu_status status =
            quipu_nats_receive(asking->nats, asking->nats->request_timeout_us, &msg, &token, err);
        if (status == QUIPU_DONE) {
            return quipu_error_set(err, QUIPU_TIMEOUT, "server %s has not answered",
                                   asking->nats->server);
        }
        if (status == QUIPU_NOT_PROVISIONED && asking->via == STORED_DIRECT) {
            asking->unread++; /* or there is no stream: its leader's absence says so */
            continue;
        }
        if (status == QUIPU_OK) {
            status = take(asking, &token, msg, err);
            natsMsg_Destroy(msg);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

static enum quipu_status ask_all(struct asking *asking, struct quipu_error *err)
{
    enum quipu_status status = send_all(asking, err);
    if (status == QUIPU_OK) {
        status = receive_all(asking, err);
    }
    if (status != QUIPU_OK || asking->left == 0) {
        return status;
    }
    asking->via = STORED_LEADER;
    status = send_all(asking, err);
    return status == QUIPU_OK ? receive_all(asking, err) : status;
}

enum quipu_status quipu_ask(struct quipu_nats *nats, const struct ask_batch *batch,
                            struct quipu_error *err)
{
    QUIPU_INVARIANT(batch->count <= ASK_MAX);
    struct asking asking = {.nats = nats,
                            .batch = batch,
                            .first_token = nats->next_token,
                            .left = batch->count,
                            .via = STORED_DIRECT};
    struct backoff backoff = {0};
    enum quipu_status status = QUIPU_OK;
    nats->next_token += batch->count;
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        status = attempt == 0 ? QUIPU_OK : quipu_nats_ready(nats, err);
        if (status == QUIPU_OK) {
            status = ask_all(&asking, err);
        }
        if (status != QUIPU_TIMEOUT && status != QUIPU_OFFLINE) {
            return status;
        }
        quipu_nats_sleep(quipu_backoff_next(&backoff, 0));
    }
    return status;
}
