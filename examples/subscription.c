/* A tool with a loop of its own: lines from stdin become events, and a subscription prints every
 * event that it has not printed before, also those of other processes. SPDX-License-Identifier:
 * Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/engine.h"
#include "quipu/subscription.h"

static void check(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        fprintf(stderr, "%s: %s\n", quipu_status_text(status), err->message);
        exit(1);
    }
}

/* Print what is new, until there is nothing more for now. */
static void print_news(struct quipu_subscription *subscription)
{
    struct quipu_event_view event;
    struct quipu_error err;
    enum quipu_status status;
    uint64_t printed = 0;
    while ((status = quipu_subscription_next(subscription, &event, &err)) == QUIPU_OK) {
        printf("%llu %.*s %.*s\n", (unsigned long long)event.position,
               QUIPU_SLICE_FMT(event.envelope.event_type),
               QUIPU_SLICE_FMT(event.envelope.aggregate_id));
        printed = event.position;
    }
    if (status != QUIPU_DONE) {
        check(status, &err);
    }
    fflush(stdout);
    if (printed > 0) { /* durable: the next run begins behind it */
        check(quipu_subscription_acknowledge(subscription, printed, &err), &err);
    }
}

static void record(struct quipu_engine *engine, const char *line)
{
    struct quipu_error err;
    struct quipu_buf payload = QUIPU_BUF_INIT; /* {"text": line} */
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &payload);
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "text");
    quipu_dagcbor_write_text(&writer, quipu_slice_text(line));
    check(quipu_dagcbor_writer_finish(&writer, &err), &err);
    struct quipu_event event = {
        .type = "note.taken", .aggregate = {"note", "desk"}, .payload = quipu_buf_slice(&payload)};
    check(quipu_append(engine, &event, NULL, &err), &err);
    quipu_buf_release(&payload);
}

int main(int argc, char **argv)
{
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct quipu_error err;
    check(quipu_store_open(argc > 1 ? argv[1] : "ceremony.quipu", NULL, &store, &err), &err);
    check(quipu_engine_open(store, NULL, &engine, &err), &err);

    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = "printer"; /* its cursor in the store; leave it out to see everything */
    struct quipu_subscription *subscription;
    check(quipu_subscription_open(engine, &options, &subscription, &err), &err);

    setvbuf(stdin, NULL, _IONBF, 0); /* poll must see what fgets has not read */
    struct pollfd polled[] = {
        {.fd = quipu_subscription_fd(subscription), .events = POLLIN},
        {.fd = 0, .events = POLLIN},
    };
    char line[256];
    while (poll(polled, 2, -1) > 0) {
        if (polled[0].revents != 0) {
            print_news(subscription);
        }
        if (polled[1].revents != 0) {
            if (fgets(line, sizeof line, stdin) == NULL) {
                break;
            }
            line[strcspn(line, "\n")] = 0;
            record(engine, line);
        }
    }
    print_news(subscription);

    quipu_subscription_close(&subscription);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    return 0;
}
