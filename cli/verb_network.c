/*
 * quipu provision, flush and pull: the verbs that reach a server. A build without the network has
 * verb_network_none.c in this file's place.
 *
 * Secrets come by descriptor or environment, never by argument, and are wiped after use. The
 * library keeps its own copies for reconnecting and wipes them at close.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "config_network.h"
#include "print.h"
#include "quipu/jetstream.h"

#define PASSWORD_BYTES_MAX 1024

const bool cli_has_network = true;

/* Where the server is and what proves who we are; the first member of every verb's values. */
struct network_values {
    const char *stream;
    const char *bucket;
    const char *prefix;
    const char *creds;
    const char *user;
    struct cli_number password_fd;
    const char *tls_ca;
};

#define NETWORK_OPTIONS(values, member)                                                            \
    {"stream", CLI_TEXT, offsetof(struct values, member.stream), "NAME",                           \
     "the stream (else nats.stream_name, else " QUIPU_STREAM_DEFAULT ")"},                         \
        {"bucket", CLI_TEXT, offsetof(struct values, member.bucket), "NAME",                       \
         "the bucket (else nats.object_store_bucket, else " QUIPU_BUCKET_DEFAULT ")"},             \
        {"prefix", CLI_TEXT, offsetof(struct values, member.prefix), "SUBJECT",                    \
         "what subjects begin with (else nats.subject_prefix, else " QUIPU_SUBJECT_PREFIX_DEFAULT  \
         ")"},                                                                                     \
        {"creds", CLI_TEXT, offsetof(struct values, member.creds), "FILE",                         \
         "credentials file (JWT and seed)"},                                                       \
        {"user", CLI_TEXT, offsetof(struct values, member.user), "NAME", "user name"},             \
        {"password-fd", CLI_NUMBER, offsetof(struct values, member.password_fd), "N",              \
         "read the password from this descriptor (else QUIPU_NATS_PASSWORD)"},                     \
    {                                                                                              \
        "tls-ca", CLI_TEXT, offsetof(struct values, member.tls_ca), "FILE",                        \
            "CA certificates (PEM); turns TLS on"                                                  \
    }

/* ------------------------------------------------------------------ connecting */

/* A failure that the server is behind: its "permission" is not this machine's. */
static int fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err)
{
    struct cli_failure failure = {.status = status, .err = err};
    struct quipu_error plain = cli_without_cure(err);
    if (status == QUIPU_OFFLINE) {
        failure.err = &plain; /* the library cannot know the option that names another server */
    }
    if (status == QUIPU_PERMISSION) {
        failure.code = CLI_EXIT_REFUSED;
        failure.cure = strstr(err->message, "; ") != NULL
                           ? ""
                           : "have the server's operator grant it to this user";
    }
    return cli_fail_with(cli, &failure);
}

/* The first line of a descriptor, without its end. Returns 0 or the exit code. */
static int read_password(const struct cli *cli, uint64_t fd, char into[PASSWORD_BYTES_MAX])
{
    struct quipu_error err;
    size_t len = 0;
    if (fd > INT32_MAX) {
        return cli_usage(cli, "--password-fd wants an open descriptor, found %" PRIu64, fd);
    }
    for (;;) {
        ssize_t got = read((int)fd, into + len, 1); /* no byte behind the line may be taken */
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            enum quipu_status status =
                quipu_error_errno(&err, errno, "read the password from descriptor %" PRIu64, fd);
            return cli_fail(cli, status, &err,
                            "open it in the shell: --password-fd 3 3< <(pass show nats)");
        }
        if (got == 0 || into[len] == '\n') {
            into[len] = 0;
            return 0;
        }
        if (++len == PASSWORD_BYTES_MAX) {
            return cli_usage(cli, "the password has %d bytes or more", PASSWORD_BYTES_MAX);
        }
    }
}

/* A slash at the end of a url is what people copy along; of several urls, each. */
static void trim_slashes(char *url)
{
    size_t kept = 0;
    for (size_t at = 0; url[at] != 0; at++) {
        bool ends = url[at + 1] == 0 || url[at + 1] == ',';
        if (url[at] == '/' && ends && kept > 0 && url[kept - 1] != '/') {
            continue;
        }
        url[kept++] = url[at];
    }
    url[kept] = 0;
}

/* Options that cannot be meant together, before anything is asked of the store or the server. */
static int check_options(const struct cli *cli, const struct network_values *values)
{
    if (values->user != NULL && values->creds != NULL) {
        return cli_usage(cli, "--user and --creds say two identities, and one is wanted");
    }
    if (values->password_fd.is_set && values->user == NULL &&
        cli->config->values.nats.user == NULL) {
        return cli_usage(cli, "--password-fd wants --user too");
    }
    return 0;
}

/* What the settings say, and over it what this command line says. Who we are is one thing: an
 * option for it takes the place of all that the settings say about it. */
static void apply_options(const struct cli *cli, const struct network_values *values,
                          struct quipu_nats_options *options)
{
    quipu_config_nats_options(&cli->config->values, options);
    if (values->creds != NULL || values->user != NULL) {
        options->credentials_file = values->creds;
        options->nkey_file = NULL;
        options->token = NULL;
        options->user = values->user;
        options->password = values->user != NULL ? getenv("QUIPU_NATS_PASSWORD") : NULL;
    }
    options->tls_ca_file = values->tls_ca != NULL ? values->tls_ca : options->tls_ca_file;
    options->stream = values->stream != NULL ? values->stream : options->stream;
    options->bucket = values->bucket != NULL ? values->bucket : options->bucket;
    options->subject_prefix = values->prefix != NULL ? values->prefix : options->subject_prefix;
    options->engine = cli->engine;
}

static int connect_to(const struct cli *cli, const struct network_values *values,
                      struct quipu_nats **nats)
{
    char password[PASSWORD_BYTES_MAX];
    int code = check_options(cli, values);
    if (code != 0) {
        return code;
    }
    struct quipu_nats_options options;
    char *url = strdup(cli->server);
    if (url == NULL) {
        return cli_fail(cli, QUIPU_NO_MEMORY, NULL, NULL);
    }
    trim_slashes(url);
    apply_options(cli, values, &options);
    options.url = url;
    if (values->password_fd.is_set) {
        code = read_password(cli, values->password_fd.value, password);
        options.password = password;
    }
    if (code == 0) {
        struct quipu_error err;
        enum quipu_status status = cli_network_connect(cli, &options, nats, &err);
        code = status == QUIPU_OK ? 0 : fail(cli, status, &err);
    }
    explicit_bzero(password, sizeof password);
    explicit_bzero(url, strlen(url)); /* it may hold a password */
    free(url);
    return code;
}

/* The store first: it costs nothing to find out that it is not there. */
static int open_both(struct cli *cli, const struct network_values *values, struct quipu_nats **nats)
{
    int code = check_options(cli, values);
    if (code == 0) {
        code = cli_open(cli);
    }
    return code != 0 ? code : connect_to(cli, values, nats);
}

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
    int code = connect_to(cli, &provision->network, &nats);
    if (code != 0) {
        return code;
    }
    struct quipu_error err;
    struct quipu_error say_err;
    struct quipu_nats_options names;
    struct quipu_provision_options options;
    apply_options(cli, &provision->network, &names);
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
    code = status == QUIPU_OK ? 0 : fail(cli, status, &err);
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

/* ------------------------------------------------------------------ flush */

struct flush_values {
    struct network_values network;
    struct cli_number window;
    bool again;
};

static enum quipu_status say_flush(const struct cli *cli, const struct quipu_flush_report *report,
                                   int64_t took_us, struct quipu_error *err)
{
    if (!cli->is_json) {
        char published[CLI_COUNT_BYTES];
        char duplicates[CLI_COUNT_BYTES];
        char dead[CLI_COUNT_BYTES];
        char took[CLI_COUNT_BYTES];
        (void)printf("%s published, %s there already, %s dead letter%s, %s\n",
                     cli_count(report->published, published),
                     cli_count(report->duplicates, duplicates), cli_count(report->dead, dead),
                     report->dead == 1 ? "" : "s", cli_duration(took_us, took));
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "published", report->published);
    cli_json_number(&json, "duplicates", report->duplicates);
    cli_json_number(&json, "dead", report->dead);
    cli_json_number(&json, "pending", report->pending);
    cli_json_number(&json, "payloads_stored", report->payloads_stored);
    cli_json_number(&json, "payload_bytes", report->payload_bytes);
    cli_json_number(&json, "took_us", (uint64_t)took_us);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* The reason without its cure: the line that it goes into has one of its own. */
static void copy_reason(char into[QUIPU_ERROR_MESSAGE_BYTES], struct quipu_slice line)
{
    (void)snprintf(into, QUIPU_ERROR_MESSAGE_BYTES, "%.*s", QUIPU_SLICE_FMT(line));
    char *cure = strstr(into, "; ");
    if (cure != NULL) {
        *cure = 0;
    }
}

/* The dead letters that a person has not decided on: each holds back what follows it. */
struct dead_run {
    uint64_t count;
    uint64_t position; /* of the first one, as are the others */
    enum quipu_status reason;
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static enum quipu_status count_dead(void *ctx, const struct quipu_dead_letter *letter,
                                    struct quipu_error *err)
{
    (void)err;
    struct dead_run *run = ctx;
    if (letter->is_dropped) {
        return QUIPU_OK;
    }
    if (run->count++ == 0) {
        run->position = letter->position;
        run->reason = letter->reason;
        copy_reason(run->line, letter->line);
    }
    return QUIPU_OK;
}

/* Nothing went wrong, and yet not everything is published: a script must see it. */
static int answer_for_dead(const struct cli *cli)
{
    struct quipu_error err;
    struct dead_run run = {0};
    enum quipu_status status = quipu_each_dead_letter(cli->engine, count_dead, &run, &err);
    if (status != QUIPU_OK) {
        return fail(cli, status, &err);
    }
    if (run.count == 0) {
        return 0;
    }
    char count[CLI_COUNTED_BYTES];
    (void)quipu_error_set(&err, run.reason, "%s, the first at position %" PRIu64 ": %s",
                          cli_counted(run.count, "dead letter", count), run.position, run.line);
    struct cli_failure failure = {.status = run.reason,
                                  .err = &err,
                                  .cure = "`quipu deadletter list` shows all; then retry or drop",
                                  .code = CLI_EXIT_ASIDE};
    return cli_fail_with(cli, &failure);
}

static int run_flush(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct flush_values *flush = values;
    if (flush->window.is_set && (flush->window.value < 1 || flush->window.value > 65536)) {
        return cli_usage(cli, "--window wants 1 to 65536, found %" PRIu64, flush->window.value);
    }
    struct quipu_nats *nats = NULL;
    int code = open_both(cli, &flush->network, &nats);
    if (code != 0) {
        return code;
    }
    struct cli_progress progress = {.cli = cli, .what = "events published"};
    struct quipu_error err;
    struct quipu_flush_options options;
    quipu_config_flush_options(&cli->config->values, &options);
    options.window = (uint32_t)flush->window.value;
    options.restart = flush->again;
    options.progress = cli_progress;
    options.ctx = &progress;
    struct quipu_flush_report report = {0};
    int64_t began_us = cli_now_us();
    enum quipu_status status = quipu_flush(cli->engine, nats, &options, &report, &err);
    cli_progress_end(&progress);
    cli_done(cli, report.published, "published");
    if (status == QUIPU_OK) {
        status = say_flush(cli, &report, cli_now_us() - began_us, &err);
    }
    code = status == QUIPU_OK ? answer_for_dead(cli) : fail(cli, status, &err);
    quipu_nats_close(&nats);
    return code;
}

static const struct cli_option flush_options[] = {
    NETWORK_OPTIONS(flush_values, network),
    {"window", CLI_NUMBER, offsetof(struct flush_values, window), "N", "events in flight (512)"},
    {"again", CLI_FLAG, offsetof(struct flush_values, again), NULL,
     "forget what other streams said, offer every event to this one"},
};

const struct cli_verb cli_verb_flush = {
    .name = "flush",
    .arguments = "",
    .summary = "Publish what is pending, each event exactly once",
    .details =
        "Per event its payload to the object store, then its envelope to the stream, then its "
        "receipt\n"
        "into the store. A broken flush is simply run again: what the server has already is\n"
        "recognised, however long ago it got it. Another stream, or one that was made anew, gets "
        "all\n"
        "events with --again; without it such a flush is refused. While dead letters hold back "
        "what\n"
        "follows them, the exit code is 9.",
    .example = "quipu flush --server nats://127.0.0.1:4222",
    .is_network = true,
    .options = flush_options,
    .option_count = sizeof flush_options / sizeof flush_options[0],
    .values_bytes = sizeof(struct flush_values),
    .run = run_flush,
};

/* ------------------------------------------------------------------ pull */

struct pull_values {
    struct network_values network;
    struct cli_number pending;
};

static enum quipu_status say_pull(const struct cli *cli, const struct quipu_pull_report *report,
                                  int64_t took_us, struct quipu_error *err)
{
    if (!cli->is_json) {
        char added[CLI_COUNT_BYTES];
        char known[CLI_COUNT_BYTES];
        char quarantined[CLI_COUNT_BYTES];
        char took[CLI_COUNT_BYTES];
        (void)printf("%s added, %s known already, %s in quarantine, stream at %" PRIu64 ", %s\n",
                     cli_count(report->events.added, added), cli_count(report->events.known, known),
                     cli_count(report->events.quarantined, quarantined), report->last_sequence,
                     cli_duration(took_us, took));
        return QUIPU_OK;
    }
    struct cli_json json = {0};
    cli_json_begin(&json);
    cli_json_number(&json, "added", report->events.added);
    cli_json_number(&json, "forks", report->events.forks);
    cli_json_number(&json, "known", report->events.known);
    cli_json_number(&json, "quarantined", report->events.quarantined);
    cli_json_number(&json, "last_sequence", report->last_sequence);
    cli_json_number(&json, "took_us", (uint64_t)took_us);
    enum quipu_status status = cli_json_end(&json, err);
    cli_json_release(&json);
    return status;
}

/* What this run put into quarantine, by the order of the stream. */
struct aside_run {
    int64_t since_unix_us;
    bool has_first;
    uint64_t sequence; /* of the first one, as are the others */
    enum quipu_status reason;
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static enum quipu_status find_first(void *ctx, const struct quipu_quarantined *event,
                                    struct quipu_error *err)
{
    (void)err;
    struct aside_run *run = ctx;
    if (event->received_unix_us < run->since_unix_us || event->stream.len == 0 ||
        (run->has_first && event->sequence >= run->sequence)) {
        return QUIPU_OK;
    }
    run->has_first = true;
    run->sequence = event->sequence;
    run->reason = event->reason;
    copy_reason(run->line, event->line);
    return QUIPU_OK;
}

static int answer_for_quarantine(const struct cli *cli, uint64_t quarantined, int64_t since_unix_us)
{
    if (quarantined == 0) {
        return 0;
    }
    struct quipu_error err;
    struct aside_run run = {.since_unix_us = since_unix_us};
    enum quipu_status status = quipu_each_quarantined(cli->engine, find_first, &run, &err);
    if (status != QUIPU_OK) {
        return fail(cli, status, &err);
    }
    char count[CLI_COUNTED_BYTES];
    (void)cli_counted(quarantined, "event", count);
    if (run.has_first) {
        (void)quipu_error_set(&err, run.reason,
                              "%s went to quarantine, the first at sequence %" PRIu64 ": %s", count,
                              run.sequence, run.line);
    } else { /* the clock was set back meanwhile, or another run took it in already */
        (void)quipu_error_set(&err, QUIPU_INVALID, "%s went to quarantine", count);
    }
    struct cli_failure failure = {.status = err.status,
                                  .err = &err,
                                  .cure = "`quipu quarantine list` shows all with their reasons",
                                  .code = CLI_EXIT_ASIDE};
    return cli_fail_with(cli, &failure);
}

static int64_t unix_now_us(void)
{
    struct quipu_clock clock = quipu_clock_system();
    return clock.unix_us(clock.ctx);
}

static int run_pull(struct cli *cli, const void *values, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const struct pull_values *pull = values;
    struct quipu_nats *nats = NULL;
    int code = open_both(cli, &pull->network, &nats);
    if (code != 0) {
        return code;
    }
    struct cli_progress progress = {.cli = cli, .what = "messages pulled"};
    struct quipu_error err;
    struct quipu_pull_options options = {.size = sizeof options};
    options.progress = cli_progress;
    options.ctx = &progress;
    options.pending_events_max = pull->pending.is_set ? pull->pending.value : 0;
    struct quipu_pull_report report = {0};
    int64_t began_us = cli_now_us();
    int64_t began_unix_us = unix_now_us();
    enum quipu_status status = quipu_pull(cli->engine, nats, &options, &report, &err);
    cli_progress_end(&progress);
    cli_done(cli, report.events.added, "added");
    if (status == QUIPU_OK) {
        status = say_pull(cli, &report, cli_now_us() - began_us, &err);
    }
    code = status == QUIPU_OK ? answer_for_quarantine(cli, report.events.quarantined, began_unix_us)
                              : fail(cli, status, &err);
    quipu_nats_close(&nats);
    return code;
}

static const struct cli_option pull_options[] = {
    NETWORK_OPTIONS(pull_values, network),
    {"pending", CLI_NUMBER, offsetof(struct pull_values, pending), "N",
     "events that may wait in quarantine for others (100,000)"},
};

const struct cli_verb cli_verb_pull = {
    .name = "pull",
    .arguments = "",
    .summary = "Bring in what others published",
    .details = "Each message and its payload are verified before they are taken in; what cannot be "
               "taken goes\n"
               "to quarantine and is never lost silently; then the exit code is 9. Own events come "
               "back as\n"
               "known. Forks are kept (`quipu forks`).",
    .example = "quipu pull --server nats://127.0.0.1:4222",
    .is_network = true,
    .options = pull_options,
    .option_count = sizeof pull_options / sizeof pull_options[0],
    .values_bytes = sizeof(struct pull_values),
    .run = run_pull,
};
