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
};

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
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

static int run_provision(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct provision_values *provision = values;
    if (provision->replicas.is_set &&
        (provision->replicas.value < 1 || provision->replicas.value > 5)) {
        return cli_usage(cli, "--replicas wants 1 to 5, found %" PRIu64, provision->replicas.value);
    }
    struct quipu_nats *nats = NULL;
    int code = cli_connect(cli, &provision->network, NULL, &nats);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct quipu_error say_err;
    struct quipu_nats_options names;
    struct quipu_provision_options options;
    cli_network_options(cli, &provision->network, &names);
    quipu_config_provision_options(&cli->config->values, &options);
    if (provision->duplicates_us != 0) {
        options.duplicate_window_us = provision->duplicates_us;
    }
    if (provision->replicas.is_set) {
        options.replicas = (uint32_t)provision->replicas.value;
    }
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
};

const struct cli_verb cli_verb_provision = {
    .name = "provision",
    .arguments = "",
    .summary = "Make the stream and the bucket where they are missing",
    .details =
        "What is there is not changed: where it is configured otherwise, the differences are "
        "listed\n"
        "and the exit code is 8. Nothing expires unless the server is told so by other means. No\n"
        "store is needed.",
    .example = "quipu provision --server nats://127.0.0.1:4222",
    .is_network = true,
    .options = provision_options,
    .option_count = sizeof provision_options / sizeof provision_options[0],
    .values_bytes = sizeof(struct provision_values),
    .run = run_provision,
};
