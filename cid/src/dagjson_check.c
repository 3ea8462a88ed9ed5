/*
 * Can DAG-JSON carry a block? One pass that writes nothing: of each open map only its first key in
 * order is kept, and what stands there, for only that decides (docs/SPEC.md §4).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"

/* What a value is, for the map around it. */
enum form {
    FORM_OTHER = 0,
    FORM_TEXT,
    FORM_BYTES, /* a map whose first key is "bytes", with text under it */
};

/* An open list or map. */
struct level {
    size_t offset;
    bool has_first;
    bool is_at_first;         /* the value to come is that of `first` */
    struct quipu_slice first; /* the first key in bytewise order so far; of maps only */
    enum form form;           /* of the value there */
};

static void take_key(struct level *level, struct quipu_slice key)
{
    level->is_at_first = !level->has_first || quipu_slice_compare(key, level->first) < 0;
    if (level->is_at_first) {
        level->first = key;
        level->has_first = true;
    }
}

static void take_value(struct level *level, enum form form)
{
    if (level->is_at_first) {
        level->form = form;
    }
}

static bool begins_with(const struct level *level, const char *key)
{
    return level->has_first && quipu_slice_equal(level->first, quipu_slice_text(key));
}

/* Close the levels that the reader has closed. */
static enum quipu_status close_levels(struct level *levels, uint32_t from, uint32_t to,
                                      struct quipu_error *err)
{
    for (uint32_t depth = from; depth > to; depth--) {
        const struct level *level = &levels[depth];
        if (begins_with(level, "/") && level->form != FORM_OTHER) {
            return quipu_error_set_at(err, QUIPU_DAGJSON, level->offset,
                                      "a map whose first key is \"/\" cannot be told from a link "
                                      "or from bytes in DAG-JSON");
        }
        bool is_bytes = begins_with(level, "bytes") && level->form == FORM_TEXT;
        take_value(&levels[depth - 1], is_bytes ? FORM_BYTES : FORM_OTHER);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_dagjson_check(struct quipu_slice block, uint32_t depth_max,
                                      struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct level levels[QUIPU_DAGCBOR_DEPTH_DEFAULT + 1]; /* the first is around the block */
    if (depth_max > QUIPU_DAGCBOR_DEPTH_DEFAULT) {
        depth_max = QUIPU_DAGCBOR_DEPTH_DEFAULT;
    }
    levels[0] = (struct level){.form = FORM_OTHER};
    quipu_dagcbor_reader_init(&reader, block);
    quipu_dagcbor_reader_set_stack(&reader, NULL, depth_max);
    for (;;) {
        struct quipu_dagcbor_item item;
        uint32_t depth = reader.depth;
        enum quipu_status status = quipu_dagcbor_next(&reader, &item, err);
        if (status != QUIPU_OK) {
            return status == QUIPU_DONE ? QUIPU_OK : status;
        }
        if (item.is_key) {
            take_key(&levels[depth], item.bytes);
        } else if (reader.depth > depth) {
            levels[reader.depth] = (struct level){.offset = item.offset};
        } else {
            take_value(&levels[depth], item.kind == QUIPU_DAGCBOR_TEXT ? FORM_TEXT : FORM_OTHER);
            status = close_levels(levels, depth, reader.depth, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    }
}
