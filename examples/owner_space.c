/*
 * Request and reply in a form of one's own: ExecuteHandler and StatusRequest come on
 * OwnerSpace.{guid}.forVault.>, HandlerResult and StatusResponse go to OwnerSpace.{guid}.forApp.>.
 * A handler that is executed is an event; its result goes out when the event is durable.
 *
 *     owner_space STORE SERVER GUID        until SIGINT or SIGTERM
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/outbox.h"
#include "quipu/service.h"

static struct quipu_service *service;

static void stop(int number)
{
    (void)number;
    quipu_service_stop(service);
}

struct space {
    const char *guid;
};

/* {"type", "pending", "request_id"}: the request's own id comes back as it came. */
static enum quipu_status respond(struct quipu_request *request, const char *guid, const char *type,
                                 uint64_t pending, struct quipu_error *err)
{
    static const uint8_t null[] = {0xf6};
    struct quipu_slice id;
    struct quipu_buf item = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    char subject[256];
    if (quipu_dagcbor_map_get(quipu_request_body(request), "request_id", &id, NULL) != QUIPU_OK) {
        id = quipu_slice(null, sizeof null);
    }
    quipu_dagcbor_writer_init(&writer, &item);
    quipu_dagcbor_write_map(&writer, 3);
    quipu_dagcbor_write_key(&writer, "type");
    quipu_dagcbor_write_text(&writer, quipu_slice_text(type));
    quipu_dagcbor_write_key(&writer, "pending");
    quipu_dagcbor_write_uint(&writer, pending);
    quipu_dagcbor_write_key(&writer, "request_id");
    quipu_dagcbor_write_item(&writer, id);
    (void)snprintf(subject, sizeof subject, "OwnerSpace.%s.forApp.%s", guid, type);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK) {
        status = quipu_request_result(request, quipu_buf_slice(&item), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_request_reply_to(request, subject, err);
    }
    quipu_request_result_is_reply(request);
    quipu_buf_release(&item);
    return status;
}

static enum quipu_status execute(void *ctx, struct quipu_request *request, struct quipu_error *err)
{
    const struct space *space = ctx;
    struct quipu_outbox_status outbox;
    struct quipu_event event = {.type = "handler.executed",
                                .aggregate = {"owner_space", space->guid},
                                .payload = quipu_request_body(request)};
    enum quipu_status status = quipu_request_append(request, &event, 1, err);
    if (status == QUIPU_OK) {
        status = quipu_outbox_status(quipu_request_engine(request), &outbox, err);
    }
    return status == QUIPU_OK ? respond(request, space->guid, "HandlerResult", outbox.pending, err)
                              : status;
}

static enum quipu_status tell_status(void *ctx, struct quipu_request *request,
                                     struct quipu_error *err)
{
    const struct space *space = ctx;
    struct quipu_outbox_status outbox;
    enum quipu_status status = quipu_outbox_status(quipu_request_engine(request), &outbox, err);
    return status == QUIPU_OK ? respond(request, space->guid, "StatusResponse", outbox.pending, err)
                              : status;
}

static enum quipu_status serve(struct quipu_engine *engine, const char *url, struct space *space,
                               struct quipu_error *err)
{
    char subjects[2][256];
    (void)snprintf(subjects[0], 256, "OwnerSpace.%s.forVault.ExecuteHandler", space->guid);
    (void)snprintf(subjects[1], 256, "OwnerSpace.%s.forVault.StatusRequest", space->guid);
    struct quipu_service_command commands[] = {
        {.name = "execute", .subject = subjects[0], .run = execute, .ctx = space},
        {.name = "status", .subject = subjects[1], .run = tell_status, .ctx = space},
    };
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    nats.url = url;
    options.nats = &nats;
    options.name = "owner-space";
    options.commands = commands;
    options.command_count = 2;
    options.has_no_append = true;
    enum quipu_status status = quipu_service_open(engine, &options, &service, err);
    if (status == QUIPU_OK) {
        (void)signal(SIGINT, stop);
        (void)signal(SIGTERM, stop);
        status = quipu_service_run(service, err);
        quipu_service_close(&service);
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: owner_space STORE SERVER GUID\n");
        return 2;
    }
    struct quipu_error err;
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct space space = {argv[3]};
    enum quipu_status status = quipu_store_open(argv[1], NULL, &store, &err);
    if (status == QUIPU_OK) {
        status = quipu_engine_open(store, NULL, &engine, &err);
    }
    if (status == QUIPU_OK) {
        status = serve(engine, argv[2], &space, &err);
    }
    if (status != QUIPU_OK) {
        fprintf(stderr, "owner_space: %s\n", err.message);
    }
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    return status == QUIPU_OK ? 0 : 1;
}
