/*
 * quipu provision. A build without the network has verb_network_none.c in this file's
 * place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "config.h"
#include "network.h"
#include "quipu/config_nats.h"

const bool cli_has_network = true;

/* ------------------------------------------------------------------ provision */

struct provision_values {
    struct network_values network;
    int64_t duplicates_us;
    struct cli_number replicas;
    int64_t max_age_us;
    struct cli_number max_events;
    struct cli_number max_bytes;
    const char *storage;
    bool may_lose_events;
};

/* What the settings say, and over it what this command line says. Returns 0, or the exit code. */
static int provision_options_of(const struct cli *cli, const struct provision_values *values,
                                struct quipu_provision_options *out)
{
    if (values->replicas.is_set && (values->replicas.value < 1 || values->replicas.value > 5)) {
        return cli_usage(cli, "--replicas wants 1 to 5, found %" PRIu64, values->replicas.value);
    }
    bool is_file = values->storage != NULL && strcmp(values->storage, "file") == 0;
    bool is_memory = values->storage != NULL && strcmp(values->storage, "memory") == 0;
    if (values->storage != NULL && !is_file && !is_memory) {
        return cli_usage(cli, "--storage wants file or memory, found \"%s\"", values->storage);
    }
    quipu_config_provision_options(&cli->config->values, out);
    if (values->duplicates_us != 0) {
        out->duplicate_window_us = values->duplicates_us;
    }
    if (values->replicas.is_set) {
        out->replicas = (uint32_t)values->replicas.value;
    }
    if (values->max_age_us != 0) {
        out->max_age_us = values->max_age_us;
        if (values->duplicates_us == 0 && out->duplicate_window_us > out->max_age_us) {
            out->duplicate_window_us = 0; /* it follows the age: the server allows no more */
        }
    }
    if (values->max_events.is_set) {
        out->max_events = values->max_events.value;
    }
    if (values->max_bytes.is_set) {
        out->max_bytes = values->max_bytes.value;
    }
    if (values->storage != NULL) {
        out->storage = is_memory ? QUIPU_STREAM_MEMORY : QUIPU_STREAM_FILE;
    }
    out->may_lose_events = out->may_lose_events || values->may_lose_events;
    return 0;
}

static void say_provision(const struct quipu_nats_options *names,
                          const struct quipu_provision_report *report)
{
    char messages[CLI_COUNTED_BYTES];
    (void)printf("stream %s: %s, %s\nbucket %s: %s\n", names->stream,
                 report->stream_created ? "made" : "was there",
                 cli_counted(report->stream_messages, "message", messages), names->bucket,
                 report->bucket_created ? "made" : "was there");
    if (report->drift.len > 0) {
        (void)printf("otherwise than quipu would have made them:\n%.*s",
                     QUIPU_SLICE_FMT(quipu_buf_slice(&report->drift)));
    }
    if (report->notes[0] != 0) {
        (void)printf("to be known:\n%s", report->notes);
    }
}

static enum quipu_status say_provision_json(const struct quipu_nats_options *names,
                                            const struct quipu_provision_report *report,
                                            struct quipu_error *err)
{
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_text(&json, "stream", quipu_slice_text(names->stream));
    cli_json_text(&json, "bucket", quipu_slice_text(names->bucket));
    cli_json_bool(&json, "stream_created", report->stream_created);
    cli_json_bool(&json, "bucket_created", report->bucket_created);
    cli_json_number(&json, "stream_messages", report->stream_messages);
    cli_json_text(&json, "drift", quipu_buf_slice(&report->drift));
    cli_json_text(&json, "notes", quipu_slice_text(report->notes));
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* No store is needed. Where there is one, its signing key is not what connects. */
static void open_if_there(struct cli *cli)
{
    if (cli_open_at(cli->store_path, QUIPU_STORE_OPEN_EXISTING, &cli->store, &cli->engine, NULL) !=
        QUIPU_OK) {
        cli->store = NULL;
        cli->engine = NULL;
    }
}

static int run_provision(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct provision_values *provision = values;
    struct quipu_nats *nats = NULL;
    struct quipu_provision_options options;
    int code = provision_options_of(cli, provision, &options);
    if (code == 0) {
        open_if_there(cli);
        code = cli_connect(cli, &provision->network, NULL, &nats);
    }
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct quipu_error say_err;
    struct quipu_nats_options names;
    cli_network_options(cli, &provision->network, &names);
    struct quipu_provision_report report = {0};
    enum quipu_status status = quipu_provision(nats, &options, &report, &err);
    if (status == QUIPU_OK || status == QUIPU_DRIFT) {
        if (!cli->is_json) {
            say_provision(&names, &report);
        } else {
            enum quipu_status said = say_provision_json(&names, &report, &say_err);
            if (said != QUIPU_OK && status == QUIPU_OK) {
                status = said;
                err = say_err;
            }
        }
    }
    code = status == QUIPU_OK ? 0 : cli_fail_network(cli, status, &err);
    quipu_buf_release(&report.drift);
    quipu_nats_close(&nats);
    return code;
}

static const struct cli_option provision_options[] = {
    NETWORK_OPTIONS(provision_values, network),
    {"duplicates", CLI_DURATION, offsetof(struct provision_values, duplicates_us), "DURATION",
     "the stream's duplicate window (else nats.jetstream.duplicate_window, else 2m)"},
    {"replicas", CLI_NUMBER, offsetof(struct provision_values, replicas), "N",
     "copies in a cluster (else nats.jetstream.replicas, else 1)"},
    {"storage", CLI_TEXT, offsetof(struct provision_values, storage), "KIND",
     "file or memory (else nats.jetstream.storage, else file)"},
    {"max-age", CLI_DURATION, offsetof(struct provision_values, max_age_us), "DURATION",
     "the server forgets events that are older (else nats.jetstream.max_age, else never)"},
    {"max-events", CLI_NUMBER, offsetof(struct provision_values, max_events), "N",
     "the stream takes no more than so many; 0: no limit (else nats.jetstream.max_messages)"},
    {"max-bytes", CLI_NUMBER, offsetof(struct provision_values, max_bytes), "N",
     "the stream takes no more bytes; 0: no limit (else nats.jetstream.max_bytes)"},
    {"may-lose-events", CLI_FLAG, offsetof(struct provision_values, may_lose_events), NULL,
     "--max-age and --storage memory want this: an audit log loses events by them"},
};

const struct cli_verb cli_verb_provision = {
    .name = "provision",
    .arguments = "",
    .summary = "Make the stream and the bucket where they are missing",
    .details =
        "What is there is not changed: where it is configured otherwise, the differences are "
        "listed\n"
        "and the exit code is 8. Nothing expires unless it is asked for. What is as asked and "
        "still\n"
        "worth knowing (limits, an old server) is listed too. No store is needed.",
    .example = "quipu provision --server nats://127.0.0.1:4222",
    .is_network = true,
    .options = provision_options,
    .option_count = sizeof provision_options / sizeof provision_options[0],
    .values_bytes = sizeof(struct provision_values),
    .run = run_provision,
};
