/*
 * Places that several events claim: behind an event in its aggregate, the beginning of an
 * aggregate, a number of a source. A place has rows only where two events claim it at least.
 *
 * Which conflicts there are must follow from the events alone, and an aggregate where a thousand
 * events follow the same one must not make half a million conflicts. So the claims of a place are
 * ordered by CID, and each two neighbours are one conflict. With two claims, which is what happens
 * among honest devices, that is the conflict of the two. A further claim that falls between two
 * neighbours takes the place of their evidence with two new pieces; an old piece that was given
 * away goes on proving what it proves.
 *
 * Two events that both merge the same branches claim several places together. Their evidence is one
 * object, and it stays as long as they are neighbours at one of these places.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "forks.h"
#include "internal/bytes.h"
#include "quipu/sha256.h"

/* ------------------------------------------------------------------ names of places */

struct fork_place fork_place_behind(const struct quipu_cid *prev)
{
    struct fork_place place = {{PLACE_BEHIND}};
    memcpy(place.bytes + 1, prev->digest, sizeof prev->digest);
    return place;
}

void fork_hash_pair(struct quipu_slice front, struct quipu_slice back,
                    uint8_t out[QUIPU_SHA256_BYTES])
{
    struct quipu_sha256_stream stream;
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, front);
    quipu_sha256_stream_update(&stream, quipu_slice("", 1));
    quipu_sha256_stream_update(&stream, back);
    quipu_sha256_stream_final(&stream, out);
}

static struct fork_place place_hash(enum place_kind kind, struct quipu_slice front,
                                    struct quipu_slice back)
{
    struct fork_place place = {{(uint8_t)kind}};
    fork_hash_pair(front, back, place.bytes + 1);
    return place;
}

struct fork_place fork_place_first(struct quipu_aggregate aggregate)
{
    return place_hash(PLACE_FIRST, aggregate.type, aggregate.id);
}

struct fork_place fork_place_number(struct quipu_slice source, uint64_t source_seq)
{
    uint8_t number[8];
    quipu_store_be64(number, source_seq);
    return place_hash(PLACE_NUMBER, source, quipu_slice(number, sizeof number));
}

/* ------------------------------------------------------------------ claims */

static struct quipu_slice claim_key(const struct fork_place *place, const uint8_t *digest,
                                    uint8_t storage[PLACE_KEY_BYTES])
{
    memcpy(storage, place->bytes, PLACE_BYTES);
    memcpy(storage + PLACE_BYTES, digest, QUIPU_SHA256_BYTES);
    return quipu_slice(storage, PLACE_KEY_BYTES);
}

static enum quipu_status claim_read(struct quipu_slice key, struct quipu_slice value,
                                    struct place_claim *out, struct quipu_error *err)
{
    if (key.len != PLACE_KEY_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT, "forks: a place with a key of %zu bytes",
                               key.len);
    }
    memcpy(out->digest, key.data + PLACE_BYTES, sizeof out->digest);
    return position_of_key(value, "forks: a place", &out->position, err);
}

enum quipu_status place_neighbour(struct quipu_txn *txn, const struct fork_place *place,
                                  const uint8_t *digest, bool is_above, struct place_claim *out,
                                  struct quipu_error *err)
{
    static const uint8_t zeros[QUIPU_SHA256_BYTES] = {0};
    uint8_t ones[QUIPU_SHA256_BYTES];
    uint8_t storage[PLACE_KEY_BYTES];
    struct quipu_slice key;
    struct quipu_slice value;
    enum quipu_seek seek = is_above ? QUIPU_SEEK_GT : QUIPU_SEEK_LT;
    if (digest == NULL) {
        memset(ones, 0xff, sizeof ones);
        digest = is_above ? zeros : ones;
        seek = is_above ? QUIPU_SEEK_GE : QUIPU_SEEK_LE;
    }
    enum quipu_status status = quipu_txn_table_seek(
        txn, TABLE_PLACES, claim_key(place, digest, storage), seek, &key, &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (key.len < PLACE_BYTES || memcmp(key.data, place->bytes, PLACE_BYTES) != 0) {
        return QUIPU_DONE;
    }
    return claim_read(key, value, out, err);
}

enum quipu_status place_claim_of(struct quipu_txn *txn, const struct fork_place *place,
                                 const struct quipu_cid *cid, uint64_t *position,
                                 struct quipu_error *err)
{
    uint8_t storage[PLACE_KEY_BYTES];
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_PLACES, claim_key(place, cid->digest, storage), &value, err);
    return status == QUIPU_OK ? position_of_key(value, "forks: a place", position, err) : status;
}

enum quipu_status place_number_is_second(struct quipu_txn *txn,
                                         const struct quipu_envelope *envelope,
                                         const struct quipu_cid *cid, uint64_t position,
                                         bool *is_second, struct quipu_error *err)
{
    struct fork_place place = fork_place_number(envelope->source, envelope->source_seq);
    uint64_t named = 0;
    enum quipu_status status = place_claim_of(txn, &place, cid, &named, err);
    *is_second = false;
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK;
    }
    struct place_claim claim;
    if (status == QUIPU_OK) {
        status = place_neighbour(txn, &place, NULL, true, &claim, err);
    }
    while (status == QUIPU_OK) {
        *is_second = *is_second || claim.position < position;
        uint8_t digest[QUIPU_SHA256_BYTES];
        memcpy(digest, claim.digest, sizeof digest);
        status = place_neighbour(txn, &place, digest, true, &claim, err);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ evidence of a pair */

/* Two claims of a place, the smaller CID first. */
struct claim_pair {
    struct place_claim low;
    struct place_claim high;
};

static enum quipu_status pair_evidence(struct quipu_txn *txn, const struct fork_place *place,
                                       const struct claim_pair *pair, struct fork_side sides[2],
                                       struct quipu_buf *out, struct quipu_error *err)
{
    enum quipu_fork_kind kind =
        place->bytes[0] == PLACE_NUMBER ? QUIPU_FORK_SOURCE : QUIPU_FORK_AGGREGATE;
    enum quipu_status status = fork_side_at(txn, pair->low.position, &sides[0], err);
    if (status == QUIPU_OK) {
        status = fork_side_at(txn, pair->high.position, &sides[1], err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_reset(out);
    return fork_evidence_write(kind, &sides[0], &sides[1], out, err);
}

static struct quipu_slice evidence_key(const struct quipu_buf *evidence,
                                       uint8_t storage[QUIPU_CID_BYTES])
{
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(evidence));
    quipu_cid_to_bytes(&cid, storage);
    return quipu_slice(storage, QUIPU_CID_BYTES);
}

static enum quipu_status pair_put(struct quipu_txn *txn, const struct fork_place *place,
                                  const struct claim_pair *pair, struct quipu_buf *scratch,
                                  struct quipu_error *err)
{
    struct fork_side sides[2];
    uint8_t key[QUIPU_CID_BYTES];
    enum quipu_status status = pair_evidence(txn, place, pair, sides, scratch, err);
    if (status != QUIPU_OK) {
        return status;
    }
    return quipu_txn_table_put(txn, TABLE_FORKS, evidence_key(scratch, key),
                               quipu_buf_slice(scratch), err);
}

/* Are they neighbours at another place too? */
static enum quipu_status pair_is_elsewhere(struct quipu_txn *txn, const struct fork_place *place,
                                           const struct fork_side sides[2], bool *is_elsewhere,
                                           struct quipu_error *err)
{
    const struct quipu_envelope *low = &sides[0].envelope;
    *is_elsewhere = false;
    for (size_t i = 0; i < low->prev_count; i++) {
        struct fork_place other = fork_place_behind(&low->prev[i]);
        uint64_t position = 0;
        struct place_claim next;
        if (memcmp(other.bytes, place->bytes, PLACE_BYTES) == 0) {
            continue;
        }
        enum quipu_status status = place_claim_of(txn, &other, &sides[0].cid, &position, err);
        if (status == QUIPU_OK) {
            status = place_neighbour(txn, &other, sides[0].cid.digest, true, &next, err);
        }
        if (status == QUIPU_OK) {
            *is_elsewhere =
                *is_elsewhere || memcmp(next.digest, sides[1].cid.digest, sizeof next.digest) == 0;
        } else if (status != QUIPU_NOT_FOUND && status != QUIPU_DONE) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* Something came between them here. */
static enum quipu_status pair_delete(struct quipu_txn *txn, const struct fork_place *place,
                                     const struct claim_pair *pair, struct quipu_buf *scratch,
                                     struct quipu_error *err)
{
    struct fork_side sides[2];
    uint8_t key[QUIPU_CID_BYTES];
    bool is_elsewhere = false;
    enum quipu_status status = pair_evidence(txn, place, pair, sides, scratch, err);
    if (status == QUIPU_OK && place->bytes[0] == PLACE_BEHIND) {
        status = pair_is_elsewhere(txn, place, sides, &is_elsewhere, err);
    }
    if (status != QUIPU_OK || is_elsewhere) {
        return status;
    }
    status = quipu_txn_table_delete(txn, TABLE_FORKS, evidence_key(scratch, key), err);
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status; /* verify tells that it was missing */
}

enum quipu_status place_claim_add(struct quipu_txn *txn, const struct fork_place *place,
                                  const struct quipu_cid *cid, uint64_t position,
                                  struct quipu_buf *scratch, struct quipu_error *err)
{
    struct claim_pair around;
    struct place_claim mine = {.position = position};
    memcpy(mine.digest, cid->digest, sizeof mine.digest);
    enum quipu_status below = place_neighbour(txn, place, cid->digest, false, &around.low, err);
    if (below != QUIPU_OK && below != QUIPU_DONE) {
        return below;
    }
    enum quipu_status above = place_neighbour(txn, place, cid->digest, true, &around.high, err);
    if (above != QUIPU_OK && above != QUIPU_DONE) {
        return above;
    }
    uint8_t key[PLACE_KEY_BYTES];
    uint8_t value[POSITION_KEY_BYTES];
    enum quipu_status status = quipu_txn_table_put(
        txn, TABLE_PLACES, claim_key(place, cid->digest, key), position_key(position, value), err);
    if (status == QUIPU_OK && below == QUIPU_OK && above == QUIPU_OK) {
        status = pair_delete(txn, place, &around, scratch, err);
    }
    if (status == QUIPU_OK && below == QUIPU_OK) {
        struct claim_pair pair = {around.low, mine};
        status = pair_put(txn, place, &pair, scratch, err);
    }
    if (status == QUIPU_OK && above == QUIPU_OK) {
        struct claim_pair pair = {mine, around.high};
        status = pair_put(txn, place, &pair, scratch, err);
    }
    return status;
}
