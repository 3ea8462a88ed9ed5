/*
 * What the files of the DAG-CBOR writer share. Private to cid/. SPEC §1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_DAGCBOR_WRITER_H
#define QUIPU_DAGCBOR_WRITER_H

#include "dagcbor_head.h"
#include "quipu/dagcbor.h"

/* What may be written next. Each item turns KEY into ITEM and back in a map. */
enum due {
    DUE_NOTHING = 0, /* the one item is complete, or something failed */
    DUE_ITEM = 1,    /* an item of a list, or the value to a key */
    DUE_KEY = 2,
};

/* The level's last item is written: that completes an item of the level around it, and so on. */
void dagcbor_writer_close(struct quipu_dagcbor_writer *writer);

#define LINK_HEAD_BYTES 5
#define LINK_BYTES      (LINK_HEAD_BYTES + QUIPU_CID_BYTES)
/* Of the event profile? A zero-initialised CID, say, is not, and would be no CID to a reader. */
static ALWAYS_INLINE bool is_event_cid(const struct quipu_cid *cid)
{
    return cid->codec == QUIPU_CODEC_DAG_CBOR || cid->codec == QUIPU_CODEC_RAW;
}

/* Tag 42, a string of 37 bytes, 0, the CID. */
static ALWAYS_INLINE void put_link(uint8_t *into, const struct quipu_cid *cid)
{
    static const uint8_t head[LINK_HEAD_BYTES] = {LINK_TAG_HEAD, LINK_TAG, 0x58,
                                                  QUIPU_CID_BYTES + 1, LINK_PREFIX};
    memcpy(into, head, sizeof head);
    quipu_cid_to_bytes(cid, into + sizeof head);
}

#endif
