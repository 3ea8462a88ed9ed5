/*
 * quipu status: what is in the store, what waits, what was refused, how far the projections are.
 * Shows the reply to the query "status" (query.h), what has waited longest, and what is known about
 * publishing without a network.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "catalogue.h"
#include "cli.h"
#include "network_figures.h"
#include "print.h"
#include "quipu/clock.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/outbox.h"
#include "quipu/query.h"
#include "receipts.h"

struct status_values {
    bool is_receipts;
};

/* ------------------------------------------------------------------ looking into the reply */

/* The value of a member; empty where it is absent. The reply is the library's own. */
static struct quipu_slice member(struct quipu_slice map, const char *key)
{
    struct quipu_slice value;
    return quipu_dagcbor_map_get(map, key, &value, NULL) == QUIPU_OK ? value : quipu_slice(NULL, 0);
}

/* Text, or empty for null. */
static struct quipu_slice text(struct quipu_slice map, const char *key)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_slice out;
    quipu_dagcbor_reader_init(&reader, member(map, key));
    return quipu_dagcbor_read_text(&reader, &out, NULL) == QUIPU_OK ? out : quipu_slice(NULL, 0);
}

static uint64_t number(struct quipu_slice map, const char *key)
{
    struct quipu_dagcbor_reader reader;
    uint64_t out = 0;
    quipu_dagcbor_reader_init(&reader, member(map, key));
    return quipu_dagcbor_read_uint(&reader, &out, NULL) == QUIPU_OK ? out : 0;
}

static bool is_map(struct quipu_slice value)
{
    struct quipu_dagcbor_reader reader;
    uint64_t pairs;
    quipu_dagcbor_reader_init(&reader, value);
    return quipu_dagcbor_read_map(&reader, &pairs, NULL) == QUIPU_OK;
}

typedef enum quipu_status (*projection_fn)(void *ctx, struct quipu_slice projection,
                                           struct quipu_error *err);

static enum quipu_status each_projection(struct quipu_slice reply, projection_fn visit, void *ctx,
                                         struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t count = 0;
    quipu_dagcbor_reader_init(&reader, member(reply, "projections"));
    enum quipu_status status = quipu_dagcbor_read_list(&reader, &count, err);
    for (uint64_t i = 0; i < count && status == QUIPU_OK; i++) {
        struct quipu_slice projection;
        status = quipu_dagcbor_next_whole(&reader, &projection, err);
        if (status == QUIPU_OK) {
            status = visit(ctx, projection, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------ what has waited longest */

struct oldest {
    uint64_t position; /* 0: nothing waits, or it is damaged */
    int64_t occurred_unix_us;
    bool is_damaged;
};

static enum quipu_status take_oldest(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    struct oldest *oldest = ctx;
    (void)err;
    oldest->position = event->position;
    oldest->occurred_unix_us = event->envelope.occurred_unix_us;
    return QUIPU_DONE;
}

/* Damage is for `quipu verify` to tell; here it must not hide everything else. */
static enum quipu_status find_oldest(const struct cli *cli, struct quipu_slice outbox,
                                     struct oldest *out, struct quipu_error *err)
{
    *out = (struct oldest){.position = 0};
    if (number(outbox, "pending") == 0) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_outbox_each_pending(cli->engine, number(outbox, "cursor"), 1,
                                                         take_oldest, out, NULL, err);
    out->is_damaged = status == QUIPU_CORRUPT;
    return out->is_damaged ? QUIPU_OK : status;
}

static int64_t age_us(const struct oldest *oldest)
{
    struct quipu_clock clock = quipu_clock_system();
    int64_t now_us = clock.unix_us(clock.ctx);
    return oldest->occurred_unix_us < now_us ? now_us - oldest->occurred_unix_us : 0;
}

/* ------------------------------------------------------------------ for people */

static void print_count(const struct cli *cli, const char *name, uint64_t value)
{
    char count[CLI_COUNT_BYTES];
    cli_print_name(cli, name);
    (void)printf("%s\n", cli_count(value, count));
}

static enum quipu_status say_projection(void *ctx, struct quipu_slice projection,
                                        struct quipu_error *err)
{
    const struct cli *cli = *(const struct cli *const *)ctx;
    struct quipu_slice name = text(projection, "name");
    struct quipu_slice state = text(projection, "state");
    struct quipu_slice parked = member(projection, "parked");
    uint64_t lag = number(projection, "lag");
    char events[CLI_COUNTED_BYTES];
    (void)err;
    cli_print_name(cli, "projection");
    (void)printf("%.*s: %.*s", QUIPU_SLICE_FMT(name), QUIPU_SLICE_FMT(state));
    if (lag > 0) {
        (void)printf(", %s behind", cli_counted(lag, "event", events));
    }
    if (is_map(parked)) {
        (void)printf(", in front of position %" PRIu64 ": ", number(parked, "position"));
        cli_put_plain(text(parked, "line"));
    }
    (void)printf("\n");
    return QUIPU_OK;
}

/* Is there a projection of this name? */
struct looking_for {
    struct quipu_slice name;
    bool is_found;
};

static enum quipu_status look_at_projection(void *ctx, struct quipu_slice projection,
                                            struct quipu_error *err)
{
    struct looking_for *looking = ctx;
    (void)err;
    looking->is_found =
        looking->is_found || quipu_slice_equal(text(projection, "name"), looking->name);
    return QUIPU_OK;
}

static void say_store(const struct cli *cli, struct quipu_slice reply)
{
    struct quipu_slice store = member(reply, "store");
    struct quipu_slice source = text(reply, "source");
    char bytes[CLI_COUNT_BYTES];
    cli_print_name(cli, "store");
    cli_say("%s", cli->store_path);
    cli_print_name(cli, "source");
    if (source.len == 0) {
        (void)printf("none yet, the first append makes it\n");
    } else {
        (void)printf("%.*s\n", QUIPU_SLICE_FMT(source));
    }
    print_count(cli, "events", number(store, "events"));
    print_count(cli, "aggregates", number(store, "aggregates"));
    cli_print_name(cli, "file");
    (void)printf("%s, format %" PRIu64 "\n", cli_bytes(number(store, "file_bytes"), bytes),
                 number(store, "format"));
}

static void say_oldest(const struct cli *cli, const struct oldest *oldest)
{
    char when[QUIPU_RFC3339_BYTES];
    char age[CLI_COUNT_BYTES];
    if (oldest->is_damaged) {
        cli_print_name(cli, "oldest");
        (void)printf("damaged, `quipu verify` shows more\n");
    } else if (oldest->position != 0) {
        quipu_rfc3339_format(oldest->occurred_unix_us, when);
        cli_print_name(cli, "oldest");
        (void)printf("position %" PRIu64 ", of %s, %s ago\n", oldest->position, when,
                     cli_duration(age_us(oldest), age));
    }
}

static enum quipu_status say_text(const struct cli *cli, struct quipu_slice reply,
                                  const struct oldest *oldest, struct quipu_error *err)
{
    struct quipu_slice outbox = member(reply, "outbox");
    struct quipu_slice forks = member(reply, "forks");
    say_store(cli, reply);
    print_count(cli, "published", number(outbox, "published"));
    print_count(cli, "pending", number(outbox, "pending"));
    say_oldest(cli, oldest);
    print_count(cli, "dead letters", number(outbox, "dead"));
    print_count(cli, "cursor", number(outbox, "cursor"));
    print_count(cli, "quarantine", number(reply, "quarantined"));
    if (number(forks, "open") > 0) {
        print_count(cli, "open forks", number(forks, "open"));
    }
    if (number(forks, "sources") > 0) {
        print_count(cli, "used twice", number(forks, "sources"));
    }
    enum quipu_status status = cli_network_figures_say(cli, err);
    if (status == QUIPU_OK) {
        status = each_projection(reply, say_projection, &cli, err);
    }
    for (size_t i = 0; i < catalogue_projection_count && status == QUIPU_OK; i++) {
        const char *name = catalogue_projections[i]->name;
        struct looking_for looking = {quipu_slice_text(name), false};
        status = each_projection(reply, look_at_projection, &looking, err);
        if (status == QUIPU_OK && !looking.is_found) {
            cli_print_name(cli, "projection");
            (void)printf("%s: not built, `quipu replay` builds it\n", name);
        }
    }
    return status;
}

/* ------------------------------------------------------------------ as JSON */

static enum quipu_status raw(struct cli_json *json, struct quipu_buf *storage, const char *key,
                             struct quipu_slice value, struct quipu_error *err)
{
    quipu_buf_reset(storage);
    enum quipu_status status = quipu_dagjson_from_dagcbor(value, storage, err);
    if (status == QUIPU_OK) {
        cli_json_raw(json, key, quipu_buf_slice(storage));
    }
    return status;
}

static void say_outbox(struct cli_json *json, struct quipu_slice outbox,
                       const struct oldest *oldest)
{
    cli_json_object(json, "outbox");
    cli_json_number(json, "cursor", number(outbox, "cursor"));
    cli_json_number(json, "pending", number(outbox, "pending"));
    cli_json_number(json, "published", number(outbox, "published"));
    cli_json_number(json, "dead", number(outbox, "dead"));
    if (oldest->position == 0) {
        cli_json_null(json, "oldest");
    } else {
        cli_json_object(json, "oldest");
        cli_json_number(json, "position", oldest->position);
        cli_json_time(json, "occurred_at", oldest->occurred_unix_us);
        cli_json_number(json, "age_us", (uint64_t)age_us(oldest));
        cli_json_close(json, '}');
    }
    cli_json_close(json, '}');
}

static void say_forks(struct cli_json *json, struct quipu_slice forks)
{
    cli_json_object(json, "forks");
    cli_json_number(json, "open", number(forks, "open"));
    cli_json_number(json, "aggregates", number(forks, "aggregates"));
    cli_json_number(json, "sources", number(forks, "sources"));
    cli_json_close(json, '}');
}

static enum quipu_status say_json(const struct cli *cli, struct quipu_slice reply,
                                  const struct oldest *oldest, struct quipu_error *err)
{
    struct quipu_slice store = member(reply, "store");
    struct quipu_slice source = text(reply, "source");
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "store", quipu_slice_text(cli->store_path));
    if (source.len == 0) {
        cli_json_null(&json, "source");
    } else {
        cli_json_text(&json, "source", source);
    }
    cli_json_number(&json, "events", number(store, "events"));
    cli_json_number(&json, "aggregates", number(store, "aggregates"));
    cli_json_number(&json, "file_bytes", number(store, "file_bytes"));
    cli_json_number(&json, "format", number(store, "format"));
    say_outbox(&json, member(reply, "outbox"), oldest);
    cli_json_number(&json, "quarantined", number(reply, "quarantined"));
    say_forks(&json, member(reply, "forks"));
    enum quipu_status status =
        raw(&json, &storage, "projections", member(reply, "projections"), err);
    if (status == QUIPU_OK) {
        status = cli_network_figures_json(cli, &json, err);
    }
    if (status == QUIPU_OK) {
        status = cli_json_end(&json, err);
    }
    cli_json_release(&json);
    quipu_buf_release(&storage);
    return status;
}

static int run(struct cli *cli, const void *values, int argc, char **argv)
{
    const struct status_values *status_values = values;
    (void)argc;
    (void)argv;
    int code = cli_open(cli);
    if (code != 0 || status_values->is_receipts) {
        return code != 0 ? code : cli_receipts_list(cli);
    }
    struct quipu_error err = {0};
    struct quipu_buf reply = QUIPU_BUF_INIT;
    struct quipu_query query = {.kind = QUIPU_QUERY_STATUS};
    enum quipu_status status = quipu_query_run(cli->engine, &query, NULL, &reply, &err);
    struct oldest oldest = {.position = 0};
    if (status == QUIPU_OK) {
        struct quipu_slice outbox = member(quipu_buf_slice(&reply), "outbox");
        status = find_oldest(cli, outbox, &oldest, &err);
    }
    if (status == QUIPU_OK) {
        status = cli->is_json ? say_json(cli, quipu_buf_slice(&reply), &oldest, &err)
                              : say_text(cli, quipu_buf_slice(&reply), &oldest, &err);
    }
    quipu_buf_release(&reply);
    return status == QUIPU_OK ? 0 : cli_fail(cli, status, &err, NULL);
}

static const struct cli_option options[] = {
    {"receipts", CLI_FLAG, offsetof(struct status_values, is_receipts), NULL,
     "list which positions are published, in which stream, under which sequences"},
};

const struct cli_verb cli_verb_status = {
    .name = "status",
    .arguments = "",
    .summary = "Say what is in the store and what waits",
    .details =
        "Published are the events with a receipt of a server; pending wait for `quipu flush`; "
        "dead\n"
        "letters were refused for good (`quipu deadletter`); quarantine holds what `quipu pull`\n"
        "could not take in. Open forks are aggregates whose branches want `quipu merge`; used "
        "twice\n"
        "are numbers of a source (`quipu forks`). A projection is live, or so many events behind.\n"
        "What flushes have come to, and how long the credentials of the settings hold, is said\n"
        "without asking any server.",
    .example = "quipu status --json | jq .outbox.pending",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_bytes = sizeof(struct status_values),
    .run = run,
};
