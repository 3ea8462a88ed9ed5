/*
 * The log: what comes back, the limits, heads and back-pointers, figures.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "store_fixture.h"

static struct fixture fixture;
static struct quipu_txn *txn;

static void set_up(void)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    fixture_init(&fixture, &tuning);
    txn = NULL;
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
}

static void tear_down(void)
{
    quipu_txn_abort(&txn);
    fixture_release(&fixture);
}

TestSuite(store_log, .init = set_up, .fini = tear_down);

static void commit_and_read(void)
{
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
}

Test(store_log, gives_back_what_was_put_in)
{
    struct sample sample;
    struct quipu_record record;
    uint64_t position = 0;
    sample_make(&sample, 4, 10, true);
    sample.record.version = 9;
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
    commit_and_read();

    cr_assert_eq(position, 1);
    cr_assert_eq(quipu_txn_last_position(txn), 1);
    cr_assert_eq(quipu_txn_record_at(txn, 1, &record, NULL), QUIPU_OK);
    cr_assert_eq(record.position, 1);
    cr_assert_eq(record.aggregate_prev_position, 0);
    cr_assert_eq(record.version, 9);
    cr_assert(quipu_uuid_equal(record.event_id, sample.record.event_id));
    cr_assert(quipu_uuid_equal(record.correlation_id, sample.record.correlation_id));
    cr_assert_not(quipu_uuid_equal(record.correlation_id, record.event_id));
    cr_assert(quipu_slice_equal(record.aggregate.type, sample.record.aggregate.type));
    cr_assert(quipu_slice_equal(record.aggregate.id, sample.record.aggregate.id));
    cr_assert(quipu_slice_equal(record.event_type, sample.record.event_type));
    cr_assert(record.event_type.data == record.envelope.data + 162, "points into it");
    cr_assert(quipu_cid_equal(&record.envelope_cid, &sample.record.envelope_cid));
    cr_assert(quipu_cid_equal(&record.payload_cid, &sample.record.payload_cid));
    cr_assert(quipu_slice_equal(record.envelope, sample.record.envelope));
    cr_assert(quipu_slice_equal(record.payload, sample.record.payload));
}

Test(store_log, an_empty_payload_is_a_payload)
{
    struct sample sample;
    struct quipu_record record;
    uint64_t position;
    enum quipu_block_kind kind;
    sample_make(&sample, 4, 10, true);
    sample.record.payload = quipu_slice(NULL, 0);
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
    commit_and_read();

    cr_assert_eq(quipu_txn_find_cid(txn, &sample.record.payload_cid, &record, &kind, NULL),
                 QUIPU_OK);
    cr_assert_eq(record.payload.len, 0);
}

Test(store_log, has_no_position_0_and_none_behind_the_last)
{
    struct sample sample;
    struct quipu_record record;
    struct quipu_head head;
    enum quipu_block_kind kind;
    struct quipu_error err;
    uint64_t position;
    cr_assert_eq(quipu_txn_record_at(txn, 1, &record, NULL), QUIPU_NOT_FOUND);
    sample_make(&sample, 4, 10, true);
    cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, &err),
                 QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_txn_find_cid(txn, &sample.record.payload_cid, &record, &kind, &err),
                 QUIPU_NOT_FOUND);
    cr_assert(strstr(err.message, "baf") != NULL, "%s", err.message);
    cr_assert_eq(quipu_txn_head(txn, sample.record.aggregate, &head, &err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
    commit_and_read();

    cr_assert_eq(quipu_txn_record_at(txn, 0, &record, &err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_txn_record_at(txn, 1, &record, &err), QUIPU_OK);
    cr_assert_eq(quipu_txn_record_at(txn, 2, &record, &err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_txn_record_at(txn, UINT64_MAX, &record, &err), QUIPU_NOT_FOUND);
}

Test(store_log, a_cid_of_the_other_codec_is_another_block)
{
    struct sample sample;
    struct quipu_record record;
    enum quipu_block_kind kind;
    uint64_t position;
    sample_make(&sample, 4, 10, true);
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
    struct quipu_cid other = sample.record.payload_cid;
    other.codec = QUIPU_CODEC_RAW;

    cr_assert_eq(quipu_txn_find_cid(txn, &other, &record, &kind, NULL), QUIPU_NOT_FOUND);
}

static enum quipu_status append_sized(size_t type, size_t id, size_t event_type, size_t envelope,
                                      size_t payload)
{
    struct sample sample;
    uint64_t position;
    uint8_t *bytes = calloc(1, QUIPU_PAYLOAD_BYTES_MAX + 1);
    uint8_t *envelope_bytes = calloc(1, QUIPU_ENVELOPE_BYTES_MAX + 1);
    sample_make(&sample, 4, 10, true);
    struct quipu_record_new *record = &sample.record;
    memset(bytes, 'a', 300);
    record->aggregate.type = quipu_slice(bytes, type);
    record->aggregate.id = quipu_slice(bytes, id);
    record->payload = quipu_slice(bytes, payload);
    record->event_type = quipu_slice(bytes, event_type);
    record->correlation_id = record->event_id;
    if (envelope >= 48) {
        size_t names = envelope - 48 < 255 ? envelope - 48 : 255;
        memset(envelope_bytes, 'a', names);
        memcpy(envelope_bytes + envelope - 48, record->event_id.bytes, 16);
        memcpy(envelope_bytes + envelope - 32, record->payload_cid.digest, 32);
    }
    record->envelope = quipu_slice(envelope_bytes, envelope);
    enum quipu_status status = quipu_txn_append(txn, record, &position, NULL);
    struct quipu_record stored;
    if (status == QUIPU_OK) {
        cr_assert_eq(quipu_txn_record_at(txn, position, &stored, NULL), QUIPU_OK);
        cr_assert(quipu_slice_equal(stored.envelope, record->envelope));
        cr_assert(quipu_slice_equal(stored.payload, record->payload));
        cr_assert(quipu_uuid_equal(stored.event_id, record->event_id));
        cr_assert(quipu_cid_equal(&stored.payload_cid, &record->payload_cid));
        cr_assert(quipu_slice_equal(stored.aggregate.type, record->aggregate.type));
        cr_assert(quipu_slice_equal(stored.aggregate.id, record->aggregate.id));
        cr_assert(quipu_slice_equal(stored.event_type, record->event_type));
        cr_assert(quipu_uuid_equal(stored.correlation_id, record->event_id));
    }
    free(envelope_bytes);
    free(bytes);
    return status;
}

Test(store_log, holds_every_limit_to_the_byte)
{
    cr_assert_eq(append_sized(1, 1, 1, 49, 0), QUIPU_OK);
    cr_assert_eq(append_sized(63, 254, 127, 65535, (4 << 20) - 1), QUIPU_OK);
    cr_assert_eq(append_sized(64, 255, 128, 65536, 4 << 20), QUIPU_OK);
    cr_assert_eq(append_sized(65, 255, 1, 400, 1), QUIPU_TOO_LARGE);
    cr_assert_eq(append_sized(64, 256, 1, 400, 1), QUIPU_TOO_LARGE);
    cr_assert_eq(append_sized(64, 255, 129, 400, 1), QUIPU_TOO_LARGE);
    cr_assert_eq(append_sized(64, 255, 1, 65537, 1), QUIPU_TOO_LARGE);
    cr_assert_eq(append_sized(64, 255, 1, 400, (4 << 20) + 1), QUIPU_TOO_LARGE);
    cr_assert_eq(append_sized(0, 255, 1, 400, 1), QUIPU_MISUSE);
    cr_assert_eq(append_sized(64, 0, 1, 400, 1), QUIPU_MISUSE);
    cr_assert_eq(append_sized(64, 255, 0, 400, 1), QUIPU_MISUSE);
    cr_assert_eq(append_sized(1, 1, 1, 47, 1), QUIPU_MISUSE);
    cr_assert_eq(append_sized(1, 1, 2, 49, 1), QUIPU_MISUSE);
    cr_assert_eq(append_sized(1, 255, 1, 302, 1), QUIPU_MISUSE);

    commit_and_read();
    cr_assert_eq(quipu_txn_last_position(txn), 3);
    cr_assert_eq(problems_of(fixture.store), 0);
}

Test(store_log, refuses_an_envelope_that_does_not_name_its_event_and_payload)
{
    struct sample sample;
    struct quipu_error err;
    uint64_t position;
    sample_make(&sample, 4, 10, true);
    sample.record.event_id.bytes[15] ^= 1;
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_MISUSE);
    cr_assert(strstr(err.message, "event_id") != NULL);
    sample_make(&sample, 4, 10, true);
    sample.record.payload_cid.digest[31] ^= 1;
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_MISUSE);
    static const char *const names[] = {"aggregate type", "aggregate id", "event type"};
    for (int i = 0; i < 3; i++) {
        sample_make(&sample, 4, 10, true);
        struct quipu_slice *fields[] = {&sample.record.aggregate.type, &sample.record.aggregate.id,
                                        &sample.record.event_type};
        *fields[i] = quipu_slice_text("nowhere");
        cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_MISUSE);
        cr_assert(strstr(err.message, names[i]) != NULL, "%s", err.message);
    }
    sample_make(&sample, 4, 10, true);
    sample.record.correlation_id.bytes[15] ^= 1;
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_MISUSE);
    cr_assert(strstr(err.message, "correlation_id") != NULL, "%s", err.message);
    sample_make(&sample, 4, 10, true);
    sample.record.version = UINT64_C(1) << 63;
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_MISUSE);
    sample_make(&sample, 4, 10, true);
    sample.record.envelope_cid.codec = QUIPU_CODEC_RAW;
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_MISUSE);
    sample_make(&sample, 4, 10, true);
    sample.record.payload_cid.codec = QUIPU_CODEC_DAG_PB;
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_MISUSE);

    sample_make(&sample, 4, 10, true);
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_OK);
    cr_assert_eq(position, 1);
}

Test(store_log, heads_follow_the_last_event_and_remember_the_greatest_version)
{
    struct sample sample;
    struct quipu_head head;
    struct quipu_record record;
    uint64_t position;
    static const uint64_t versions[] = {1, 2, 3, 2};
    for (uint64_t i = 0; i < 4; i++) {
        sample_make(&sample, 20 * i, 10, true);
        sample.record.version = versions[i];
        cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
        sample_make(&sample, 20 * i + 1, 10, true);
        cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
    }
    sample_make(&sample, 60, 10, true);
    commit_and_read();

    cr_assert_eq(quipu_txn_head(txn, sample.record.aggregate, &head, NULL), QUIPU_OK);
    cr_assert_eq(head.version, 2);
    cr_assert_eq(head.version_max, 3);
    cr_assert(head.has_fork);
    cr_assert_eq(head.position, 7);
    cr_assert(quipu_cid_equal(&head.envelope_cid, &sample.record.envelope_cid));
    for (uint64_t want = 7; want > 1; want -= 2) {
        cr_assert_eq(quipu_txn_record_at(txn, want, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.aggregate_prev_position, want == 1 ? 0 : want - 2);
    }
    cr_assert_eq(problems_of(fixture.store), 0);
}

Test(store_log, tells_aggregates_apart_where_type_and_id_run_into_each_other)
{
    struct sample sample;
    struct quipu_head head;
    uint64_t position;
    sample_make(&sample, 1, 10, true);
    memcpy(sample.envelope, "abc", 3);
    sample.record.aggregate.type = quipu_slice_text("ab");
    sample.record.aggregate.id = quipu_slice_text("c");
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
    struct quipu_aggregate other = {quipu_slice_text("a"), quipu_slice_text("bc")};

    cr_assert_eq(quipu_txn_head(txn, other, &head, NULL), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_txn_head(txn, sample.record.aggregate, &head, NULL), QUIPU_OK);
}

Test(store_log, reads_forwards_backwards_and_here_and_there)
{
    struct quipu_record record;
    quipu_txn_abort(&txn);
    samples_commit(fixture.store, 0, 500, 100);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);

    for (uint64_t i = 1; i <= 500; i++) {
        cr_assert_eq(quipu_txn_record_at(txn, i, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.position, i);
        cr_assert_eq(record.event_id.bytes[6] + 256u * record.event_id.bytes[5], i - 1);
    }
    for (uint64_t i = 500; i >= 1; i--) {
        cr_assert_eq(quipu_txn_record_at(txn, i, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.event_id.bytes[6] + 256u * record.event_id.bytes[5], i - 1);
    }
    for (uint64_t i = 1; i <= 500; i++) {
        uint64_t there = 1 + i * 7919 % 500;
        cr_assert_eq(quipu_txn_record_at(txn, there, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.event_id.bytes[6] + 256u * record.event_id.bytes[5], there - 1);
        cr_assert_eq(quipu_txn_record_at(txn, there, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.position, there);
    }
}

Test(store_log, tells_its_figures)
{
    struct quipu_store_stat stat;
    quipu_txn_abort(&txn);
    samples_commit(fixture.store, 0, 50, 10);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);

    cr_assert_eq(quipu_txn_stat(txn, &stat, NULL), QUIPU_OK);
    cr_assert_eq(stat.events, 50);
    cr_assert_eq(stat.aggregates, 10);
    cr_assert_eq(stat.format, 1);
    cr_assert_gt(stat.file_bytes, 50 * 400);
    cr_assert_gt(stat.map_bytes, stat.file_bytes);
}
