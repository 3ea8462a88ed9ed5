/*
 * Taking events in, and looking at what was not taken.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ingest_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct kit theirs;
struct kit ours;
char proven[QUIPU_SOURCE_TEXT_BYTES];

void ingest_kit_open(void)
{
    proven[0] = '\0';
    kit_open(&theirs);
    kit_open(&ours);
    ours.random_state = 1000;
}

void ingest_kit_close(void)
{
    kit_close(&theirs);
    kit_close(&ours);
}

enum quipu_status ingest_kit_take(enum quipu_ingest_policy policy,
                                  const struct quipu_foreign *event,
                                  enum quipu_ingest_outcome *outcome)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    options.policy = policy;
    options.forks = QUIPU_INGEST_FORKS_REFUSE;
    options.proven_source = quipu_slice_text(proven);
    kit_assert_ok(&ours, quipu_ingest_begin_with(ours.engine, &options, &ingest, &ours.err));
    enum quipu_status status = quipu_ingest_event(ingest, event, outcome, &ours.err);
    if (status == QUIPU_OK) {
        kit_assert_ok(&ours, quipu_ingest_commit(&ingest, NULL, &ours.err));
    }
    quipu_ingest_abort(&ingest);
    cr_assert_null(ingest);
    return status;
}

void ingest_kit_take_position(uint64_t position)
{
    struct kit_foreign event;
    enum quipu_ingest_outcome outcome;
    kit_foreign_copy(&theirs, position, &event);
    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_STRICT, &event.foreign, &outcome), QUIPU_OK, "%s",
                 ours.err.message);
    cr_assert_eq(outcome, QUIPU_INGEST_ADDED);
    kit_foreign_release(&event);
}

void ingest_kit_put_envelope(struct kit_foreign *event, const struct quipu_envelope *envelope)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    kit_assert_ok(&ours, quipu_envelope_encode(envelope, &block, &ours.err));
    quipu_buf_release(&event->envelope);
    event->envelope = block;
    event->foreign.envelope = quipu_buf_slice(&block);
    event->foreign.cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event->foreign.envelope);
}

void ingest_kit_become_theirs(enum ingest_kit_key key)
{
    char path[2 * TEMP_DIR_BYTES];
    kit_assert_ok(&theirs, quipu_store_backup(theirs.store, temp_dir_join(&ours.dir, "old", path),
                                              &theirs.err));
    kit_shut(&ours);
    memcpy(ours.path, path, sizeof path);
    if (key == INGEST_KIT_WITH_KEY) {
        ingest_kit_take_key();
    }
    kit_reopen(&ours);
    /* An image of the disk: it does not say of itself that it is a backup. */
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_txn_backup_mark_clear(txn, &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
}

void ingest_kit_take_key(void)
{
    char from[4 * TEMP_DIR_BYTES];
    char to[4 * TEMP_DIR_BYTES];
    (void)snprintf(from, sizeof from, "%s/signing.key", theirs.path);
    (void)snprintf(to, sizeof to, "%s/signing.key", ours.path);
    (void)unlink(to); /* the key of an identity in between, where there was one */
    cr_assert_eq(link(from, to), 0);
}

static enum quipu_status note(void *ctx, const struct quipu_quarantined *event,
                              struct quipu_error *err)
{
    (void)err;
    struct quarantined *noted = ctx;
    noted->count++;
    noted->reason = event->reason;
    noted->cid = event->cid;
    (void)snprintf(noted->line, sizeof noted->line, "%.*s", QUIPU_SLICE_FMT(event->line));
    (void)snprintf(noted->stream, sizeof noted->stream, "%.*s", (int)event->stream.len,
                   event->stream.len == 0 ? "" : (const char *)event->stream.data);
    noted->sequence = event->sequence;
    noted->envelope_len = event->envelope.len;
    noted->payload_len = event->payload.len;
    noted->received_unix_us = event->received_unix_us;
    return QUIPU_OK;
}

struct quarantined in_quarantine(void)
{
    struct quarantined noted = {0};
    kit_assert_ok(&ours, quipu_each_quarantined(ours.engine, note, &noted, &ours.err));
    return noted;
}

struct quarantined_look {
    const struct quipu_cid *cid;
    struct quarantined found;
};

static enum quipu_status note_if(void *ctx, const struct quipu_quarantined *event,
                                 struct quipu_error *err)
{
    struct quarantined_look *wanted = ctx;
    return quipu_cid_equal(wanted->cid, &event->cid) ? note(&wanted->found, event, err) : QUIPU_OK;
}

struct quarantined in_quarantine_of(const struct quipu_cid *cid)
{
    struct quarantined_look wanted = {.cid = cid};
    kit_assert_ok(&ours, quipu_each_quarantined(ours.engine, note_if, &wanted, &ours.err));
    cr_assert_eq(wanted.found.count, 1);
    return wanted.found;
}

void assert_refused(const struct quipu_foreign *event, enum quipu_status reason,
                    const char *in_line)
{
    enum quipu_ingest_outcome outcome = QUIPU_INGEST_KNOWN;
    uint64_t before = in_quarantine().count;
    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_STRICT, event, &outcome), reason, "%s",
                 ours.err.message);
    cr_assert_not_null(strstr(ours.err.message, in_line), "%s", ours.err.message);
    cr_assert_eq(outcome, QUIPU_INGEST_KNOWN, "untouched");
    cr_assert_eq(in_quarantine().count, before);

    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_QUARANTINE, event, &outcome), QUIPU_OK, "%s",
                 ours.err.message);
    cr_assert_eq(outcome, QUIPU_INGEST_QUARANTINED);
    cr_assert_eq(in_quarantine().count, before + 1);
}
