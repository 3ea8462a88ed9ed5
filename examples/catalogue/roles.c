/*
 * The projection "roles" over the events of a TUF root: for each root version, the thresholds that
 * its keyholders agreed on.
 *
 * A root file goes through drafts: it is put in place unsigned, changed, signed by one keyholder
 * after the other, and copied into the folders of ceremonies, some of which came to nothing. So an
 * event counts only where
 *   - it is about the aggregate role/root and carries thresholds,
 *   - its path is the published copy: <version>.root.json, not below ceremony/,
 *   - at least as many keys have signed as the draft itself asks of the role root.
 * The last one that counts stands. A later change that takes the signatures away does not replace
 * it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "catalogue.h"
#include "quipu/dagcbor.h"

/* What a payload says about a root; slices borrow from it. */
struct root_state {
    struct quipu_slice path;
    struct quipu_slice thresholds; /* DAG-CBOR map */
    uint64_t version;
    uint64_t signed_by;
    uint64_t root_threshold;
};

static bool has_prefix(struct quipu_slice text, const char *prefix)
{
    struct quipu_slice want = quipu_slice_text(prefix);
    return text.len >= want.len && memcmp(text.data, want.data, want.len) == 0;
}

static bool has_suffix(struct quipu_slice text, const char *suffix)
{
    struct quipu_slice want = quipu_slice_text(suffix);
    return text.len >= want.len &&
           memcmp(text.data + text.len - want.len, want.data, want.len) == 0;
}

/* The integer, or a list's length, or a list's first integer; QUIPU_NOT_FOUND where it is neither.
 */
static enum quipu_status read_number(struct quipu_slice item, uint64_t *out)
{
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, item);
    return quipu_dagcbor_read_uint(&reader, out, NULL) == QUIPU_OK ? QUIPU_OK : QUIPU_NOT_FOUND;
}

static enum quipu_status read_length(struct quipu_slice item, uint64_t *out)
{
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, item);
    return quipu_dagcbor_read_list(&reader, out, NULL) == QUIPU_OK ? QUIPU_OK : QUIPU_NOT_FOUND;
}

static enum quipu_status read_first(struct quipu_slice item, uint64_t *out)
{
    struct quipu_dagcbor_reader reader;
    uint64_t items;
    quipu_dagcbor_reader_init(&reader, item);
    if (quipu_dagcbor_read_list(&reader, &items, NULL) != QUIPU_OK || items == 0) {
        return QUIPU_NOT_FOUND;
    }
    return quipu_dagcbor_read_uint(&reader, out, NULL) == QUIPU_OK ? QUIPU_OK : QUIPU_NOT_FOUND;
}

/* QUIPU_NOT_FOUND where the payload is not about a root: other events of the role have other
 * payloads. */
static enum quipu_status read_root_state(struct quipu_slice payload, struct root_state *out)
{
    struct quipu_slice data;
    struct quipu_slice item;
    struct quipu_dagcbor_reader reader;
    if (quipu_dagcbor_map_get(payload, "path", &item, NULL) != QUIPU_OK) {
        return QUIPU_NOT_FOUND;
    }
    quipu_dagcbor_reader_init(&reader, item);
    if (quipu_dagcbor_read_text(&reader, &out->path, NULL) != QUIPU_OK ||
        quipu_dagcbor_map_get(payload, "data", &data, NULL) != QUIPU_OK ||
        quipu_dagcbor_map_get(data, "thresholds", &out->thresholds, NULL) != QUIPU_OK ||
        quipu_dagcbor_map_get(data, "version", &item, NULL) != QUIPU_OK ||
        read_number(item, &out->version) != QUIPU_OK ||
        quipu_dagcbor_map_get(data, "signed_by", &item, NULL) != QUIPU_OK ||
        read_length(item, &out->signed_by) != QUIPU_OK ||
        quipu_dagcbor_map_get(out->thresholds, "root", &item, NULL) != QUIPU_OK) {
        return QUIPU_NOT_FOUND;
    }
    return read_first(item, &out->root_threshold);
}

static bool is_published(const struct root_state *root)
{
    char name[48];
    (void)snprintf(name, sizeof name, "/%" PRIu64 ".root.json", root->version);
    return has_suffix(root->path, name) && !has_prefix(root->path, "ceremony/") &&
           root->signed_by >= root->root_threshold;
}

static enum quipu_status apply(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    struct root_state root;
    if (!quipu_slice_equal(event->envelope.aggregate_type, quipu_slice_text("role")) ||
        !quipu_slice_equal(event->envelope.aggregate_id, quipu_slice_text("root")) ||
        read_root_state(event->payload, &root) != QUIPU_OK || !is_published(&root)) {
        return QUIPU_OK;
    }

    struct quipu_buf value = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &value);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "signed_by");
    quipu_dagcbor_write_uint(&writer, root.signed_by);
    quipu_dagcbor_write_key(&writer, "thresholds");
    quipu_dagcbor_write_item(&writer, root.thresholds);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK) {
        /* Ten digits, so that rows are in the order of versions. */
        char key[32];
        (void)snprintf(key, sizeof key, "root/%010" PRIu64, root.version);
        status = quipu_rows_put(rows, quipu_slice_text(key), quipu_buf_slice(&value), err);
    }
    quipu_buf_release(&value);
    return status;
}

struct quipu_projection catalogue_roles(void)
{
    return (struct quipu_projection){.name = "roles", .version = 1, .apply = apply};
}
