/*
 * Numbers of sources: no two events under one number, whoever recorded them and whichever way they
 * came.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "ingest_kit.h"

TestSuite(numbers, .init = ingest_kit_open, .fini = ingest_kit_close);

static enum quipu_status take(const struct quipu_foreign *event)
{
    struct quipu_ingest *ingest = NULL;
    kit_assert_ok(&ours, quipu_ingest_begin(ours.engine, QUIPU_INGEST_STRICT, &ingest, &ours.err));
    enum quipu_status status = quipu_ingest_event(ingest, event, NULL, &ours.err);
    if (status == QUIPU_OK) {
        kit_assert_ok(&ours, quipu_ingest_commit(&ingest, NULL, &ours.err));
    }
    quipu_ingest_abort(&ingest);
    return status;
}

static void take_position(uint64_t position)
{
    struct kit_foreign event;
    kit_foreign_copy(&theirs, position, &event);
    cr_assert_eq(take(&event.foreign), QUIPU_OK, "%s", ours.err.message);
    kit_foreign_release(&event);
}

/* What a copy of their store would have recorded as `position`: another aggregate's first event
 * under the same number. */
static void twin_of(uint64_t position, struct kit_foreign *event)
{
    struct quipu_envelope envelope;
    kit_foreign_copy(&theirs, position, event);
    kit_assert_ok(&ours, quipu_envelope_decode(event->foreign.envelope, &envelope, &ours.err));
    envelope.event_id = kit_uuid(99);
    envelope.aggregate_id = quipu_slice_text("twin");
    envelope.version = 1;
    envelope.prev_count = 0;
    ingest_kit_put_envelope(event, &envelope);
}

static void assert_twin_is_a_fork(uint64_t position)
{
    struct kit_foreign first;
    struct kit_foreign twin;
    char text[QUIPU_CID_TEXT_BYTES];
    kit_foreign_copy(&theirs, position, &first);
    twin_of(position, &twin);
    cr_assert_eq(take(&twin.foreign), QUIPU_FORK, "%s", ours.err.message);
    quipu_cid_format(&first.foreign.cid, text);
    cr_assert_not_null(strstr(ours.err.message, text), "%s", ours.err.message);
    quipu_cid_format(&twin.foreign.cid, text);
    cr_assert_not_null(strstr(ours.err.message, text), "%s", ours.err.message);
    kit_foreign_release(&first);
    kit_foreign_release(&twin);
}

Test(numbers, a_number_of_a_foreign_source_is_given_once)
{
    kit_append(&theirs, "a", 1);
    kit_append(&theirs, "b", 2);
    take_position(2);
    take_position(1);

    assert_twin_is_a_fork(1);
    assert_twin_is_a_fork(2);
    kit_assert_sound(&ours, 2);
}

Test(numbers, the_same_number_of_another_source_is_no_fork)
{
    struct kit_foreign event;
    kit_append(&theirs, "a", 1);
    kit_append(&ours, "b", 1);
    take_position(1);
    kit_foreign_copy(&theirs, 1, &event);
    cr_assert_eq(take(&event.foreign), QUIPU_OK, "known");
    kit_foreign_release(&event);
    kit_assert_sound(&ours, 2);
}

Test(numbers, what_a_lost_identity_recorded_cannot_be_forked)
{
    struct kit_foreign twin;
    kit_append(&theirs, "a", 1);
    ingest_kit_become_theirs(INGEST_KIT_WITHOUT_KEY);
    twin_of(1, &twin);
    cr_assert_eq(take(&twin.foreign), QUIPU_FORK, "%s", ours.err.message);
    kit_append(&ours, "c", 1);
    cr_assert_eq(take(&twin.foreign), QUIPU_FORK, "%s", ours.err.message);
    kit_foreign_release(&twin);
    kit_assert_sound(&ours, 2);
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

Test(numbers, a_key_that_comes_back_goes_on_behind_what_came_in_meanwhile)
{
    kit_append(&theirs, "a", 1);
    ingest_kit_become_theirs(INGEST_KIT_WITHOUT_KEY);
    kit_append(&theirs, "a", 2);
    kit_append(&theirs, "b", 3);
    take_position(2);
    take_position(3);
    kit_assert_sound(&ours, 3);

    ingest_kit_take_key();
    kit_reopen(&ours);
    kit_append(&ours, "c", 1);
    cr_assert_eq(number_at(4), 4);
    kit_assert_sound(&ours, 4);
}

Test(numbers, so_does_one_that_comes_back_after_another_identity)
{
    kit_append(&theirs, "a", 1);
    ingest_kit_become_theirs(INGEST_KIT_WITHOUT_KEY);
    kit_append(&ours, "d", 1);
    kit_append(&theirs, "a", 2);
    take_position(2);
    kit_assert_sound(&ours, 3);

    ingest_kit_take_key();
    kit_reopen(&ours);
    kit_append(&ours, "c", 1);
    cr_assert_eq(number_at(4), 3);
    kit_assert_sound(&ours, 4);
}

/* ------------------------------------------------------------------ who recorded it */

static bool is_recorded_here(uint64_t position)
{
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_event_view event;
    bool is_here = false;
    kit_assert_ok(&ours, quipu_txn_begin_read(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_txn_record_at(txn, position, &record, &ours.err));
    kit_assert_ok(&ours, quipu_event_view_of(&record, &event, &ours.err));
    kit_assert_ok(&ours, quipu_event_is_recorded_here(txn, &event, &is_here, &ours.err));
    quipu_txn_abort(&txn);
    return is_here;
}

static void take_with_forks(const struct quipu_foreign *event)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    options.forks = QUIPU_INGEST_FORKS_KEEP;
    kit_assert_ok(&ours, quipu_ingest_begin_with(ours.engine, &options, &ingest, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_event(ingest, event, NULL, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, NULL, &ours.err));
}

Test(numbers, tell_what_was_recorded_here_from_what_came_in_under_the_same_name)
{
    struct kit_foreign twin;
    kit_append(&theirs, "a", 1);
    ingest_kit_become_theirs(INGEST_KIT_WITHOUT_KEY);
    cr_assert(is_recorded_here(1));
    kit_append(&ours, "d", 1);
    cr_assert(is_recorded_here(1)); /* under the identity that it had before */
    cr_assert(is_recorded_here(2));

    twin_of(1, &twin);
    take_with_forks(&twin.foreign); /* the number is one that was given here */
    cr_assert_not(is_recorded_here(3));
    kit_append(&theirs, "b", 2);
    take_position(2); /* and this one is not */
    cr_assert_not(is_recorded_here(4));
    cr_assert(is_recorded_here(1));
    kit_foreign_release(&twin);

    ingest_kit_take_key();
    kit_reopen(&ours);
    kit_append(&ours, "c", 1); /* goes on behind what came in under its name */
    cr_assert(is_recorded_here(5));
    cr_assert_not(is_recorded_here(4));
    cr_assert_not(is_recorded_here(3));
    cr_assert(is_recorded_here(1));
}
