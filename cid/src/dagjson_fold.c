/*
 * The end of a list or map in DAG-JSON text: its items, which stand in `work` in the order of the
 * text, become one item of canonical DAG-CBOR. Maps are sorted, a key twice is refused, and the
 * reserved key "/" turns its map into a link or into bytes or is refused. Reads no text.
 *
 * The reserved namespace is judged on the keys in their canonical order and not in the order of the
 * text, so that whatever is accepted can be written as DAG-JSON again (docs/SPEC.md §4).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "dagjson_parts.h"
#include "quipu/cid.h"
#include "quipu/multibase.h"
#include "quipu/text.h"

#define KEY_SHOWN_BYTES 64
#define CID_V0_CHARS    46

void dagjson_append_head(struct quipu_buf *out, enum cbor_major major, uint64_t argument)
{
    uint8_t head[HEAD_BYTES_MAX];
    quipu_buf_append(out, head, head_put(head, major, argument));
}

void dagjson_value_end(struct dagjson_reader *reader, enum dagjson_form form, size_t text_len)
{
    if (reader->depth == 0) {
        return;
    }
    struct dagjson_frame *frame = &reader->frames[reader->depth - 1];
    frame->count++;
    if (frame->is_map && reader->entries.status == QUIPU_OK) {
        struct dagjson_entry *entry = dagjson_entry_at(reader, dagjson_entry_count(reader) - 1);
        entry->end = reader->work.len;
        entry->form = form;
        entry->text_len = text_len;
    }
}

/* DAG-CBOR's order: length first, then bytewise. */
static int compare_keys(const void *a, const void *b)
{
    const struct dagjson_entry *left = a;
    const struct dagjson_entry *right = b;
    return key_compare(left->key.data, left->key.len, right->key.data, right->key.len);
}

/* The entry whose key comes first bytewise, as DAG-JSON sorts; `count` is not 0. */
static const struct dagjson_entry *first_entry(const struct dagjson_entry *entries, size_t count)
{
    const struct dagjson_entry *first = entries;
    for (size_t i = 1; i < count; i++) {
        if (quipu_slice_compare(entries[i].key, first->key) < 0) {
            first = &entries[i];
        }
    }
    return first;
}

/* Put the entries in DAG-CBOR's order; tell whether the bytes in `work` have to move. */
static enum quipu_status sort_entries(struct dagjson_entry *entries, size_t count, bool *must_move,
                                      struct quipu_error *err)
{
    *must_move = false;
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(&entries[i - 1], &entries[i]) >= 0) {
            *must_move = true;
            break;
        }
    }
    if (!*must_move) {
        return QUIPU_OK;
    }
    qsort(entries, count, sizeof *entries, compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (quipu_slice_equal(entries[i - 1].key, entries[i].key)) {
            size_t later = entries[i].source > entries[i - 1].source ? entries[i].source
                                                                     : entries[i - 1].source;
            struct quipu_slice key = entries[i].key;
            bool can_show = key.len <= KEY_SHOWN_BYTES && quipu_text_is_printable(key);
            return quipu_error_set_at(err, QUIPU_JSON, later, "key \"%.*s\" is there twice",
                                      can_show ? (int)key.len : 1,
                                      can_show ? (const char *)key.data : "?");
        }
    }
    return QUIPU_OK;
}

/* Copy the pairs of the map at `begin` into their sorted order. */
static void move_entries(struct dagjson_reader *reader, size_t begin,
                         const struct dagjson_entry *entries, size_t count)
{
    struct quipu_buf *sorted = &reader->scratch;
    quipu_buf_reset(sorted);
    for (size_t i = 0; i < count; i++) {
        quipu_buf_append(sorted, reader->work.data + entries[i].begin,
                         entries[i].end - entries[i].begin);
    }
    if (sorted->status == QUIPU_OK) {
        memcpy(reader->work.data + begin, sorted->data, sorted->len);
    }
}

/* Can it be the text of a link: base32 in lower case, or a CIDv0? Tells without decoding, so that
 * no text is decoded in a base that is refused afterwards. */
static bool may_be_link(struct quipu_slice text)
{
    return (text.len > 0 && text.data[0] == 'b') ||
           (text.len == CID_V0_CHARS && memcmp(text.data, "Qm", 2) == 0);
}

/* Replace the whole map at `begin` by the link that its string is. */
static enum quipu_status fold_link(struct dagjson_reader *reader, size_t begin,
                                   const struct dagjson_entry *entry, struct quipu_error *err)
{
    static const uint8_t TAG[] = {LINK_TAG_HEAD, LINK_TAG};
    struct quipu_buf *work = &reader->work;
    size_t text_at = entry->end - entry->text_len;
    struct quipu_slice text = quipu_slice(work->data + text_at, entry->text_len);
    struct quipu_cid_view view;
    quipu_buf_reset(&reader->scratch);
    enum quipu_status status = QUIPU_CID;
    if (may_be_link(text)) {
        status = quipu_cid_view_parse(text, &reader->scratch, &view, NULL);
    }
    if (status == QUIPU_NO_MEMORY) {
        return quipu_error_set(err, status, "out of memory at a link");
    }
    if (status == QUIPU_OK) {
        /* Base58 for CIDv0 and base32 for CIDv1, nothing else: the text must be the one that we
         * would write. */
        size_t written = work->len;
        quipu_cid_view_format(&view, work);
        bool is_canonical =
            quipu_slice_equal(quipu_slice(work->data + written, work->len - written),
                              quipu_slice(work->data + text_at, entry->text_len));
        status = is_canonical || work->status != QUIPU_OK ? QUIPU_OK : QUIPU_CID;
    }
    if (status != QUIPU_OK) {
        return quipu_error_set_at(err, QUIPU_DAGJSON, entry->value_source,
                                  "the string under the lone key \"/\" is no CID in base32, nor a "
                                  "CIDv0 in base58");
    }
    work->len = begin;
    quipu_buf_append(work, TAG, sizeof TAG);
    dagjson_append_head(work, MAJOR_BYTES, view.bytes.len + 1);
    quipu_buf_append_byte(work, LINK_PREFIX);
    quipu_buf_append_slice(work, view.bytes);
    return QUIPU_OK;
}

/* Replace the whole map at `begin` by the bytes that its string stands for. */
static enum quipu_status fold_bytes(struct dagjson_reader *reader, size_t begin,
                                    const struct dagjson_entry *entry, struct quipu_error *err)
{
    struct quipu_buf *work = &reader->work;
    /* Multibase names its base by a first character: the last byte of the text's head, which goes
     * away with the map, makes room for it. */
    uint8_t *prefix = work->data + entry->end - entry->text_len - 1;
    *prefix = 'm';
    quipu_buf_reset(&reader->scratch);
    enum quipu_status status = quipu_multibase_decode(quipu_slice(prefix, entry->text_len + 1),
                                                      NULL, &reader->scratch, NULL);
    if (status == QUIPU_MULTIBASE) {
        return quipu_error_set_at(err, QUIPU_DAGJSON, entry->value_source,
                                  "the string under \"bytes\" is not base64 without padding");
    }
    if (status != QUIPU_OK) {
        return quipu_error_set(err, status, "bytes of %zu characters: %s", entry->text_len,
                               quipu_status_text(status));
    }
    work->len = begin;
    dagjson_append_head(work, MAJOR_BYTES, reader->scratch.len);
    quipu_buf_append_slice(work, quipu_buf_slice(&reader->scratch));
    return QUIPU_OK;
}

/* Write the head of the container into the byte that was kept for it, making room where one byte
 * is not enough. */
static void write_head(struct quipu_buf *work, size_t begin, enum cbor_major major,
                       uint64_t argument)
{
    uint8_t head[HEAD_BYTES_MAX];
    size_t len = head_put(head, major, argument);
    if (quipu_buf_reserve(work, len - 1) == NULL) {
        return;
    }
    if (len > 1) {
        memmove(work->data + begin + len, work->data + begin + 1, work->len - begin - 1);
    }
    memcpy(work->data + begin, head, len);
    work->len += len - 1;
}

/* A map or list that stays one: hold it against the depth limit. Two levels more are open to text,
 * but only for the objects that stand for bytes, so the verdict on them waits for their parent. */
static enum quipu_status check_depth(struct dagjson_reader *reader,
                                     const struct dagjson_frame *frame, struct quipu_error *err)
{
    bool is_deep = reader->depth > QUIPU_DAGCBOR_DEPTH_DEFAULT;
    if (frame->deep_source != SIZE_MAX) {
        return quipu_error_set_at(err, QUIPU_CBOR_DEPTH,
                                  is_deep ? frame->source : frame->deep_source,
                                  "nested deeper than %d levels", QUIPU_DAGCBOR_DEPTH_DEFAULT);
    }
    if (is_deep) {
        reader->frames[reader->depth - 2].deep_source = frame->source;
    }
    return QUIPU_OK;
}

/* What a closed map means for its parent, and what it is itself. */
struct verdict {
    enum dagjson_form form;
    size_t text_len;
    const struct dagjson_entry *reserved; /* the only entry of a link or of bytes, else NULL */
};

static enum quipu_status judge_map(const struct dagjson_entry *entries, size_t count,
                                   struct verdict *out, struct quipu_error *err)
{
    *out = (struct verdict){.form = DAGJSON_PLAIN};
    const struct dagjson_entry *first = first_entry(entries, count);
    if (quipu_slice_equal(first->key, quipu_slice_text("bytes")) && first->form == DAGJSON_STRING) {
        out->form = count == 1 ? DAGJSON_BYTES_ALONE : DAGJSON_BYTES_AND_MORE;
        out->text_len = first->text_len;
        return QUIPU_OK;
    }
    if (!quipu_slice_equal(first->key, quipu_slice_text("/")) || first->form == DAGJSON_PLAIN) {
        return QUIPU_OK;
    }
    if (count == 1 && first->form != DAGJSON_BYTES_AND_MORE) {
        out->reserved = first;
        return QUIPU_OK;
    }
    return quipu_error_set_at(err, QUIPU_DAGJSON, first->source,
                              "the key \"/\" is reserved for a link {\"/\": \"<CID>\"} or for "
                              "bytes {\"/\": {\"bytes\": \"<base64>\"}}, without other keys");
}

static enum quipu_status close_map(struct dagjson_reader *reader, const struct dagjson_frame *frame,
                                   struct verdict *verdict, struct quipu_error *err)
{
    if (frame->count == 0) {
        write_head(&reader->work, frame->begin, MAJOR_MAP, 0);
        return check_depth(reader, frame, err);
    }
    struct dagjson_entry *entries = dagjson_entry_at(reader, frame->entries);
    for (size_t i = 0; i < frame->count; i++) {
        /* The key's text ends where the value begins. */
        entries[i].key = quipu_slice(reader->work.data + entries[i].value - entries[i].key_len,
                                     entries[i].key_len);
    }
    bool must_move;
    enum quipu_status status = sort_entries(entries, frame->count, &must_move, err);
    if (status == QUIPU_OK) {
        status = judge_map(entries, frame->count, verdict, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (verdict->reserved != NULL) {
        return verdict->reserved->form == DAGJSON_STRING
                   ? fold_link(reader, frame->begin, verdict->reserved, err)
                   : fold_bytes(reader, frame->begin, verdict->reserved, err);
    }
    if (must_move) {
        move_entries(reader, frame->begin + 1, entries, frame->count);
    }
    write_head(&reader->work, frame->begin, MAJOR_MAP, frame->count);
    return check_depth(reader, frame, err);
}

enum quipu_status dagjson_close(struct dagjson_reader *reader, struct quipu_error *err)
{
    const struct dagjson_frame *frame = &reader->frames[reader->depth - 1];
    struct verdict verdict = {.form = DAGJSON_PLAIN};
    enum quipu_status status;
    if (frame->is_map) {
        status = close_map(reader, frame, &verdict, err);
        reader->entries.len = frame->entries * sizeof(struct dagjson_entry);
    } else {
        write_head(&reader->work, frame->begin, MAJOR_LIST, frame->count);
        status = check_depth(reader, frame, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    reader->depth--;
    dagjson_value_end(reader, verdict.form, verdict.text_len);
    return QUIPU_OK;
}
