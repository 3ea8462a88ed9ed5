/*
 * Two devices label the same key while apart. When they exchange events, nothing is lost: both see
 * the same fork, its evidence proves it to anybody, a merge closes it, and a replay in causal order
 * reaches the same digest on both, though their logs are in another order. Prints:
 *
 *     laptop: open fork of root from version 2, evidence …
 *     vault: open fork of root from version 2, evidence …
 *     refused: aggregate key/root has 2 tips: … of version 2, … of version 2; …
 *     merged as version 3
 *     laptop: closed fork of root from version 2, evidence …
 *     vault: closed fork of root from version 2, evidence …
 *     laptop, digest …
 *     vault, digest …
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "example.h"
#include "quipu/forks.h"
#include "quipu/ingest.h"
#include "quipu/projection.h"

struct device {
    const char *name;
    struct quipu_engine *engine;
};

static struct device device_open(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.%s", folder, name);
    return (struct device){name, open_engine(path)};
}

/* All events of `from` into `to`, in one transaction; each is verified, and passed over where it is
 * known. In life, bundles (bundle.h) or the bridge (bridge.h) carry them. */
static void carry(struct device from, struct device to)
{
    struct quipu_error err;
    struct quipu_txn *txn;
    struct quipu_ingest *ingest;
    check(quipu_txn_begin_read(quipu_engine_store(from.engine), &txn, &err), &err);
    check(quipu_ingest_begin(to.engine, QUIPU_INGEST_QUARANTINE, &ingest, &err), &err);
    for (uint64_t position = 1; position <= quipu_txn_last_position(txn); position++) {
        struct quipu_record record;
        enum quipu_ingest_outcome outcome;
        check(quipu_txn_record_at(txn, position, &record, &err), &err);
        struct quipu_foreign event = {
            .cid = record.envelope_cid, .envelope = record.envelope, .payload = record.payload};
        check(quipu_ingest_event(ingest, &event, &outcome, &err), &err);
    }
    check(quipu_ingest_commit(&ingest, NULL, &err), &err);
    quipu_txn_abort(&txn);
}

static enum quipu_status print_fork(void *ctx, const struct quipu_fork *fork,
                                    struct quipu_error *err)
{
    /* The evidence holds both envelopes: it proves the conflict without any store. */
    enum quipu_status status = quipu_fork_verify(fork->evidence, NULL, err);
    char cid[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&fork->cid, cid);
    printf("%s: %s fork of %.*s from version %llu, evidence %s\n",
           ((const struct device *)ctx)->name, fork->state == QUIPU_FORK_OPEN ? "open" : "closed",
           QUIPU_SLICE_FMT(fork->aggregate.id), (unsigned long long)fork->version, cid);
    return status;
}

/* A state that depends on the order: of several labels, the last one. */
static enum quipu_status remember(void *ctx, struct quipu_rows *rows,
                                  const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    return quipu_rows_put(rows, event->envelope.aggregate_id, event->payload, err);
}

static void print_state(struct device device)
{
    static const char *const types[] = {"key.labelled", NULL};
    struct quipu_projection last_labels = {
        .name = "last_labels", .version = 1, .apply = remember, .event_types = types};
    struct quipu_replay_report report;
    struct quipu_error err;
    check(quipu_replay(device.engine, &last_labels, QUIPU_REPLAY_CAUSAL, &report, &err), &err);
    print_digest(device.name, report.digest);
}

int main(int argc, char **argv)
{
    struct device laptop = device_open(argc > 1 ? argv[1] : "keys", "laptop");
    struct device vault = device_open(argc > 1 ? argv[1] : "keys", "vault");
    struct quipu_error err;

    struct quipu_event event = {.type = "key.generated", .aggregate = {"key", "root"}};
    check(append_json(laptop.engine, event, "{}", &err), &err);
    carry(laptop, vault);

    event.type = "key.labelled"; /* apart: each goes on from the same event */
    check(append_json(laptop.engine, event, "{\"label\":\"CA root\"}", &err), &err);
    check(append_json(vault.engine, event, "{\"label\":\"root of 2026\"}", &err), &err);
    carry(laptop, vault);
    carry(vault, laptop);
    check(quipu_each_fork(laptop.engine, print_fork, &laptop, &err), &err);
    check(quipu_each_fork(vault.engine, print_fork, &vault, &err), &err);

    /* Until somebody has decided, the aggregate takes no other event. */
    if (append_json(laptop.engine, event, "{}", &err) == QUIPU_FORK) {
        printf("refused: %s\n", err.message);
    }
    struct quipu_merged merged; /* an event like any other: its payload says what holds now */
    struct quipu_buf payload = QUIPU_BUF_INIT;
    struct quipu_slice label = quipu_slice_text("{\"label\":\"CA root of 2026\"}");
    check(quipu_dagjson_to_dagcbor(label, &payload, &err), &err);
    event.type = "key.labels_merged";
    event.payload = quipu_buf_slice(&payload);
    check(quipu_merge(vault.engine, &event, &merged, &err), &err);
    printf("merged as version %llu\n", (unsigned long long)merged.event.version);
    carry(vault, laptop);
    check(quipu_each_fork(laptop.engine, print_fork, &laptop, &err), &err);
    check(quipu_each_fork(vault.engine, print_fork, &vault, &err), &err);

    print_state(laptop);
    print_state(vault);
    quipu_buf_release(&payload);
    close_engine(laptop.engine);
    close_engine(vault.engine);
    return 0;
}
