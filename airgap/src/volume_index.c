/*
 * The index of a bundle in volumes, both ways. What is read is written again and must be the same
 * bytes, so there is one text for each index. Never touches a file.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "volume_index.h"

#include <inttypes.h>
#include <string.h>

#include "quipu/alloc.h"
#include "quipu/text.h"

#define DIGEST_CHARS  (2 * (size_t)QUIPU_SHA256_BYTES)
#define SUFFIX_CHARS  4u /* .001 */
#define ENTRIES_FIRST 16u

bool quipu_volume_is_name(struct quipu_slice name)
{
    return name.len > 0 && name.len <= QUIPU_VOLUME_NAME_MAX && quipu_text_is_printable(name) &&
           memchr(name.data, '\\', name.len) == NULL && memchr(name.data, '/', name.len) == NULL;
}

/* ------------------------------------------------------------------ writing */

void quipu_volume_index_write_head(const struct quipu_volume_index *index, struct quipu_buf *out)
{
    char manifest[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&index->manifest, manifest);
    quipu_buf_printf(out, "# quipu volumes 1\n# source %s\n# bundle %" PRIu64 "\n", index->source,
                     index->number);
    quipu_buf_printf(out, "# manifest %s\n# bytes %" PRIu64 "\n# sha256 ", manifest, index->bytes);
    quipu_hex_append(out, quipu_slice(index->sha256, sizeof index->sha256));
    quipu_buf_append_byte(out, '\n');
}

void quipu_volume_index_write_entry(const struct quipu_volume_entry *entry, struct quipu_buf *out)
{
    quipu_hex_append(out, quipu_slice(entry->sha256, sizeof entry->sha256));
    quipu_buf_append_text(out, "  ");
    quipu_buf_append_slice(out, entry->name);
    quipu_buf_append_byte(out, '\n');
}

void quipu_volume_index_write(const struct quipu_volume_index *index, struct quipu_buf *out)
{
    quipu_volume_index_write_head(index, out);
    for (size_t i = 0; i < index->count; i++) {
        quipu_volume_index_write_entry(&index->entries[i], out);
    }
}

/* ------------------------------------------------------------------ reading */

static bool take_line(struct quipu_slice *rest, struct quipu_slice *line)
{
    const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->data, '\n', rest->len);
    if (end == NULL) {
        return false;
    }
    *line = quipu_slice(rest->data, (size_t)(end - rest->data));
    *rest = quipu_slice(end + 1, rest->len - line->len - 1);
    return true;
}

/* The line "# <what> <value>". */
static bool take_said(struct quipu_slice *rest, const char *what, struct quipu_slice *value)
{
    struct quipu_slice line = {0};
    struct quipu_slice head = quipu_slice_text(what);
    if (!take_line(rest, &line) || line.len <= head.len ||
        memcmp(line.data, head.data, head.len) != 0) {
        return false;
    }
    *value = quipu_slice(line.data + head.len, line.len - head.len);
    return true;
}

static bool take_number(struct quipu_slice *rest, const char *what, uint64_t *out)
{
    struct quipu_slice text = {0};
    uint64_t value = 0;
    if (!take_said(rest, what, &text)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static bool read_digest(struct quipu_slice text, uint8_t digest[QUIPU_SHA256_BYTES])
{
    struct quipu_buf out;
    quipu_buf_init_fixed(&out, digest, QUIPU_SHA256_BYTES);
    return text.len == DIGEST_CHARS && quipu_hex_decode(&out, text) == QUIPU_OK;
}

/* "<digest>  <name>.NNN" with the number that is next. */
static bool read_entry(struct quipu_slice line, size_t number, struct quipu_volume_entry *out)
{
    char wanted[8];
    struct quipu_buf suffix;
    quipu_buf_init_fixed(&suffix, wanted, sizeof wanted);
    quipu_buf_printf(&suffix, ".%03zu", number);
    if (line.len <= DIGEST_CHARS + 2 + suffix.len || suffix.len != SUFFIX_CHARS ||
        !read_digest(quipu_slice(line.data, DIGEST_CHARS), out->sha256) ||
        memcmp(line.data + DIGEST_CHARS, "  ", 2) != 0) {
        return false;
    }
    out->bytes = 0;
    out->name = quipu_slice(line.data + DIGEST_CHARS + 2, line.len - DIGEST_CHARS - 2);
    struct quipu_slice base = quipu_slice(out->name.data, out->name.len - suffix.len);
    return quipu_volume_is_name(base) && memcmp(base.data + base.len, wanted, suffix.len) == 0;
}

/* All volumes are of one name. */
static bool is_like_first(const struct quipu_volume_index *index)
{
    const struct quipu_slice *first = &index->entries[0].name;
    const struct quipu_slice *last = &index->entries[index->count - 1].name;
    return last->len == first->len &&
           memcmp(last->data, first->data, first->len - SUFFIX_CHARS) == 0;
}

static enum quipu_status refuse(struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_BUNDLE, "it is not an index of volumes");
}

static enum quipu_status read_entries(struct quipu_volume_index *index, struct quipu_slice rest,
                                      struct quipu_error *err)
{
    struct quipu_slice line = {0};
    size_t cap = 0;
    while (rest.len > 0) {
        if (index->count == QUIPU_BUNDLE_VOLUMES_MAX) {
            return refuse(err);
        }
        if (index->count == cap) {
            cap = cap == 0 ? ENTRIES_FIRST : cap * 2;
            void *grown = quipu_realloc(index->entries, cap, sizeof *index->entries);
            if (grown == NULL) {
                return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for an index of volumes");
            }
            index->entries = grown;
        }
        if (!take_line(&rest, &line) ||
            !read_entry(line, index->count + 1, &index->entries[index->count])) {
            return refuse(err);
        }
        index->count++;
        if (!is_like_first(index)) {
            return refuse(err);
        }
    }
    return index->count > 0 ? QUIPU_OK : refuse(err);
}

static bool read_head(struct quipu_volume_index *index, struct quipu_slice *rest)
{
    struct quipu_slice said = {0};
    if (!take_said(rest, "# source ", &said) || said.len != sizeof index->source - 1) {
        return false;
    }
    memcpy(index->source, said.data, said.len);
    return memchr(index->source, 0, said.len) == NULL &&
           take_number(rest, "# bundle ", &index->number) &&
           take_said(rest, "# manifest ", &said) &&
           quipu_cid_parse(said, &index->manifest, NULL) == QUIPU_OK &&
           take_number(rest, "# bytes ", &index->bytes) && take_said(rest, "# sha256 ", &said) &&
           read_digest(said, index->sha256);
}

/* Numbers with zeros in front, digests in capitals, CIDs in another base: there is one form. */
static enum quipu_status hold_against(const struct quipu_volume_index *index,
                                      struct quipu_slice text, struct quipu_error *err)
{
    struct quipu_buf again = QUIPU_BUF_INIT;
    quipu_volume_index_write(index, &again);
    enum quipu_status status = again.status;
    if (status != QUIPU_OK) {
        status = quipu_error_set(err, status, "no memory for an index of volumes");
    } else if (!quipu_slice_equal(quipu_buf_slice(&again), text)) {
        status = refuse(err);
    }
    quipu_buf_release(&again);
    return status;
}

enum quipu_status quipu_volume_index_parse(struct quipu_slice text, struct quipu_volume_index *out,
                                           struct quipu_error *err)
{
    struct quipu_volume_index index = {.count = 0};
    struct quipu_slice rest = text;
    struct quipu_slice said = {0};
    if (!take_said(&rest, "# quipu volumes ", &said)) {
        return refuse(err);
    }
    if (!quipu_slice_equal(said, quipu_slice_text("1"))) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER,
                               "it has a format that is not known here; use a newer quipu");
    }
    enum quipu_status status = read_head(&index, &rest) ? QUIPU_OK : refuse(err);
    if (status == QUIPU_OK) {
        status = read_entries(&index, rest, err);
    }
    if (status == QUIPU_OK) {
        status = hold_against(&index, text, err);
    }
    if (status != QUIPU_OK) {
        quipu_volume_index_release(&index);
        return status;
    }
    *out = index;
    return QUIPU_OK;
}

void quipu_volume_index_release(struct quipu_volume_index *index)
{
    quipu_free(index->entries);
    index->entries = NULL;
    index->count = 0;
}
