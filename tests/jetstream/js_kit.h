/*
 * What the tests of jetstream share: a store with events, a connection, and a look at what lies on
 * the server that does not go through the code under test.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_JS_KIT_H
#define QUIPU_TESTS_JS_KIT_H

#include <nats/nats.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "nats_fixture.h"
#include "quipu/engine.h"
#include "quipu/jetstream.h"

/* A store in a folder of its own. */
struct js_store {
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store;
    struct quipu_engine *engine;
};

void js_store_open(struct js_store *store);
/* Close the handles; the folder stays, and js_store_reopen opens it again. */
void js_store_close(struct js_store *store);
void js_store_reopen(struct js_store *store);
void js_store_release(struct js_store *store);

/* Append `count` events over ten aggregates "key/k0"… with payloads of about `bytes` bytes; each
 * payload is new where `are_payloads_unique`, else ten of them are shared. */
enum js_payloads { JS_PAYLOADS_UNIQUE, JS_PAYLOADS_SHARED };
void js_store_fill(struct js_store *store, size_t count, size_t bytes, enum js_payloads payloads);

/* Append one event given as a line of JSON. Returns its position. */
uint64_t js_store_append(struct js_store *store, const char *line);

/* Take every event of `from` into `into`, as an import would. */
void js_store_copy(struct js_store *from, struct js_store *into);

struct quipu_outbox_status js_store_outbox(struct js_store *store);

/* Raise a figure, from whichever thread; wait until it has come to `at_least`. Nothing is judged by
 * how long that takes, but where it never does, the test fails. */
void js_figure_add(uint64_t *figure, uint64_t by);
void js_figure_await(const uint64_t *figure, uint64_t at_least);

/* A connection to the fixture, with timeouts that suit a test. */
struct quipu_nats *js_connect(const struct nats_fixture *server);

/* Make stream and bucket; `duplicate_window_us` 0 for the default. */
void js_provision(struct quipu_nats *nats, int64_t duplicate_window_us);

/* Flush that must succeed. */
struct quipu_flush_report js_flush(struct js_store *store, struct quipu_nats *nats);

/* Pull that must succeed. */
struct quipu_pull_report js_pull(struct js_store *store, struct quipu_nats *nats);

/* What most tests begin and end with: a server, an empty store, and a connection (NULL: none). */
void js_start(struct nats_fixture *server, struct js_store *store, struct quipu_nats **nats);
void js_stop(struct nats_fixture *server, struct js_store *store, struct quipu_nats **nats);

/* The dead letters of a store. */
#define JS_LETTERS_MAX 8
struct js_letters {
    size_t count;
    uint64_t positions[JS_LETTERS_MAX];
    enum quipu_status reasons[JS_LETTERS_MAX];
    char lines[JS_LETTERS_MAX][QUIPU_ERROR_MESSAGE_BYTES];
};
struct js_letters js_letters_of(struct js_store *store);

/* Run flush_child, from beside the test's program, on the store; `verb` NULL: flush; `failpoint`
 * NULL: none. Where it must not be open, that is the test's to see to. */
pid_t js_child_start(const struct js_store *store, const char *url, const char *verb,
                     const char *failpoint);
/* How it ended, as waitpid says. */
int js_child_wait(pid_t pid);

/* A way to the server that does not go through the code under test. */
void js_side_open(const struct nats_fixture *server, natsConnection **connection, jsCtx **js);
void js_side_close(natsConnection **connection, jsCtx **js);
/* Act by one that is there for this call only. */
void js_with(const struct nats_fixture *server, void (*act)(jsCtx *js, const void *ctx),
             const void *ctx);

/* Look at the server through a connection of its own. */
uint64_t js_stream_messages(const struct nats_fixture *server, const char *stream);

/* Fails the test unless the stream holds exactly the events of the store, each once, with the
 * envelope as its body, in an order in which each aggregate's versions ascend, and the bucket holds
 * each payload as ADR-20 says. */
void js_expect_all_published(const struct nats_fixture *server, struct js_store *store);

/* Assert that `b` holds the events of `a` and no others, wherever they are in its log. */
void js_assert_same_events(struct js_store *a, struct js_store *b);

#endif
