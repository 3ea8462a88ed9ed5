/*
 * Decode strictly, encode again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "recode.h"

static void write_link(struct quipu_dagcbor_writer *writer, const struct quipu_cid_view *link)
{
    struct quipu_cid cid;
    if (quipu_cid_from_view(link, &cid, NULL) == QUIPU_OK) {
        quipu_dagcbor_write_link(writer, &cid);
    } else {
        quipu_dagcbor_write_link_view(writer, link);
    }
}

enum quipu_status recode_dagcbor(struct quipu_slice block, struct quipu_buf *out,
                                 recode_on_link *on_link, void *ctx, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_writer writer;
    struct quipu_dagcbor_item item;
    quipu_dagcbor_reader_init(&reader, block);
    quipu_dagcbor_writer_init(&writer, out);
    for (;;) {
        enum quipu_status status = quipu_dagcbor_next(&reader, &item, err);
        if (status == QUIPU_DONE) {
            return quipu_dagcbor_writer_finish(&writer, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        if (item.kind == QUIPU_DAGCBOR_LINK && on_link != NULL) {
            on_link(ctx, &item);
        }
        if (item.kind == QUIPU_DAGCBOR_LINK) {
            write_link(&writer, &item.link);
        } else {
            quipu_dagcbor_write_read(&writer, &item);
        }
    }
}
