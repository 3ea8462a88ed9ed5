/*
 * What the tests of the service share: a service that runs in a thread on a store of its own, and a
 * peer that asks it by libnats alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_SERVICE_KIT_H
#define QUIPU_TESTS_SERVICE_KIT_H

#include <nats/nats.h>
#include <pthread.h>
#include <semaphore.h>

#include "js_kit.h"
#include "quipu/service.h"

#define PATIENCE_MS 20000
#define PATIENCE_US ((int64_t)PATIENCE_MS * 1000)

struct served {
    struct nats_fixture server;
    struct js_store store;
    struct quipu_service *service;
    pthread_t thread;
    enum quipu_status ended; /* what the run returned */
    natsConnection *peer;
};

/* Start server, store, service and its run; wait until it stands. `options` NULL: the defaults;
 * without `nats` it is the fixture, and nobody. */
void served_start(struct served *served, const struct quipu_service_options *options);
/* The same on a server and a store that are there already. */
void served_run(struct served *served, const struct quipu_service_options *options);
/* And without waiting until it stands. */
void served_begin(struct served *served, const struct quipu_service_options *options);
/* Stop the run and wait for it; it must have ended well. */
void served_stop(struct served *served);
/* Stop what runs, and remove everything. */
void served_release(struct served *served);

/* What the command "wait" waits at: each request says that it has entered, and is answered, with
 * nothing, as soon as one more may go. */
struct gate {
    sem_t entered;
    sem_t may_go;
};
/* The gate must stay where it is. */
struct quipu_service_command gate_command(struct gate *gate);
#define GATE_SUBJECT "svc.cim.keys.cmd.wait"

struct ask {
    const char *subject;
    const char *body; /* text; or block */
    struct quipu_slice block;
    const char *headers[8][2]; /* ended by NULL */
};

/* Ask and wait for the answer; the caller destroys it. */
natsMsg *served_ask(natsConnection *peer, const struct ask *ask);
/* Its header, "" where there is none. */
const char *answer_header(natsMsg *answer, const char *name);
/* What is at a path such as "events.0.position" in a body of DAG-JSON, as DAG-JSON in `out`; fails
 * the test where nothing is there. */
const char *answer_at(natsMsg *answer, const char *path, char out[512]);
uint64_t answer_number(natsMsg *answer, const char *path);

uint64_t served_events(struct served *served);

#endif
