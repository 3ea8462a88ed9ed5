/*
 * Events that claim the store's own source and that it does not have: taken back where its own
 * signature covers them, in order; refused where nothing proves who wrote them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "ingest_kit.h"
#include "quipu/forks.h"

TestSuite(ingest_own, .init = ingest_kit_open, .fini = ingest_kit_close);

/* `ours` becomes what `theirs` was after its first event, with the same key: a store that was put
 * back to an old copy beside its signing key. */
static void roll_back(void)
{
    kit_append(&theirs, "a", 1);
    ingest_kit_become_theirs(INGEST_KIT_WITH_KEY);
    kit_assert_ok(&ours, quipu_identity_source(ours.engine, proven, &ours.err));
}

Test(ingest_own, takes_its_own_lost_events_back_in_order_and_counts_on)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    roll_back();
    kit_append(&theirs, "a", 2);
    kit_append(&theirs, "b", 3);

    kit_foreign_copy(&theirs, 3, &event);
    assert_refused(&event.foreign, QUIPU_GAP, "own source");
    kit_foreign_release(&event);
    char own[sizeof proven];
    memcpy(own, proven, sizeof own);
    proven[0] = '\0';
    kit_foreign_copy(&theirs, 3, &event);
    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_QUARANTINE, &event.foreign, NULL), QUIPU_OK);
    kit_foreign_release(&event);
    cr_assert_eq(in_quarantine().reason, QUIPU_GAP, "an unproven copy does not push it out");
    memcpy(proven, own, sizeof own);
    ingest_kit_take_position(2); /* and the third, which waited for it */
    kit_append(&ours, "a", 4);

    kit_foreign_copy(&ours, 4, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    cr_assert_eq(envelope.source_seq, 4);
    kit_foreign_release(&event);
    kit_assert_sound(&ours, 4);
}

Test(ingest_own, sees_that_its_key_is_in_use_twice)
{
    struct kit_foreign event;
    roll_back();
    kit_append(&theirs, "b", 2);
    kit_append(&ours, "c", 2);

    kit_foreign_copy(&theirs, 2, &event);
    assert_refused(&event.foreign, QUIPU_FORK, "in use twice");
    kit_foreign_release(&event);
}

static uint64_t number_at(uint64_t position)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    kit_foreign_copy(&ours, position, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    kit_foreign_release(&event);
    return envelope.source_seq;
}

/* What anybody can make who has seen an event of this store: an event with its source and a number
 * that they choose, first of an aggregate of its own. */
static void forge(uint64_t source_seq, struct kit_foreign *event)
{
    struct quipu_envelope envelope;
    kit_foreign_copy(&ours, 1, event);
    kit_assert_ok(&ours, quipu_envelope_decode(event->foreign.envelope, &envelope, &ours.err));
    envelope.event_id = kit_uuid((uint8_t)(100 + source_seq));
    envelope.correlation_id = envelope.event_id;
    envelope.aggregate_id = quipu_slice_text("forged");
    envelope.source_seq = source_seq;
    ingest_kit_put_envelope(event, &envelope);
}

static void own_source(char out[QUIPU_SOURCE_TEXT_BYTES])
{
    kit_assert_ok(&ours, quipu_identity_source(ours.engine, out, &ours.err));
}

Test(ingest_own, refuses_an_event_of_its_own_that_nobody_proves)
{
    struct kit_foreign event;
    char own[QUIPU_SOURCE_TEXT_BYTES];
    kit_append(&ours, "a", 1);
    kit_append(&theirs, "x", 1);
    own_source(own);
    /* The next number, one beyond it, one that is given; nobody has signed, another store has. */
    for (uint64_t source_seq = 1; source_seq <= 3; source_seq++) {
        forge(source_seq, &event);
        if (source_seq == 3) {
            kit_assert_ok(&theirs, quipu_identity_source(theirs.engine, proven, &theirs.err));
        }
        assert_refused(&event.foreign, QUIPU_UNTRUSTED, own);
        char number[32];
        (void)snprintf(number, sizeof number, "number %d of", (int)source_seq);
        cr_assert_not_null(strstr(in_quarantine_of(&event.foreign.cid).line, number));
        cr_assert_not_null(strstr(in_quarantine_of(&event.foreign.cid).line,
                                  "bring the bundle that this store itself signed"));
        kit_foreign_release(&event);
    }
    struct quipu_ingest_report report;
    kit_assert_ok(&ours, quipu_quarantine_retry(ours.engine, &report, &ours.err));
    cr_assert_eq(report.quarantined, 3, "looked at again, and refused again");
    cr_assert_eq(report.added, 0);
    cr_assert_eq(in_quarantine().count, 3);
    kit_assert_sound(&ours, 1);

    kit_append(&ours, "a", 2);
    cr_assert_eq(number_at(2), 2, "nothing has moved");
    kit_assert_sound(&ours, 2);
}

Test(ingest_own, keeps_no_fork_of_its_own_number_that_nobody_proves)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report;
    struct quipu_fork_counts forks;
    struct kit_foreign event;
    kit_append(&ours, "a", 1);
    forge(1, &event);
    kit_assert_ok(&ours,
                  quipu_ingest_begin(ours.engine, QUIPU_INGEST_QUARANTINE, &ingest, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, &report, &ours.err));
    kit_foreign_release(&event);

    cr_assert_eq(report.quarantined, 1);
    cr_assert_eq(in_quarantine().reason, QUIPU_UNTRUSTED);
    kit_assert_ok(&ours, quipu_fork_count(ours.engine, &forks, &ours.err));
    cr_assert_eq(forks.sources, 0);
}

Test(ingest_own, knows_its_own_events_whoever_brings_them)
{
    struct kit_foreign event;
    enum quipu_ingest_outcome outcome;
    kit_append(&ours, "a", 1);
    kit_foreign_copy(&ours, 1, &event);
    cr_assert_eq(ingest_kit_take(QUIPU_INGEST_STRICT, &event.foreign, &outcome), QUIPU_OK, "%s",
                 ours.err.message);
    cr_assert_eq(outcome, QUIPU_INGEST_KNOWN);
    kit_foreign_release(&event);
}

Test(ingest_own, a_proven_carrier_lets_no_unproven_event_in_behind_its_own)
{
    struct kit_foreign event;
    roll_back();
    kit_append(&theirs, "b", 2);
    kit_append(&theirs, "c", 3);
    char own[sizeof proven];
    memcpy(own, proven, sizeof own);
    /* The third comes unproven and is kept; it waits for nothing that comes. */
    proven[0] = '\0';
    kit_foreign_copy(&theirs, 3, &event);
    assert_refused(&event.foreign, QUIPU_UNTRUSTED, own);
    memcpy(proven, own, sizeof own);
    ingest_kit_take_position(2);
    cr_assert_eq(in_quarantine().count, 1);
    kit_assert_sound(&ours, 2);

    ingest_kit_take_position(3);
    cr_assert_eq(in_quarantine().count, 0, "its own bundle brings it after all");
    kit_append(&ours, "d", 4);
    cr_assert_eq(number_at(4), 4);
    kit_foreign_release(&event);
    kit_assert_sound(&ours, 4);
}
