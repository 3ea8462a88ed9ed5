/*
 * The thread that gets newer credentials before the ones in use expire. It only puts them where the
 * next connect finds them: when the server ends the old connection, or the next operation begins,
 * the new ones are taken, and what was in flight is sent again, so no event is lost between them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>
#include <time.h>

#include "connection_state.h"
#include "nats_identity.h"
#include "quipu/alloc.h"

#define US_PER_S     1000000
#define NS_PER_US    1000
#define PAUSE_US_MIN ((int64_t)100 * 1000)
#define PAUSE_US_MAX ((int64_t)60 * US_PER_S)

/* Until `unix_us`, or until something has happened to the credentials. Holds the mutex. */
static void wait_until(struct quipu_nats *nats, int64_t unix_us)
{
    struct timespec until = {(time_t)(unix_us / US_PER_S), (long)(unix_us % US_PER_S) * NS_PER_US};
    uint64_t generation = nats->identity.generation;
    int waited = 0;
    while (!nats->identity.is_stopping && nats->identity.generation == generation && waited == 0) {
        waited = pthread_cond_timedwait(&nats->link.changed, &nats->link.mutex, &until);
    }
}

/* How long to leave the host in peace after it was asked. Credentials that are new but short-lived
 * are renewed at half of what is left. */
static int64_t pause_us(const struct nats_identity *identity, bool are_new, int64_t now)
{
    int64_t left = identity->newest.claims.expires_unix_us - now;
    int64_t pause = are_new ? left / 2 : left / 4;
    if (!are_new && (pause > PAUSE_US_MAX || left <= 0)) {
        return PAUSE_US_MAX;
    }
    return pause < PAUSE_US_MIN ? PAUSE_US_MIN : pause;
}

static void *watch(void *arg)
{
    struct quipu_nats *nats = arg;
    struct nats_identity *identity = &nats->identity;
    uint64_t told = 0;
    (void)pthread_mutex_lock(&nats->link.mutex);
    while (!identity->is_stopping) {
        int64_t expires = identity->newest.claims.expires_unix_us;
        int64_t now = quipu_link_now_us();
        if (expires == 0 || expires - now > NATS_REFRESH_BEFORE_US) {
            wait_until(nats, expires == 0 ? now + PAUSE_US_MAX : expires - NATS_REFRESH_BEFORE_US);
            continue;
        }
        if (told != identity->generation) {
            told = identity->generation;
            quipu_link_note(&nats->link);
            quipu_link_tell(&nats->link);
        }
        uint64_t before = identity->generation;
        (void)pthread_mutex_unlock(&nats->link.mutex);
        enum quipu_status renewed = quipu_nats_identity_renew(nats, NULL);
        (void)renewed; /* where it failed, it is asked for again after the pause */
        (void)pthread_mutex_lock(&nats->link.mutex);
        now = quipu_link_now_us();
        wait_until(nats, now + pause_us(identity, identity->generation != before, now));
    }
    (void)pthread_mutex_unlock(&nats->link.mutex);
    return NULL;
}

enum quipu_status quipu_nats_identity_watch(struct quipu_nats *nats, struct quipu_error *err)
{
    struct nats_identity *identity = &nats->identity;
    bool can_end = identity->newest.claims.expires_unix_us != 0;
    if (identity->kind != NATS_IDENTITY_JWT || (!can_end && identity->refresh == NULL)) {
        return QUIPU_OK;
    }
    int failure = pthread_create(&identity->watcher, NULL, watch, nats);
    if (failure != 0) {
        return quipu_error_errno(err, failure, "start the thread that renews credentials");
    }
    identity->has_watcher = true;
    return QUIPU_OK;
}

static void text_release(char **text)
{
    if (*text != NULL) {
        explicit_bzero(*text, strlen(*text));
        quipu_free(*text);
        *text = NULL;
    }
}

void quipu_nats_identity_release(struct quipu_nats *nats)
{
    struct nats_identity *identity = &nats->identity;
    (void)pthread_mutex_lock(&nats->link.mutex);
    identity->is_stopping = true;
    (void)pthread_cond_broadcast(&nats->link.changed);
    (void)pthread_mutex_unlock(&nats->link.mutex);
    if (identity->has_watcher) {
        (void)pthread_join(identity->watcher, NULL);
        identity->has_watcher = false;
    }
    quipu_credentials_release(&identity->newest);
    quipu_credentials_release(&nats->in_use);
    text_release(&identity->file);
    text_release(&identity->token);
}
