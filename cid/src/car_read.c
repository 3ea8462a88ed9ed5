/*
 * CARv1 from a source, one section at a time, in bounded memory: a window on the file that grows to
 * the largest section that is really there, never to what a length field promises. Each block is
 * hashed and compared with its CID.
 *
 * Specification: docs/SPEC.md §5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "car_parts.h"
#include "quipu/alloc.h"
#include "quipu/car.h"

#define WINDOW_BYTES_FIRST (64u << 10)

struct quipu_car_reader {
    struct quipu_source source;
    uint64_t section_bytes_max;
    uint8_t *window; /* bytes begin..end of it are read and not yet used */
    size_t cap;
    size_t begin;
    size_t end;
    bool is_source_done;
    uint64_t offset;           /* of `begin` in the file */
    enum quipu_status stopped; /* a failure that nothing can be read behind, or DONE */
    struct car_header header;
};

static size_t held(const struct quipu_car_reader *reader)
{
    return reader->end - reader->begin;
}

static void use(struct quipu_car_reader *reader, size_t len)
{
    reader->begin += len;
    reader->offset += len;
}

/* Room for at least one byte behind `end`, on the way to `len` bytes held. The window at most
 * doubles, only when it is full of bytes that came, and never beyond what is asked for. */
static enum quipu_status make_room(struct quipu_car_reader *reader, size_t len,
                                   struct quipu_error *err)
{
    if (reader->end < reader->cap) {
        return QUIPU_OK;
    }
    if (reader->begin > 0) {
        memmove(reader->window, reader->window + reader->begin, held(reader));
        reader->end -= reader->begin;
        reader->begin = 0;
        return QUIPU_OK;
    }
    size_t cap = reader->cap == 0 ? WINDOW_BYTES_FIRST : reader->cap * 2;
    cap = cap > WINDOW_BYTES_FIRST && cap > len ? len : cap;
    uint8_t *grown = quipu_realloc(reader->window, cap, 1);
    if (grown == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu bytes of a CAR", cap);
    }
    reader->window = grown;
    reader->cap = cap;
    return QUIPU_OK;
}

/* Read on until `len` bytes are held or the file ends. */
static enum quipu_status fill(struct quipu_car_reader *reader, size_t len, struct quipu_error *err)
{
    while (held(reader) < len && !reader->is_source_done) {
        enum quipu_status status = make_room(reader, len, err);
        size_t got = 0;
        if (status == QUIPU_OK) {
            status = reader->source.read(reader->source.ctx, reader->window + reader->end,
                                         reader->cap - reader->end, &got, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        reader->end += got;
        reader->is_source_done = got == 0;
    }
    return QUIPU_OK;
}

/* The length before a header or section. @retval QUIPU_DONE the file ends here, between sections */
static enum quipu_status take_length(struct quipu_car_reader *reader, uint64_t *out,
                                     struct quipu_error *err)
{
    size_t len = 0;
    for (;;) {
        enum quipu_status status = fill(reader, len + 1, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (held(reader) == 0) {
            return QUIPU_DONE;
        }
        if (held(reader) == len) {
            return quipu_error_set_at(err, QUIPU_CAR_TRUNCATED, reader->offset,
                                      "the CAR ends inside the length of a section");
        }
        uint8_t byte = reader->window[reader->begin + len++];
        if ((byte & 0x80) == 0 || len == QUIPU_VARINT_BYTES) {
            break;
        }
    }
    struct quipu_slice bytes = quipu_slice(reader->window + reader->begin, len);
    if (quipu_varint_take(&bytes, out, NULL) != QUIPU_OK) {
        return quipu_error_set_at(err, QUIPU_CAR, reader->offset,
                                  "the length of a section is not a varint in its shortest form");
    }
    use(reader, len - bytes.len);
    return QUIPU_OK;
}

/* Hold a whole header or section of `len` bytes; `start` is where its length stands. */
static enum quipu_status take_body(struct quipu_car_reader *reader, const char *what,
                                   uint64_t start, uint64_t len, uint64_t max,
                                   struct quipu_error *err)
{
    if (len == 0) {
        return quipu_error_set_at(err, QUIPU_CAR, start,
                                  "%s of 0 bytes; a CAR padded with zeros must be cut to its last "
                                  "section",
                                  what);
    }
    if (len > max || len > SIZE_MAX / 2) {
        return quipu_error_set_at(err, QUIPU_TOO_LARGE, start,
                                  "%s of %" PRIu64 " bytes is over the limit of %" PRIu64, what,
                                  len, max);
    }
    enum quipu_status status = fill(reader, (size_t)len, err);
    if (status == QUIPU_OK && held(reader) < len) {
        return quipu_error_set_at(err, QUIPU_CAR_TRUNCATED, start,
                                  "%s of %" PRIu64 " bytes has only %zu: the CAR is cut short",
                                  what, len, held(reader));
    }
    return status;
}

static enum quipu_status read_header(struct quipu_car_reader *reader, uint64_t max,
                                     struct quipu_error *err)
{
    uint64_t len;
    enum quipu_status status = take_length(reader, &len, err);
    if (status == QUIPU_DONE) {
        return quipu_error_set_at(err, QUIPU_CAR_TRUNCATED, 0, "the CAR is empty");
    }
    if (status == QUIPU_OK) {
        status = take_body(reader, "header", 0, len, max, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_buf *bytes = &reader->header.bytes;
    quipu_buf_append(bytes, reader->window + reader->begin, (size_t)len);
    if (bytes->status != QUIPU_OK) {
        return quipu_error_set(err, bytes->status,
                               "out of memory for a CAR header of %" PRIu64 " bytes", len);
    }
    uint64_t offset = reader->offset;
    use(reader, (size_t)len);
    return car_header_parse(&reader->header, offset, err);
}

enum quipu_status quipu_car_reader_open(struct quipu_source source,
                                        const struct quipu_car_options *options,
                                        struct quipu_car_reader **out, struct quipu_error *err)
{
    struct quipu_car_options set = QUIPU_CAR_OPTIONS_INIT;
    if (options != NULL) {
        if (options->size != sizeof set) {
            return quipu_error_set(err, QUIPU_MISUSE,
                                   "options of %zu bytes where %zu are known; start from "
                                   "QUIPU_CAR_OPTIONS_INIT",
                                   options->size, sizeof set);
        }
        set = *options;
    }
    struct quipu_car_reader *reader = quipu_alloc_zero(1, sizeof *reader);
    if (reader == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for a CAR reader");
    }
    reader->source = source;
    reader->section_bytes_max =
        set.section_bytes_max == 0 ? QUIPU_CAR_SECTION_BYTES_MAX : set.section_bytes_max;
    uint64_t header_bytes_max =
        set.header_bytes_max == 0 ? QUIPU_CAR_HEADER_BYTES_MAX : set.header_bytes_max;
    enum quipu_status status = read_header(reader, header_bytes_max, err);
    if (status != QUIPU_OK) {
        quipu_car_reader_close(&reader);
        return status;
    }
    *out = reader;
    return QUIPU_OK;
}

void quipu_car_reader_close(struct quipu_car_reader **reader)
{
    if (*reader == NULL) {
        return;
    }
    car_header_release(&(*reader)->header);
    quipu_free((*reader)->window);
    quipu_free(*reader);
    *reader = NULL;
}

size_t quipu_car_root_count(const struct quipu_car_reader *reader)
{
    return reader->header.root_count;
}

const struct quipu_cid_view *quipu_car_root(const struct quipu_car_reader *reader, size_t index)
{
    return index < reader->header.root_count ? &reader->header.roots[index] : NULL;
}

size_t quipu_car_roots_missing(const struct quipu_car_reader *reader)
{
    return reader->header.missing;
}

/* The section that begins here, without the verdict on its hash. */
static enum quipu_status take_section(struct quipu_car_reader *reader, struct quipu_car_block *out,
                                      struct quipu_error *err)
{
    uint64_t start = reader->offset;
    uint64_t len;
    enum quipu_status status = take_length(reader, &len, err);
    if (status == QUIPU_OK) {
        status = take_body(reader, "section", start, len, reader->section_bytes_max, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_slice rest = quipu_slice(reader->window + reader->begin, (size_t)len);
    struct quipu_error cause;
    if (quipu_cid_view_take(&rest, &out->cid, &cause) != QUIPU_OK) {
        return quipu_error_set_at(err, QUIPU_CAR, start, "section does not begin with a CID: %s",
                                  cause.message);
    }
    out->block = rest;
    out->offset = start;
    use(reader, (size_t)len);
    return QUIPU_OK;
}

enum quipu_status quipu_car_next(struct quipu_car_reader *reader, struct quipu_car_block *out,
                                 struct quipu_error *err)
{
    if (reader->stopped == QUIPU_DONE) {
        return QUIPU_DONE;
    }
    if (reader->stopped != QUIPU_OK) {
        return quipu_error_set_at(err, reader->stopped, reader->offset,
                                  "the CAR could not be read any further");
    }
    struct quipu_car_block block = {0};
    enum quipu_status status = take_section(reader, &block, err);
    if (status != QUIPU_OK) {
        reader->stopped = status;
        return status;
    }
    status = quipu_cid_view_verify(&block.cid, block.block, err);
    if (status == QUIPU_CID_MISMATCH) {
        (void)quipu_error_wrap(err, status, "section at byte %" PRIu64, block.offset);
        if (err != NULL) {
            err->offset = block.offset;
        }
        return status;
    }
    if (status != QUIPU_OK && status != QUIPU_CID_UNVERIFIABLE) {
        reader->stopped = status;
        return status;
    }
    block.is_verified = status == QUIPU_OK;
    car_header_found(&reader->header, block.cid.bytes);
    *out = block;
    return QUIPU_OK;
}
