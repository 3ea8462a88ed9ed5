/*
 * Evidence of a conflict: one canonical block of DAG-CBOR with both envelopes, whole, in the order
 * of their CIDs. So every store that holds both events makes the same bytes, and whoever gets them
 * can decode and hash them with stock tools.
 *
 * Verifying needs no store and trusts nothing in the block: what it claims is read out of the
 * envelopes again.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "event_at.h"
#include "forks.h"
#include "row_codec.h"

#define EVIDENCE_FORMAT 1
#define AGGREGATE_PAIRS 6
#define SOURCE_PAIRS    5

static const char *const kind_names[] = {
    [QUIPU_FORK_AGGREGATE] = "aggregate",
    [QUIPU_FORK_SOURCE] = "source",
};

bool fork_names(const struct quipu_envelope *envelope, const struct quipu_cid *cid)
{
    for (size_t i = 0; i < envelope->prev_count; i++) {
        if (quipu_cid_equal(&envelope->prev[i], cid)) {
            return true;
        }
    }
    return false;
}

bool fork_sides_meet(const struct quipu_envelope *a, const struct quipu_envelope *b)
{
    if (a->prev_count == 0 || b->prev_count == 0) {
        return a->prev_count == b->prev_count;
    }
    for (size_t i = 0; i < a->prev_count; i++) {
        if (fork_names(b, &a->prev[i])) {
            return true;
        }
    }
    return false;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ------------------------------------------------------------------ making */

enum quipu_status fork_side_at(struct quipu_txn *txn, uint64_t position, struct fork_side *out,
                               struct quipu_error *err)
{
    struct quipu_event_view view;
    enum quipu_status status = event_view_at(txn, position, &view, err);
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "forks: a row names position %" PRIu64 ", the last one is %" PRIu64,
                               position, quipu_txn_last_position(txn));
    }
    if (status != QUIPU_OK) {
        return status;
    }
    *out = (struct fork_side){
        .cid = view.cid, .block = view.envelope_block, .envelope = view.envelope};
    return QUIPU_OK;
}

enum quipu_status fork_evidence_write(enum quipu_fork_kind kind, const struct fork_side *a,
                                      const struct fork_side *b, struct quipu_buf *out,
                                      struct quipu_error *err)
{
    bool is_ascending = memcmp(a->cid.digest, b->cid.digest, sizeof a->cid.digest) < 0;
    const struct fork_side *first = is_ascending ? a : b;
    const struct fork_side *second = is_ascending ? b : a;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, kind == QUIPU_FORK_SOURCE ? SOURCE_PAIRS : AGGREGATE_PAIRS);
    quipu_dagcbor_write_key(&writer, "v");
    quipu_dagcbor_write_uint(&writer, EVIDENCE_FORMAT);
    quipu_dagcbor_write_key(&writer, "kind");
    quipu_dagcbor_write_text(&writer, quipu_slice_text(kind_names[kind]));
    if (kind == QUIPU_FORK_SOURCE) {
        quipu_dagcbor_write_key(&writer, "source");
        quipu_dagcbor_write_text(&writer, first->envelope.source);
    } else {
        quipu_dagcbor_write_key(&writer, "version");
        quipu_dagcbor_write_uint(&writer,
                                 smaller(first->envelope.version, second->envelope.version));
    }
    quipu_dagcbor_write_key(&writer, "envelopes");
    quipu_dagcbor_write_list(&writer, 2);
    quipu_dagcbor_write_bytes(&writer, first->block);
    quipu_dagcbor_write_bytes(&writer, second->block);
    if (kind == QUIPU_FORK_SOURCE) {
        quipu_dagcbor_write_key(&writer, "source_seq");
        quipu_dagcbor_write_uint(&writer, first->envelope.source_seq);
    } else {
        quipu_dagcbor_write_key(&writer, "aggregate_id");
        quipu_dagcbor_write_text(&writer, first->envelope.aggregate_id);
        quipu_dagcbor_write_key(&writer, "aggregate_type");
        quipu_dagcbor_write_text(&writer, first->envelope.aggregate_type);
    }
    return quipu_dagcbor_writer_finish(&writer, err);
}

/* ------------------------------------------------------------------ verifying */

static enum quipu_status prove_nothing(struct quipu_error *err, const char *why)
{
    return quipu_error_set(err, QUIPU_INVALID, "evidence: %s", why);
}

static enum quipu_status envelopes_read(struct quipu_dagcbor_reader *reader, struct quipu_fork *out,
                                        struct quipu_error *err)
{
    uint64_t items = 0;
    enum quipu_status status = row_read_key(reader, "envelopes", err);
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_list(reader, &items, err);
    }
    if (status == QUIPU_OK && items != 2) {
        return prove_nothing(err, "it does not hold two envelopes");
    }
    for (int i = 0; status == QUIPU_OK && i < 2; i++) {
        status = quipu_dagcbor_read_bytes(reader, &out->envelopes[i], err);
    }
    return status;
}

/* The fields as they stand; whether they are true is another question. */
static enum quipu_status fields_read(struct quipu_dagcbor_reader *reader, struct quipu_fork *out,
                                     struct quipu_error *err)
{
    struct quipu_slice kind = {0};
    enum quipu_status status = row_read_text(reader, "kind", &kind, err);
    if (status != QUIPU_OK) {
        return status;
    }
    bool is_source = quipu_slice_equal(kind, quipu_slice_text(kind_names[QUIPU_FORK_SOURCE]));
    if (!is_source &&
        !quipu_slice_equal(kind, quipu_slice_text(kind_names[QUIPU_FORK_AGGREGATE]))) {
        return prove_nothing(err, "its kind is neither aggregate nor source");
    }
    out->kind = is_source ? QUIPU_FORK_SOURCE : QUIPU_FORK_AGGREGATE;
    out->state = is_source ? QUIPU_FORK_LASTING : QUIPU_FORK_OPEN;
    status = is_source ? row_read_text(reader, "source", &out->source, err)
                       : row_read_uint(reader, "version", &out->version, err);
    if (status == QUIPU_OK) {
        status = envelopes_read(reader, out, err);
    }
    if (status == QUIPU_OK && is_source) {
        return row_read_uint(reader, "source_seq", &out->source_seq, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_text(reader, "aggregate_id", &out->aggregate.id, err);
    }
    return status == QUIPU_OK ? row_read_text(reader, "aggregate_type", &out->aggregate.type, err)
                              : status;
}

static enum quipu_status evidence_read(struct quipu_slice evidence, struct quipu_fork *out,
                                       struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t pairs = 0;
    uint64_t format = 0;
    struct quipu_error why = {0};
    enum quipu_status status = quipu_dagcbor_validate(evidence, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "evidence");
    }
    status = row_read_begin(&reader, evidence, &pairs, &why);
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "v", &format, &why);
    }
    if (status == QUIPU_OK && format > EVIDENCE_FORMAT) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER,
                               "evidence: format %" PRIu64 ", this program knows %d", format,
                               EVIDENCE_FORMAT);
    }
    if (status == QUIPU_OK) {
        status = fields_read(&reader, out, &why);
    }
    if (status != QUIPU_OK) {
        return prove_nothing(err, why.message);
    }
    uint64_t wanted = out->kind == QUIPU_FORK_SOURCE ? SOURCE_PAIRS : AGGREGATE_PAIRS;
    return pairs == wanted && format == EVIDENCE_FORMAT
               ? QUIPU_OK
               : prove_nothing(err, "it has other fields than those of its kind");
}

static enum quipu_status side_read(const struct quipu_fork *fork, int i, struct fork_side *out,
                                   struct quipu_error *err)
{
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    out->block = fork->envelopes[i];
    out->cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, out->block);
    enum quipu_status status = quipu_envelope_decode(out->block, &out->envelope, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "evidence: envelopes[%d]", i);
    }
    if (quipu_source_public_key(out->envelope.source, public_key, err) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_ENVELOPE,
                               "evidence: envelopes[%d]: the checksum of source is wrong", i);
    }
    return QUIPU_OK;
}

static enum quipu_status numbers_prove(const struct quipu_fork *fork, const struct fork_side *a,
                                       const struct fork_side *b, struct quipu_error *err)
{
    const struct fork_side *sides[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        if (!quipu_slice_equal(sides[i]->envelope.source, fork->source) ||
            sides[i]->envelope.source_seq != fork->source_seq) {
            return prove_nothing(err, "an envelope has another source or source_seq");
        }
    }
    return QUIPU_OK;
}

static enum quipu_status branches_prove(const struct quipu_fork *fork, const struct fork_side *a,
                                        const struct fork_side *b, struct quipu_error *err)
{
    const struct fork_side *sides[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        if (!envelope_is_of(&sides[i]->envelope, &fork->aggregate)) {
            return prove_nothing(err, "an envelope is of another aggregate");
        }
    }
    if (fork->version != smaller(a->envelope.version, b->envelope.version)) {
        return prove_nothing(err, "its version is not the smaller one of both envelopes");
    }
    if (a->envelope.version != b->envelope.version &&
        !fork_sides_meet(&a->envelope, &b->envelope)) {
        return prove_nothing(err, "the envelopes share neither version nor prev");
    }
    return QUIPU_OK;
}

enum quipu_status quipu_fork_verify(struct quipu_slice evidence, struct quipu_fork *out,
                                    struct quipu_error *err)
{
    struct quipu_fork fork = {.evidence = evidence};
    struct fork_side sides[2];
    enum quipu_status status = evidence_read(evidence, &fork, err);
    for (int i = 0; status == QUIPU_OK && i < 2; i++) {
        status = side_read(&fork, i, &sides[i], err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (memcmp(sides[0].cid.digest, sides[1].cid.digest, sizeof sides[0].cid.digest) >= 0) {
        return prove_nothing(err, "the envelopes are the same, or not in the order of their CIDs");
    }
    status = fork.kind == QUIPU_FORK_SOURCE ? numbers_prove(&fork, &sides[0], &sides[1], err)
                                            : branches_prove(&fork, &sides[0], &sides[1], err);
    if (status != QUIPU_OK || out == NULL) {
        return status;
    }
    fork.cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, evidence);
    for (int i = 0; i < 2; i++) {
        fork.events[i] = sides[i].cid;
    }
    if (fork.kind == QUIPU_FORK_SOURCE) {
        fork.aggregate = (struct quipu_aggregate){sides[0].envelope.aggregate_type,
                                                  sides[0].envelope.aggregate_id};
        fork.version = sides[0].envelope.version;
    }
    *out = fork;
    return QUIPU_OK;
}
