/*
 * The online acts of the demo: a server of our own, provision, flush, flush again from both stores,
 * pull into a third. The server is stopped whatever happens.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "demo.h"
#include "demo_server.h"
#include "quipu/jetstream.h"

static enum quipu_status provision(struct demo *demo, struct quipu_nats *nats,
                                   struct quipu_error *err)
{
    struct quipu_provision_options options = QUIPU_PROVISION_OPTIONS_INIT;
    struct quipu_provision_report report = {0};
    enum quipu_status status = quipu_provision(nats, &options, &report, err);
    if (status == QUIPU_OK) {
        demo_step(demo, "provision", "stream %s and object store %s made", QUIPU_STREAM_DEFAULT,
                  QUIPU_BUCKET_DEFAULT);
    }
    quipu_buf_release(&report.drift);
    return status;
}

/* `wanted` events must be published now, and all the others be there already. */
static enum quipu_status flush(struct demo *demo, enum demo_store store, struct quipu_nats *nats,
                               uint64_t wanted, struct quipu_error *err)
{
    struct quipu_flush_report report = {0};
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    enum quipu_status status = quipu_flush(demo->engines[store], nats, &options, &report, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (report.published != wanted || report.dead != 0 || report.pending != 0) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "flush: %" PRIu64 " published where %" PRIu64
                               " were expected, %" PRIu64 " refused, %" PRIu64 " pending",
                               report.published, wanted, report.dead, report.pending);
    }
    if (wanted > 0) {
        char bytes[CLI_COUNT_BYTES];
        demo_step(demo, "flush",
                  "%" PRIu64 " events to the stream, %" PRIu64 " payloads (%s) to the "
                  "object store",
                  report.published, report.payloads_stored, cli_bytes(report.payload_bytes, bytes));
    } else if (report.duplicates > 0) {
        demo_step(demo, "flush",
                  "from the second store: %" PRIu64 " published, %" PRIu64
                  " recognised by the server",
                  report.published, report.duplicates);
    } else {
        demo_step(demo, "flush", "once more: %" PRIu64 " published", report.published);
    }
    return QUIPU_OK;
}

static enum quipu_status pull(struct demo *demo, struct quipu_nats *nats, uint64_t wanted,
                              struct quipu_error *err)
{
    struct quipu_pull_report report = {0};
    struct quipu_pull_options options = {.size = sizeof options};
    enum quipu_status status = quipu_pull(demo->engines[DEMO_OFFICE], nats, &options, &report, err);
    if (status == QUIPU_OK && report.events.added != wanted) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "pull: %" PRIu64 " of %" PRIu64 " events came in",
                               report.events.added, wanted);
    }
    if (status == QUIPU_OK) {
        demo_step(demo, "pull", "%" PRIu64 " events into a third store, each payload checked",
                  report.events.added);
    }
    return status;
}

static enum quipu_status count_events(struct demo *demo, uint64_t *out, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(demo->stores[DEMO_CEREMONY], &txn, err);
    if (status == QUIPU_OK) {
        *out = quipu_txn_last_position(txn);
    }
    quipu_txn_abort(&txn);
    return status;
}

static enum quipu_status play(struct demo *demo, const struct demo_server *server,
                              struct quipu_error *err)
{
    uint64_t events = 0;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server->url;
    options.credentials_file = ""; /* the operator's own have no business at the demo's server */
    enum quipu_status status = count_events(demo, &events, err);
    if (status == QUIPU_OK) {
        status = quipu_nats_open(&options, &nats, err);
    }
    if (status == QUIPU_OK) {
        status = provision(demo, nats, err);
    }
    if (status == QUIPU_OK) {
        status = flush(demo, DEMO_CEREMONY, nats, events, err);
    }
    if (status == QUIPU_OK) {
        status = flush(demo, DEMO_CEREMONY, nats, 0, err);
    }
    if (status == QUIPU_OK) {
        status = flush(demo, DEMO_VAULT, nats, 0, err);
    }
    if (status == QUIPU_OK) {
        status = cli_open_at(demo->paths[DEMO_OFFICE], QUIPU_STORE_CREATE_NEW,
                             &demo->stores[DEMO_OFFICE], &demo->engines[DEMO_OFFICE], err);
    }
    if (status == QUIPU_OK) {
        status = pull(demo, nats, events, err);
    }
    quipu_nats_close(&nats);
    return status;
}

enum quipu_status demo_online(struct demo *demo, struct quipu_error *err)
{
    char program[DEMO_SERVER_PATH_BYTES];
    char folder[DEMO_SERVER_PATH_BYTES];
    struct demo_server server = {0};
    enum quipu_status status = demo_server_find(demo->server_program, program, err);
    if (status == QUIPU_NOT_FOUND && demo->server_program == NULL) {
        demo_step(demo, "server",
                  "left out: nats-server is not installed "
                  "(apt-get install nats-server)");
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    (void)snprintf(folder, sizeof folder, "%s/nats-server", demo->dir);
    status = demo_server_start(program, folder, &server, err);
    if (status != QUIPU_OK) {
        return status;
    }
    demo_step(demo, "server", "%s at %s, process %ld", program, server.url, (long)server.pid);
    status = play(demo, &server, err);
    demo_server_stop(&server);
    if (status == QUIPU_OK) {
        demo_step(demo, "server", "stopped");
    }
    return status;
}
