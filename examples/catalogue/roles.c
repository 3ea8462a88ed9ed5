/*
 * The projection "roles": who may sign, at which threshold, in every published version of a TUF
 * root, out of the history of a public repository in which such roots are prepared and signed.
 *
 * The rule. An event of aggregate role/root publishes version N where all of this holds:
 *
 *  1. It says that a root file came to be or got a signature: its type is root_metadata_published
 *     or signature_added.
 *  2. The file is the one that clients fetch for version N: its path ends in "/N.root.json" where N
 *     is the version that stands in the file, counted from 1. (A file called root.json is a moving
 *     copy of the newest one.)
 *  3. It is in a place of publication, not of preparation: the path does not begin with "ceremony/"
 *     and no folder in it is called "staged" or ends in ".staged".
 *  4. Enough have signed: it carries signatures of at least as many different keys as its own
 *     threshold for root asks for. A root that is not signed yet is a draft: version 13, for
 *     instance, was a draft with four root keys for two days before it was signed with five.
 *
 * The last such event of a version, in the order of the log, counts: signatures come in one by one,
 * and a version is sometimes put right while it is still the newest. Removals do not count: the
 * files move between folders, and what was published stays published.
 *
 * Where signatures were added on two sides and joined by a merge, the history has the two sides and
 * not the merge: thresholds are the same on both, but then `signatures` and `sha256` are those of
 * the side that was recorded last (version 15).
 *
 * An event that does not say all of this is no publication; it is passed over, never an error.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "catalogue.h"

#include <inttypes.h>
#include <stdio.h>

#include "quipu/dagcbor.h"

#define VERSION_MAX 9999 /* four digits in the row's key keep the rows in order */
#define SIGNERS_MAX 64

/* What an event says of a root file. Slices borrow from the payload. */
struct root_file {
    struct quipu_slice path;
    struct quipu_slice sha256;
    struct quipu_slice expires;
    struct quipu_slice thresholds; /* an item: {role: [threshold, keys]} */
    uint64_t version;
    uint64_t threshold;  /* of root */
    uint64_t signatures; /* of different keys */
};

static bool get_text(struct quipu_slice map, const char *key, struct quipu_slice *out)
{
    struct quipu_slice value;
    struct quipu_dagcbor_reader reader;
    if (quipu_dagcbor_map_get(map, key, &value, NULL) != QUIPU_OK) {
        return false;
    }
    quipu_dagcbor_reader_init(&reader, value);
    return quipu_dagcbor_read_text(&reader, out, NULL) == QUIPU_OK;
}

static bool get_number(struct quipu_slice map, const char *key, uint64_t *out)
{
    struct quipu_slice value;
    struct quipu_dagcbor_reader reader;
    if (quipu_dagcbor_map_get(map, key, &value, NULL) != QUIPU_OK) {
        return false;
    }
    quipu_dagcbor_reader_init(&reader, value);
    return quipu_dagcbor_read_uint(&reader, out, NULL) == QUIPU_OK;
}

/* The threshold of root: the first number of its pair. */
static bool get_threshold(struct quipu_slice thresholds, uint64_t *out)
{
    struct quipu_slice pair;
    struct quipu_dagcbor_reader reader;
    uint64_t items;
    if (quipu_dagcbor_map_get(thresholds, "root", &pair, NULL) != QUIPU_OK) {
        return false;
    }
    quipu_dagcbor_reader_init(&reader, pair);
    return quipu_dagcbor_read_list(&reader, &items, NULL) == QUIPU_OK && items == 2 &&
           quipu_dagcbor_read_uint(&reader, out, NULL) == QUIPU_OK;
}

/* How many different keys have signed: a key that signs twice counts once. */
static bool count_signers(struct quipu_slice data, uint64_t *out)
{
    struct quipu_slice list;
    struct quipu_slice signers[SIGNERS_MAX];
    struct quipu_dagcbor_reader reader;
    uint64_t items;
    if (quipu_dagcbor_map_get(data, "signed_by", &list, NULL) != QUIPU_OK) {
        return false;
    }
    quipu_dagcbor_reader_init(&reader, list);
    if (quipu_dagcbor_read_list(&reader, &items, NULL) != QUIPU_OK || items > SIGNERS_MAX) {
        return false;
    }
    size_t count = 0;
    for (uint64_t i = 0; i < items; i++) {
        if (quipu_dagcbor_read_text(&reader, &signers[count], NULL) != QUIPU_OK) {
            return false;
        }
        size_t same = 0;
        while (!quipu_slice_equal(signers[same], signers[count])) {
            same++;
        }
        count += same == count ? 1 : 0;
    }
    *out = count;
    return true;
}

static bool read_file(struct quipu_slice payload, struct root_file *out)
{
    struct quipu_slice data;
    return quipu_dagcbor_map_get(payload, "data", &data, NULL) == QUIPU_OK &&
           quipu_dagcbor_map_get(data, "thresholds", &out->thresholds, NULL) == QUIPU_OK &&
           get_text(payload, "path", &out->path) && get_text(payload, "sha256", &out->sha256) &&
           get_text(data, "expires", &out->expires) && get_number(data, "version", &out->version) &&
           get_threshold(out->thresholds, &out->threshold) && count_signers(data, &out->signatures);
}

static bool ends_with(struct quipu_slice text, struct quipu_slice end)
{
    return text.len >= end.len &&
           quipu_slice_equal(quipu_slice(text.data + (text.len - end.len), end.len), end);
}

/* Rule 2. */
static bool is_versioned_name(const struct root_file *file)
{
    char name[32];
    int len = snprintf(name, sizeof name, "/%" PRIu64 ".root.json", file->version);
    return file->version >= 1 && file->version <= VERSION_MAX &&
           ends_with(file->path, quipu_slice(name, (size_t)len));
}

/* Rule 3. */
static bool is_place_of_publication(struct quipu_slice path)
{
    struct quipu_slice ceremony = quipu_slice_text("ceremony/");
    if (path.len >= ceremony.len &&
        quipu_slice_equal(quipu_slice(path.data, ceremony.len), ceremony)) {
        return false;
    }
    size_t begin = 0;
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] != '/') {
            continue;
        }
        struct quipu_slice folder = quipu_slice(path.data + begin, i - begin);
        if (quipu_slice_equal(folder, quipu_slice_text("staged")) ||
            ends_with(folder, quipu_slice_text(".staged"))) {
            return false;
        }
        begin = i + 1;
    }
    return true;
}

static bool is_publication(const struct quipu_event_view *event, struct root_file *file)
{
    const struct quipu_envelope *envelope = &event->envelope;
    if (!quipu_slice_equal(envelope->aggregate_type, quipu_slice_text("role")) ||
        !quipu_slice_equal(envelope->aggregate_id, quipu_slice_text("root")) ||
        (!quipu_slice_equal(envelope->event_type, quipu_slice_text("root_metadata_published")) &&
         !quipu_slice_equal(envelope->event_type, quipu_slice_text("signature_added")))) {
        return false;
    }
    return read_file(event->payload, file) && is_versioned_name(file) &&
           is_place_of_publication(file->path) && file->signatures >= file->threshold;
}

static enum quipu_status apply(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    struct root_file file;
    if (!is_publication(event, &file)) {
        return QUIPU_OK;
    }
    struct quipu_buf row = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &row);
    quipu_dagcbor_write_map(&writer, 6);
    quipu_dagcbor_write_key(&writer, "path");
    quipu_dagcbor_write_text(&writer, file.path);
    quipu_dagcbor_write_key(&writer, "sha256");
    quipu_dagcbor_write_text(&writer, file.sha256);
    quipu_dagcbor_write_key(&writer, "expires");
    quipu_dagcbor_write_text(&writer, file.expires);
    quipu_dagcbor_write_key(&writer, "version");
    quipu_dagcbor_write_uint(&writer, file.version);
    quipu_dagcbor_write_key(&writer, "signatures");
    quipu_dagcbor_write_uint(&writer, file.signatures);
    quipu_dagcbor_write_key(&writer, "thresholds");
    quipu_dagcbor_write_item(&writer, file.thresholds);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK) {
        char key[32];
        int len = snprintf(key, sizeof key, "root/%04" PRIu64, file.version);
        status = quipu_rows_put(rows, quipu_slice(key, (size_t)len), quipu_buf_slice(&row), err);
    }
    quipu_buf_release(&row);
    return status;
}

const struct quipu_projection catalogue_roles = {
    .name = "roles",
    .version = 1,
    .apply = apply,
};
