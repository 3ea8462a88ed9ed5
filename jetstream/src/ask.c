/*
 * Many requests at once over one connection, each answered once. Knows nothing of what they ask.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "internal/invariant.h"
#include "patience.h"
#include "reconcile.h"

#define ATTEMPTS_MAX 3
#define KIND_ASK     0

struct asking {
    struct quipu_nats *nats;
    const struct ask_batch *batch;
    uint64_t first_token;
    size_t left;
    bool is_answered[ASK_MAX];
};

static enum quipu_status send_all(struct asking *asking, struct quipu_error *err)
{
    struct ask_request request;
    for (size_t i = 0; i < asking->batch->count; i++) {
        if (asking->is_answered[i]) {
            continue;
        }
        asking->batch->request(asking->batch->ctx, i, &request);
        struct nats_outgoing message = {.subject = request.subject,
                                        .body = quipu_slice_text(request.body)};
        struct nats_token token = {asking->first_token + i, KIND_ASK};
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
        token->kind != KIND_ASK || asking->is_answered[index]) {
        return QUIPU_OK; /* an answer to an earlier attempt, or to another operation */
    }
    asking->is_answered[index] = true;
    asking->left--;
    return asking->batch->answer(asking->batch->ctx, index, msg, quipu_msg_status(msg), err);
}

/* Until all are answered or none has come for a request's time. @retval QUIPU_TIMEOUT */
static enum quipu_status receive_all(struct asking *asking, struct quipu_error *err)
{
    while (asking->left > 0) {
        natsMsg *msg = NULL;
        struct nats_token token = {0, 0};
        enum quipu_status status =
            quipu_nats_receive(asking->nats, asking->nats->request_timeout_us, &msg, &token, err);
        if (status == QUIPU_DONE) {
            return quipu_error_set(err, QUIPU_TIMEOUT, "server %s has not answered",
                                   asking->nats->server);
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

enum quipu_status quipu_ask(struct quipu_nats *nats, const struct ask_batch *batch,
                            struct quipu_error *err)
{
    QUIPU_INVARIANT(batch->count <= ASK_MAX);
    struct asking asking = {
        .nats = nats, .batch = batch, .first_token = nats->next_token, .left = batch->count};
    struct backoff backoff = {0};
    enum quipu_status status = QUIPU_OK;
    nats->next_token += batch->count;
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        status = attempt == 0 ? QUIPU_OK : quipu_nats_ready(nats, err);
        if (status == QUIPU_OK) {
            status = send_all(&asking, err);
        }
        if (status == QUIPU_OK) {
            status = receive_all(&asking, err);
        }
        if (status != QUIPU_TIMEOUT && status != QUIPU_OFFLINE) {
            return status;
        }
        quipu_nats_sleep(quipu_backoff_next(&backoff, 0));
    }
    return status;
}
