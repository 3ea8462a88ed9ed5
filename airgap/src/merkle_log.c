/*
 * The tree over a source's events: kept hashes, read on from where they end. Never trusts a kept
 * hash further than it must: a block whose leaves are read again is held against it, and whoever
 * signs a root holds it against the root that was signed before.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "merkle_log.h"

#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"
#include "quipu/store.h"

/* On disk, so it never changes; store.h says who has which numbers. */
#define TABLE_LOG_TREE ((struct quipu_table){0x101})

#define KEY_BLOCK "tree/" /* source ‖ u64 index → hash ‖ u64 position of its last event */
#define KEY_TAIL  "tail/" /* source → u64 position looked at ‖ u64 leaves ‖ their hashes */
#define KEY_TWIN  "twin/" /* source ‖ u64 position → nothing */

#define PREFIX_BYTES  (sizeof KEY_BLOCK - 1)
#define KEY_BYTES_MAX (PREFIX_BYTES + QUIPU_SOURCE_TEXT_BYTES + 8)
#define BLOCK_BYTES   ((size_t)QUIPU_SHA256_BYTES + 8)
#define TAIL_BYTES    ((size_t)16)

void quipu_merkle_log_release(struct quipu_merkle_log *log)
{
    quipu_buf_release(&log->blocks);
    quipu_buf_release(&log->tail);
    quipu_buf_release(&log->twins);
    quipu_buf_release(&log->leaves);
    *log = (struct quipu_merkle_log){0};
}

static uint64_t block_count(const struct quipu_merkle_log *log)
{
    return log->blocks.len / BLOCK_BYTES;
}

static const uint8_t *block_at(const struct quipu_merkle_log *log, uint64_t index)
{
    return log->blocks.data + index * BLOCK_BYTES;
}

/* Position of the last event of the block, 0 in front of the first. */
static uint64_t block_end(const struct quipu_merkle_log *log, uint64_t count)
{
    return count == 0 ? 0 : quipu_load_be64(block_at(log, count - 1) + QUIPU_SHA256_BYTES);
}

static enum quipu_status no_memory(struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the tree over the log");
}

static enum quipu_status row_damaged(struct quipu_error *err, const char *what)
{
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "the store's row %s of the tree over its log is "
                           "damaged",
                           what);
}

/* ------------------------------------------------------------------ rows */

static struct quipu_slice row_key(uint8_t storage[KEY_BYTES_MAX], const char *prefix,
                                  const char *source, const uint64_t *number)
{
    struct quipu_buf key;
    uint8_t bytes[8];
    quipu_buf_init_fixed(&key, storage, KEY_BYTES_MAX);
    quipu_buf_append_text(&key, prefix);
    quipu_buf_append_text(&key, source);
    if (number != NULL) {
        quipu_store_be64(bytes, *number);
        quipu_buf_append(&key, bytes, sizeof bytes);
    }
    return quipu_buf_slice(&key);
}

/* Each row under the prefix, in order, into `into`: the value, or where it is empty the number. */
static enum quipu_status load_rows(struct quipu_merkle_log *log, struct quipu_txn *txn,
                                   const char *prefix, struct quipu_buf *into,
                                   struct quipu_error *err)
{
    uint8_t storage[KEY_BYTES_MAX];
    struct quipu_table_walk *walk = NULL;
    struct quipu_slice key = {0};
    struct quipu_slice value = {0};
    bool is_twin = strcmp(prefix, KEY_TWIN) == 0;
    struct quipu_slice wanted = row_key(storage, prefix, log->source, NULL);
    uint64_t index = 0;
    enum quipu_status status = quipu_table_walk_open(txn, TABLE_LOG_TREE, wanted, &walk, err);
    while (status == QUIPU_OK &&
           (status = quipu_table_walk_next(walk, &key, &value, err)) == QUIPU_OK) {
        bool is_sound = key.len == wanted.len + 8 && value.len == (is_twin ? 0 : BLOCK_BYTES);
        struct quipu_slice number =
            is_sound ? quipu_slice(key.data + wanted.len, 8) : (struct quipu_slice){0};
        if (!is_sound || (!is_twin && quipu_load_be64(number.data) != index)) {
            status = row_damaged(err, prefix);
            break;
        }
        quipu_buf_append_slice(into, is_twin ? number : value);
        index++;
    }
    quipu_table_walk_close(&walk);
    if (status == QUIPU_DONE) {
        status = into->status == QUIPU_OK ? QUIPU_OK : no_memory(err);
    }
    return status;
}

static enum quipu_status load_tail(struct quipu_merkle_log *log, struct quipu_txn *txn,
                                   struct quipu_error *err)
{
    uint8_t storage[KEY_BYTES_MAX];
    struct quipu_slice row = {0};
    enum quipu_status status = quipu_txn_table_get(
        txn, TABLE_LOG_TREE, row_key(storage, KEY_TAIL, log->source, NULL), &row, err);
    if (status == QUIPU_NOT_FOUND) {
        return block_count(log) == 0 ? QUIPU_OK : row_damaged(err, KEY_TAIL);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t tail = row.len < TAIL_BYTES ? 0 : (row.len - TAIL_BYTES) / QUIPU_SHA256_BYTES;
    if (row.len < TAIL_BYTES || (row.len - TAIL_BYTES) % QUIPU_SHA256_BYTES != 0 ||
        tail >= QUIPU_MERKLE_BLOCK_LEAVES ||
        quipu_load_be64(row.data + 8) != block_count(log) * QUIPU_MERKLE_BLOCK_LEAVES + tail) {
        return row_damaged(err, KEY_TAIL);
    }
    log->position = quipu_load_be64(row.data);
    log->size = quipu_load_be64(row.data + 8);
    quipu_buf_append(&log->tail, row.data + TAIL_BYTES, row.len - TAIL_BYTES);
    return log->tail.status == QUIPU_OK ? QUIPU_OK : no_memory(err);
}

static enum quipu_status load_kept(struct quipu_merkle_log *log, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(log->engine), &txn, err);
    if (status == QUIPU_OK) {
        status = load_rows(log, txn, KEY_BLOCK, &log->blocks, err);
    }
    if (status == QUIPU_OK) {
        status = load_rows(log, txn, KEY_TWIN, &log->twins, err);
    }
    if (status == QUIPU_OK) {
        status = load_tail(log, txn, err);
    }
    quipu_txn_abort(&txn);
    log->blocks_stored = block_count(log);
    log->twins_stored = log->twins.len / 8;
    return status;
}

enum quipu_status quipu_merkle_log_save(struct quipu_merkle_log *log, struct quipu_txn *txn,
                                        struct quipu_error *err)
{
    uint8_t storage[KEY_BYTES_MAX];
    uint8_t row_storage[TAIL_BYTES + QUIPU_MERKLE_BLOCK_LEAVES * (size_t)QUIPU_SHA256_BYTES];
    struct quipu_buf row;
    uint8_t numbers[TAIL_BYTES];
    enum quipu_status status = QUIPU_OK;
    for (uint64_t i = log->blocks_stored; status == QUIPU_OK && i < block_count(log); i++) {
        status =
            quipu_txn_table_put(txn, TABLE_LOG_TREE, row_key(storage, KEY_BLOCK, log->source, &i),
                                quipu_slice(block_at(log, i), BLOCK_BYTES), err);
    }
    for (uint64_t i = log->twins_stored; status == QUIPU_OK && i < log->twins.len / 8; i++) {
        uint64_t position = quipu_load_be64(log->twins.data + i * 8);
        status = quipu_txn_table_put(txn, TABLE_LOG_TREE,
                                     row_key(storage, KEY_TWIN, log->source, &position),
                                     quipu_slice(NULL, 0), err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_store_be64(numbers, log->position);
    quipu_store_be64(numbers + 8, log->size);
    quipu_buf_init_fixed(&row, row_storage, sizeof row_storage);
    quipu_buf_append(&row, numbers, sizeof numbers);
    quipu_buf_append_slice(&row, quipu_buf_slice(&log->tail));
    return quipu_txn_table_put(txn, TABLE_LOG_TREE, row_key(storage, KEY_TAIL, log->source, NULL),
                               quipu_buf_slice(&row), err);
}

/* ------------------------------------------------------------------ reading on */

/* A full tail becomes a block that ends with the event at `position`. */
static void close_block(struct quipu_merkle_log *log, uint64_t position)
{
    struct quipu_merkle tree = {0};
    uint8_t block[BLOCK_BYTES];
    for (size_t at = 0; at < log->tail.len; at += QUIPU_SHA256_BYTES) {
        quipu_merkle_add_hash(&tree, 0, log->tail.data + at);
    }
    quipu_merkle_root(&tree, block);
    quipu_store_be64(block + QUIPU_SHA256_BYTES, position);
    quipu_buf_append(&log->blocks, block, sizeof block);
    quipu_buf_reset(&log->tail);
}

/* The envelope's bytes are what goes into the tree: hash them again. */
static enum quipu_status check_envelope(const struct quipu_event_view *event,
                                        struct quipu_error *err)
{
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event->envelope_block);
    return quipu_cid_equal(&cid, &event->cid)
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_CORRUPT,
                                 "position %" PRIu64 ": the envelope does not hash to its CID",
                                 event->position);
}

static enum quipu_status read_on(void *ctx, const struct quipu_event_view *event,
                                 struct quipu_error *err)
{
    struct quipu_merkle_log *log = ctx;
    uint8_t bytes[QUIPU_SHA256_BYTES];
    log->position = event->position;
    if (!quipu_slice_equal(event->envelope.source, quipu_slice_text(log->source))) {
        return QUIPU_OK;
    }
    enum quipu_status status = check_envelope(event, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (event->envelope.source_seq <= log->size) {
        quipu_store_be64(bytes, event->position);
        quipu_buf_append(&log->twins, bytes, 8);
        return log->twins.status == QUIPU_OK ? QUIPU_OK : no_memory(err);
    }
    if (event->envelope.source_seq != log->size + 1) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 " has number %" PRIu64
                               " of the store's source, where %" PRIu64 " should follow",
                               event->position, event->envelope.source_seq, log->size + 1);
    }
    quipu_merkle_leaf(event->envelope_block, bytes);
    quipu_buf_append(&log->tail, bytes, sizeof bytes);
    log->size++;
    if (log->tail.len == QUIPU_MERKLE_BLOCK_LEAVES * (size_t)QUIPU_SHA256_BYTES) {
        close_block(log, event->position);
    }
    return log->tail.status == QUIPU_OK && log->blocks.status == QUIPU_OK ? QUIPU_OK
                                                                          : no_memory(err);
}

enum quipu_status quipu_merkle_log_load(struct quipu_merkle_log *log, struct quipu_engine *engine,
                                        const char *source, uint64_t until, struct quipu_error *err)
{
    log->engine = engine;
    log->source = source;
    enum quipu_status status = load_kept(log, err);
    if (status == QUIPU_OK && log->position > until) {
        status = quipu_error_set(err, QUIPU_CORRUPT,
                                 "the tree over the log reaches position %" PRIu64
                                 ", the log ends at %" PRIu64,
                                 log->position, until);
    }
    if (status != QUIPU_OK || log->position == until) {
        return status;
    }
    /* Payloads are no part of the tree, and the envelopes are hashed above. */
    struct quipu_filter filter = {.after = log->position, .until = until, .skips_hashing = true};
    return quipu_each_event(engine, &filter, read_on, log, err);
}

bool quipu_merkle_log_is_twin(const struct quipu_merkle_log *log, uint64_t position)
{
    size_t low = 0;
    size_t high = log->twins.len / 8;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint64_t found = quipu_load_be64(log->twins.data + middle * 8);
        if (found == position) {
            return true;
        }
        if (found < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ leaves of a block */

static enum quipu_status read_leaf(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    struct quipu_merkle_log *log = ctx;
    uint8_t hash[QUIPU_SHA256_BYTES];
    if (!quipu_slice_equal(event->envelope.source, quipu_slice_text(log->source)) ||
        quipu_merkle_log_is_twin(log, event->position)) {
        return QUIPU_OK;
    }
    enum quipu_status status = check_envelope(event, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_merkle_leaf(event->envelope_block, hash);
    quipu_buf_append(&log->leaves, hash, sizeof hash);
    return log->leaves.status == QUIPU_OK ? QUIPU_OK : no_memory(err);
}

/* The hashes of the leaves of block `index`, the one behind the last full one too. */
static enum quipu_status block_leaves(struct quipu_merkle_log *log, uint64_t index,
                                      struct quipu_slice *leaves, struct quipu_error *err)
{
    struct quipu_merkle tree = {0};
    uint8_t root[QUIPU_SHA256_BYTES];
    if (index == block_count(log)) {
        *leaves = quipu_buf_slice(&log->tail);
        return QUIPU_OK;
    }
    if (log->leaves_of == index + 1) {
        *leaves = quipu_buf_slice(&log->leaves);
        return QUIPU_OK;
    }
    struct quipu_filter filter = {
        .after = block_end(log, index), .until = block_end(log, index + 1), .skips_hashing = true};
    quipu_buf_reset(&log->leaves);
    log->leaves_of = 0;
    enum quipu_status status = quipu_each_event(log->engine, &filter, read_leaf, log, err);
    if (status != QUIPU_OK) {
        return status;
    }
    for (size_t at = 0; at < log->leaves.len; at += QUIPU_SHA256_BYTES) {
        quipu_merkle_add_hash(&tree, 0, log->leaves.data + at);
    }
    quipu_merkle_root(&tree, root);
    if (tree.size != QUIPU_MERKLE_BLOCK_LEAVES ||
        memcmp(root, block_at(log, index), sizeof root) != 0) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "positions %" PRIu64 " to %" PRIu64
                               " are not what the tree over the log was made of",
                               filter.after + 1, filter.until);
    }
    log->leaves_of = index + 1;
    *leaves = quipu_buf_slice(&log->leaves);
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ hashes and proofs */

enum quipu_status quipu_merkle_log_root(struct quipu_merkle_log *log,
                                        struct quipu_proof_range range,
                                        uint8_t root[QUIPU_SHA256_BYTES], struct quipu_error *err)
{
    struct quipu_merkle tree = {0};
    uint64_t at = range.begin;
    while (at < range.end) {
        uint64_t index = at / QUIPU_MERKLE_BLOCK_LEAVES;
        uint64_t next = (index + 1) * QUIPU_MERKLE_BLOCK_LEAVES;
        struct quipu_slice leaves = {0};
        if (at % QUIPU_MERKLE_BLOCK_LEAVES == 0 && next <= range.end && index < block_count(log)) {
            quipu_merkle_add_hash(&tree, QUIPU_MERKLE_BLOCK_LEVEL, block_at(log, index));
            at = next;
            continue;
        }
        enum quipu_status status = block_leaves(log, index, &leaves, err);
        if (status != QUIPU_OK) {
            return status;
        }
        for (; at < range.end && at < next; at++) {
            size_t offset = (size_t)(at % QUIPU_MERKLE_BLOCK_LEAVES) * QUIPU_SHA256_BYTES;
            quipu_merkle_add_hash(&tree, 0, leaves.data + offset);
        }
    }
    quipu_merkle_root(&tree, root);
    return QUIPU_OK;
}

/* One block with some of its leaves named. */
static enum quipu_status prove_mixed(struct quipu_merkle_log *log, uint64_t index,
                                     const uint64_t *named, size_t count,
                                     struct quipu_proof_writer *writer, struct quipu_error *err)
{
    struct quipu_slice leaves = {0};
    size_t next = 0;
    enum quipu_status status = block_leaves(log, index, &leaves, err);
    for (size_t i = 0; status == QUIPU_OK && i < leaves.len / QUIPU_SHA256_BYTES; i++) {
        bool is_named = next < count && named[next] == index * QUIPU_MERKLE_BLOCK_LEAVES + i;
        next += is_named;
        quipu_proof_add(writer, 0, leaves.data + i * QUIPU_SHA256_BYTES, is_named);
    }
    return status;
}

enum quipu_status quipu_merkle_log_prove(struct quipu_merkle_log *log, const uint64_t *named,
                                         size_t count, struct quipu_buf *proof,
                                         struct quipu_error *err)
{
    struct quipu_proof_writer writer = {0};
    uint8_t root[QUIPU_SHA256_BYTES];
    enum quipu_status status = QUIPU_OK;
    size_t next = 0;
    for (uint64_t i = 0; status == QUIPU_OK && i <= block_count(log); i++) {
        size_t first = next;
        while (next < count && named[next] < (i + 1) * QUIPU_MERKLE_BLOCK_LEAVES) {
            next++;
        }
        size_t here = next - first;
        bool is_full = i < block_count(log);
        if (is_full && (here == 0 || here == QUIPU_MERKLE_BLOCK_LEAVES)) {
            quipu_proof_add(&writer, QUIPU_MERKLE_BLOCK_LEVEL, block_at(log, i), here > 0);
        } else {
            status = prove_mixed(log, i, named + first, here, &writer, err);
        }
    }
    quipu_proof_end(&writer, root);
    quipu_buf_append_slice(proof, quipu_buf_slice(&writer.hashes));
    if (status == QUIPU_OK && (writer.hashes.status != QUIPU_OK || proof->status != QUIPU_OK)) {
        status = no_memory(err);
    }
    quipu_buf_release(&writer.hashes);
    return status;
}
