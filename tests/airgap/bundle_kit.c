/*
 * Bundles taken apart and put together again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bundle_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "merkle.h"
#include "run.h"

static struct section *section_add(struct bundle_kit *kit)
{
    if (kit->count == kit->cap) {
        kit->cap = kit->cap == 0 ? 64 : kit->cap * 2;
        kit->sections = realloc(kit->sections, kit->cap * sizeof *kit->sections);
        cr_assert_not_null(kit->sections);
    }
    struct section *section = &kit->sections[kit->count++];
    memset(section, 0, sizeof *section);
    return section;
}

static void section_set(struct section *section, struct quipu_slice cid, struct quipu_slice block)
{
    cr_assert_leq(cid.len, sizeof section->cid);
    memcpy(section->cid, cid.data, cid.len);
    section->cid_len = cid.len;
    section->block = malloc(block.len + 1);
    cr_assert_not_null(section->block);
    if (block.len > 0) {
        memcpy(section->block, block.data, block.len);
    }
    section->block_len = block.len;
}

void bundle_kit_load(struct bundle_kit *kit, const char *path)
{
    struct quipu_car_reader *reader = NULL;
    struct quipu_car_block block;
    enum quipu_status status = QUIPU_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    *kit = (struct bundle_kit){.root_count = 1};
    cr_assert_eq(quipu_car_reader_open(quipu_source_fd(&fd), NULL, &reader, NULL), QUIPU_OK);
    cr_assert_eq(quipu_cid_from_view(quipu_car_root(reader, 0), &kit->roots[0], NULL), QUIPU_OK);
    while ((status = quipu_car_next(reader, &block, NULL)) == QUIPU_OK) {
        struct section *section = section_add(kit);
        section_set(section, block.cid.bytes, block.block);
        section->offset = (size_t)block.offset;
    }
    cr_assert_eq(status, QUIPU_DONE);
    quipu_car_reader_close(&reader);
    cr_assert_eq(close(fd), 0);
}

static void write_varint(struct quipu_buf *out, size_t value)
{
    while (value >= 0x80) {
        quipu_buf_append_byte(out, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    quipu_buf_append_byte(out, (uint8_t)value);
}

void bundle_kit_save(const struct bundle_kit *kit, const char *path)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_car_write_header(quipu_sink_buf(&out), kit->roots, kit->root_count, NULL),
                 QUIPU_OK);
    for (size_t i = 0; i < kit->count; i++) {
        const struct section *section = &kit->sections[i];
        write_varint(&out, section->cid_len + section->block_len);
        quipu_buf_append(&out, section->cid, section->cid_len);
        quipu_buf_append(&out, section->block, section->block_len);
    }
    cr_assert_eq(out.status, QUIPU_OK);
    write_file(path, quipu_buf_slice(&out));
    quipu_buf_release(&out);
}

void bundle_kit_release(struct bundle_kit *kit)
{
    for (size_t i = 0; i < kit->count; i++) {
        free(kit->sections[i].block);
    }
    free(kit->sections);
    *kit = (struct bundle_kit){0};
}

static void set_block(struct section *section, uint8_t codec, struct quipu_slice block)
{
    uint8_t bytes[QUIPU_CID_BYTES];
    struct quipu_cid cid = quipu_cid_of(codec, block);
    quipu_cid_to_bytes(&cid, bytes);
    section_set(section, quipu_slice(bytes, sizeof bytes), block);
}

void bundle_kit_insert(struct bundle_kit *kit, size_t at, uint8_t codec, struct quipu_slice block)
{
    struct section made = {0};
    set_block(&made, codec, block);
    (void)section_add(kit);
    memmove(kit->sections + at + 1, kit->sections + at,
            (kit->count - 1 - at) * sizeof *kit->sections);
    kit->sections[at] = made;
}

void bundle_kit_remove(struct bundle_kit *kit, size_t at)
{
    free(kit->sections[at].block);
    kit->count--;
    memmove(kit->sections + at, kit->sections + at + 1, (kit->count - at) * sizeof *kit->sections);
}

void bundle_kit_swap(struct bundle_kit *kit, size_t a, size_t b)
{
    struct section kept = kit->sections[a];
    kit->sections[a] = kit->sections[b];
    kit->sections[b] = kept;
}

void bundle_kit_replace(struct bundle_kit *kit, size_t at, uint8_t codec, struct quipu_slice block)
{
    uint8_t *old = kit->sections[at].block;
    set_block(&kit->sections[at], codec, block);
    free(old);
}

struct quipu_slice bundle_kit_block(const struct bundle_kit *kit, size_t at)
{
    return quipu_slice(kit->sections[at].block, kit->sections[at].block_len);
}

struct quipu_cid bundle_kit_cid(const struct bundle_kit *kit, size_t at)
{
    struct quipu_cid cid;
    struct quipu_cid_view view;
    struct quipu_slice bytes = quipu_slice(kit->sections[at].cid, kit->sections[at].cid_len);
    cr_assert_eq(quipu_cid_view_take(&bytes, &view, NULL), QUIPU_OK);
    cr_assert_eq(quipu_cid_from_view(&view, &cid, NULL), QUIPU_OK);
    return cid;
}

size_t bundle_kit_find(const struct bundle_kit *kit, size_t at, bool is_envelope)
{
    struct quipu_envelope envelope;
    while (at < kit->count) {
        bool is = quipu_envelope_decode(bundle_kit_block(kit, at), &envelope, NULL) == QUIPU_OK;
        if (is == is_envelope) {
            return at;
        }
        at++;
    }
    cr_assert_fail("no such section");
    return 0;
}

void bundle_kit_manifest(const struct bundle_kit *kit, struct quipu_bundle_manifest *manifest)
{
    cr_assert_eq(quipu_bundle_manifest_decode(bundle_kit_block(kit, 1), manifest, NULL), QUIPU_OK);
}

void bundle_kit_root(const struct bundle_kit *kit, struct quipu_bundle_root *root)
{
    cr_assert_eq(quipu_bundle_root_decode(bundle_kit_block(kit, 0), root, NULL), QUIPU_OK);
}

void bundle_kit_set_root(struct bundle_kit *kit, const struct quipu_bundle_root *root)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_bundle_root_encode(root, &block, NULL), QUIPU_OK);
    bundle_kit_replace(kit, 0, QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&block));
    kit->roots[0] = bundle_kit_cid(kit, 0);
    quipu_buf_release(&block);
}

void bundle_kit_seal_block(struct bundle_kit *kit, struct quipu_slice block,
                           struct quipu_engine *engine)
{
    struct quipu_bundle_root root = {.signature_count = 1};
    struct quipu_buf signature = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_sshsig_sign(engine, QUIPU_BUNDLE_NAMESPACE, block, &signature, NULL),
                 QUIPU_OK);
    root.manifest = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, block);
    root.signatures[0] = quipu_buf_slice(&signature);
    bundle_kit_replace(kit, 1, QUIPU_CODEC_DAG_CBOR, block);
    bundle_kit_set_root(kit, &root);
    quipu_buf_release(&signature);
}

void bundle_kit_seal(struct bundle_kit *kit, const struct quipu_bundle_manifest *manifest,
                     struct quipu_engine *engine)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_error err;
    cr_assert_eq(quipu_bundle_manifest_encode(manifest, &block, &err), QUIPU_OK, "%s", err.message);
    bundle_kit_seal_block(kit, quipu_buf_slice(&block), engine);
    quipu_buf_release(&block);
}

void bundle_kit_grow_tree(const struct bundle_kit *kit, struct quipu_bundle_manifest *manifest)
{
    struct quipu_merkle tree = {0};
    size_t at = 2;
    for (uint64_t i = 0; i < manifest->tree_size; i++) {
        /* By its place in the list, for it may not decode. */
        const uint8_t *wanted = manifest->links.data + i * QUIPU_SHA256_BYTES;
        while (memcmp(bundle_kit_cid(kit, at).digest, wanted, QUIPU_SHA256_BYTES) != 0) {
            at++;
            cr_assert_lt(at, kit->count);
        }
        quipu_merkle_add(&tree, bundle_kit_block(kit, at));
        at++;
    }
    quipu_merkle_root(&tree, manifest->tree_root);
}
