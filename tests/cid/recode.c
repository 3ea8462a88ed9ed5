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

static void write_item(struct quipu_dagcbor_writer *writer, const struct quipu_dagcbor_item *item)
{
    switch (item->kind) {
    case QUIPU_DAGCBOR_UINT:
        quipu_dagcbor_write_uint(writer, item->number);
        return;
    case QUIPU_DAGCBOR_NEGATIVE:
        quipu_dagcbor_write_negative(writer, item->number);
        return;
    case QUIPU_DAGCBOR_BYTES:
        quipu_dagcbor_write_bytes(writer, item->bytes);
        return;
    case QUIPU_DAGCBOR_TEXT:
        quipu_dagcbor_write_text(writer, item->bytes);
        return;
    case QUIPU_DAGCBOR_LIST:
        quipu_dagcbor_write_list(writer, item->number);
        return;
    case QUIPU_DAGCBOR_MAP:
        quipu_dagcbor_write_map(writer, item->number);
        return;
    case QUIPU_DAGCBOR_LINK:
        write_link(writer, &item->link);
        return;
    case QUIPU_DAGCBOR_BOOL:
        quipu_dagcbor_write_bool(writer, item->number != 0);
        return;
    case QUIPU_DAGCBOR_NULL:
        quipu_dagcbor_write_null(writer);
        return;
    case QUIPU_DAGCBOR_FLOAT:
        quipu_dagcbor_write_float(writer, item->real);
        return;
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
        write_item(&writer, &item);
    }
}
