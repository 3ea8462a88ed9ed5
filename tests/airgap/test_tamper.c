/*
 * A table of tampered bundles, made by a program. Each is refused with its own status, names the
 * file, and leaves the store's events as they were. Most of them are made by a forger who holds the
 * store's key and puts every CID, the manifest and the signature right again, so that nothing but
 * the rule in question can catch it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "quipu/dagcbor.h"
#include "run.h"

#define EVENTS 12

static struct temp_dir dir;
static struct store_kit vault;
static struct store_kit office;
static char good[PATH_BYTES];
static char path[PATH_BYTES];

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "good.car", good);
    temp_dir_join(&dir, "tampered.car", path);
    store_kit_open(&vault, &dir, "vault");
    store_kit_open(&office, &dir, "office");
    store_kit_append(&vault, EVENTS, 24);
    store_kit_export(&vault, good, NULL);
}

static void tear_down(void)
{
    store_kit_close(&vault);
    store_kit_close(&office);
    temp_dir_release(&dir);
}

TestSuite(tamper, .init = set_up, .fini = tear_down, .timeout = 300);

/* ------------------------------------------------------------------ root and signatures */

static void no_signature(struct bundle_kit *kit)
{
    struct quipu_bundle_root root;
    bundle_kit_root(kit, &root);
    root.signature_count = 0;
    bundle_kit_set_root(kit, &root);
}

/* Put in one signature in place of the store's. */
static void set_signature(struct bundle_kit *kit, struct quipu_slice signature)
{
    struct quipu_bundle_root root;
    bundle_kit_root(kit, &root);
    root.signatures[0] = signature;
    bundle_kit_set_root(kit, &root);
}

static void short_signature(struct bundle_kit *kit)
{
    struct quipu_bundle_root root;
    bundle_kit_root(kit, &root);
    root.signatures[0].len--;
    bundle_kit_set_root(kit, &root);
}

static void signature_by_a_stranger(struct bundle_kit *kit)
{
    struct sign_kit stranger;
    struct quipu_buf signature = QUIPU_BUF_INIT;
    sign_kit_init(&stranger);
    sign_kit_sign(&stranger, QUIPU_BUNDLE_NAMESPACE, QUIPU_SSHSIG_SHA512, bundle_kit_block(kit, 1),
                  &signature);
    set_signature(kit, quipu_buf_slice(&signature));
    quipu_buf_release(&signature);
}

static void signature_in_another_namespace(struct bundle_kit *kit)
{
    struct quipu_buf signature = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_sshsig_sign(vault.engine, "git", bundle_kit_block(kit, 1), &signature, NULL),
                 QUIPU_OK);
    set_signature(kit, quipu_buf_slice(&signature));
    quipu_buf_release(&signature);
}

static void signature_of_something_else(struct bundle_kit *kit)
{
    struct quipu_buf signature = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_sshsig_sign(vault.engine, QUIPU_BUNDLE_NAMESPACE,
                                   quipu_slice_text("another manifest"), &signature, NULL),
                 QUIPU_OK);
    set_signature(kit, quipu_buf_slice(&signature));
    quipu_buf_release(&signature);
}

static void one_signature_twice(struct bundle_kit *kit)
{
    struct quipu_bundle_root root;
    bundle_kit_root(kit, &root);
    root.signatures[1] = root.signatures[0];
    root.signature_count = 2;
    bundle_kit_set_root(kit, &root);
}

static void bad_signature_beside_the_good(struct bundle_kit *kit)
{
    struct quipu_bundle_root root;
    bundle_kit_root(kit, &root);
    root.signatures[1] = quipu_slice_text("SSHSIG");
    root.signature_count = 2;
    bundle_kit_set_root(kit, &root);
}

static void set_root_block(struct bundle_kit *kit, const void *block, size_t len)
{
    bundle_kit_replace(kit, 0, QUIPU_CODEC_DAG_CBOR, quipu_slice(block, len));
    kit->roots[0] = bundle_kit_cid(kit, 0);
}

static void newer_root(struct bundle_kit *kit)
{
    set_root_block(kit, "\xa1\x61v\x02", 4);
}

static void root_without_a_manifest(struct bundle_kit *kit)
{
    set_root_block(kit, "\xa1\x61v\x01", 4);
}

static void root_that_is_no_cbor(struct bundle_kit *kit)
{
    set_root_block(kit, "\xff", 1);
}

static void raw_root(struct bundle_kit *kit)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&block, bundle_kit_block(kit, 0));
    bundle_kit_replace(kit, 0, QUIPU_CODEC_RAW, quipu_buf_slice(&block));
    kit->roots[0] = bundle_kit_cid(kit, 0);
    quipu_buf_release(&block);
}

static void two_roots(struct bundle_kit *kit)
{
    kit->roots[1] = bundle_kit_cid(kit, 1);
    kit->root_count = 2;
}

static void another_root_in_the_header(struct bundle_kit *kit)
{
    kit->roots[0] = bundle_kit_cid(kit, 1);
}

static void root_behind_the_manifest(struct bundle_kit *kit)
{
    bundle_kit_swap(kit, 0, 1);
}

static void root_missing(struct bundle_kit *kit)
{
    bundle_kit_remove(kit, 0);
}

static void nothing_but_a_header(struct bundle_kit *kit)
{
    while (kit->count > 0) {
        bundle_kit_remove(kit, kit->count - 1);
    }
}

/* ------------------------------------------------------------------ blocks */

static void manifest_missing(struct bundle_kit *kit)
{
    bundle_kit_remove(kit, 1);
}

static void insert_copy(struct bundle_kit *kit, size_t at, size_t of)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    uint8_t codec = bundle_kit_cid(kit, of).codec;
    quipu_buf_append_slice(&block, bundle_kit_block(kit, of));
    bundle_kit_insert(kit, at, codec, quipu_buf_slice(&block));
    quipu_buf_release(&block);
}

static void manifest_twice(struct bundle_kit *kit)
{
    insert_copy(kit, 2, 1);
}

static void events_swapped(struct bundle_kit *kit)
{
    size_t second = bundle_kit_find(kit, 3, true);
    bundle_kit_swap(kit, 2, second);
    bundle_kit_swap(kit, 3, second + 1);
}

static void payload_before_its_envelope(struct bundle_kit *kit)
{
    bundle_kit_swap(kit, 2, 3);
}

static void first_envelope_missing(struct bundle_kit *kit)
{
    bundle_kit_remove(kit, 2);
}

static void first_event_missing(struct bundle_kit *kit)
{
    bundle_kit_remove(kit, 3);
    bundle_kit_remove(kit, 2);
}

static void payload_missing(struct bundle_kit *kit)
{
    bundle_kit_remove(kit, bundle_kit_find(kit, 4, false));
}

static void last_block_missing(struct bundle_kit *kit)
{
    bundle_kit_remove(kit, kit->count - 1);
}

static void envelope_twice(struct bundle_kit *kit)
{
    insert_copy(kit, 3, 2);
}

static void event_again_at_the_end(struct bundle_kit *kit)
{
    insert_copy(kit, kit->count, 2);
}

static void payload_twice(struct bundle_kit *kit)
{
    insert_copy(kit, 4, 3);
}

static void stranger_in_the_middle(struct bundle_kit *kit)
{
    bundle_kit_insert(kit, 4, QUIPU_CODEC_RAW, quipu_slice_text("stranger"));
}

static void stranger_at_the_end(struct bundle_kit *kit)
{
    bundle_kit_insert(kit, kit->count, QUIPU_CODEC_RAW, quipu_slice_text("stranger"));
}

/* The block is there, but under a hash that is not ours (sha2-512), and that holds. */
static void sha512_cid(struct bundle_kit *kit)
{
    static const uint8_t head[] = {1, 0x71, 0x13, 0x40};
    struct section *section = &kit->sections[3];
    memcpy(section->cid, head, sizeof head);
    (void)crypto_hash_sha512(section->cid + sizeof head, section->block, section->block_len);
    section->cid_len = sizeof head + crypto_hash_sha512_BYTES;
}

static void envelope_under_a_raw_cid(struct bundle_kit *kit)
{
    kit->sections[2].cid[1] = QUIPU_CODEC_RAW;
}

static void wrong_digest(struct bundle_kit *kit)
{
    kit->sections[4].cid[20] ^= 1;
}

/* ------------------------------------------------------------------ what the manifest says */

#define RESEALED(name, change)                                                                     \
    static void name(struct bundle_kit *kit)                                                       \
    {                                                                                              \
        struct quipu_bundle_manifest m;                                                            \
        bundle_kit_manifest(kit, &m);                                                              \
        change;                                                                                    \
        struct quipu_buf block = QUIPU_BUF_INIT;                                                   \
        cr_assert_eq(quipu_bundle_manifest_encode(&m, &block, NULL), QUIPU_OK);                    \
        quipu_bundle_manifest_release(&m);                                                         \
        bundle_kit_seal_block(kit, quipu_buf_slice(&block), vault.engine);                         \
        quipu_buf_release(&block);                                                                 \
    }

static void swap_links(struct quipu_bundle_manifest *m)
{
    uint8_t kept[QUIPU_SHA256_BYTES];
    memcpy(kept, m->links.data, sizeof kept);
    memcpy(m->links.data, m->links.data + sizeof kept, sizeof kept);
    memcpy(m->links.data + sizeof kept, kept, sizeof kept);
}

/* Say one event more or fewer of the first type and the first source. */
static void set_size(struct quipu_bundle_manifest *m, int more)
{
    m->tree_size += (uint64_t)more;
    m->types.entries[0].count += (uint64_t)more;
    m->sources.entries[0].count += (uint64_t)more;
    m->links.len = (size_t)m->tree_size * QUIPU_SHA256_BYTES;
    m->last_position += 1;
}

static void add_link(struct quipu_bundle_manifest *m, uint8_t first_byte)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    memcpy(digest, m->links.data, sizeof digest);
    digest[31] = (uint8_t)(digest[31] ^ first_byte);
    quipu_buf_append(&m->links, digest, sizeof digest);
    set_size(m, 1);
}

RESEALED(type_counts_moved, (m.types.entries[0].count++, m.types.entries[1].count--))
RESEALED(type_renamed, m.types.entries[0].name = quipu_slice_text("key.usedX"))
RESEALED(first_seq_moved, m.sources.entries[0].first++)
RESEALED(last_seq_moved, m.sources.entries[0].last++)
RESEALED(source_renamed, m.sources.entries[0].name = quipu_slice_text("UZZZ"))
RESEALED(tree_root_changed, m.tree_root[7] ^= 0x10)
RESEALED(list_swapped, swap_links(&m))
RESEALED(list_names_one_twice, add_link(&m, 0))
RESEALED(list_names_a_near_twin, add_link(&m, 1))
RESEALED(list_one_short, set_size(&m, -1))
RESEALED(another_store_named,
         m.source = quipu_slice_text("UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))

static void newer_manifest(struct bundle_kit *kit)
{
    bundle_kit_seal_block(kit, quipu_slice("\xa1\x61v\x02", 4), vault.engine);
}

static void manifest_that_is_none(struct bundle_kit *kit)
{
    bundle_kit_seal_block(kit, quipu_slice_text("gmanifes"), vault.engine);
}

static void manifest_with_a_byte_more(struct bundle_kit *kit)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&block, bundle_kit_block(kit, 1));
    quipu_buf_append_byte(&block, 0xf6);
    bundle_kit_seal_block(kit, quipu_buf_slice(&block), vault.engine);
    quipu_buf_release(&block);
}

/* ------------------------------------------------------------------ events that are none */

/* Another first envelope, with list, tree, manifest and signature put right. */
static void set_envelope(struct bundle_kit *kit, struct quipu_slice block)
{
    struct quipu_bundle_manifest m;
    struct quipu_buf kept = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&kept, bundle_kit_block(kit, 1)); /* what the manifest borrows from */
    cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&kept), &m, NULL), QUIPU_OK);
    bundle_kit_replace(kit, 2, QUIPU_CODEC_DAG_CBOR, block);
    memcpy(m.links.data, bundle_kit_cid(kit, 2).digest, QUIPU_SHA256_BYTES);
    bundle_kit_grow_tree(kit, &m);
    bundle_kit_seal(kit, &m, vault.engine);
    quipu_bundle_manifest_release(&m);
    quipu_buf_release(&kept);
}

static void envelope_that_is_a_map_of_nothing(struct bundle_kit *kit)
{
    set_envelope(kit, quipu_slice("\xa0", 1));
}

static void envelope_cut_short(struct bundle_kit *kit)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&block, bundle_kit_block(kit, 2));
    block.len--;
    set_envelope(kit, quipu_buf_slice(&block));
    quipu_buf_release(&block);
}

static void envelope_with_a_byte_more(struct bundle_kit *kit)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&block, bundle_kit_block(kit, 2));
    quipu_buf_append_byte(&block, 0xf6);
    set_envelope(kit, quipu_buf_slice(&block));
    quipu_buf_release(&block);
}

static void newer_envelope(struct bundle_kit *kit)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&block, bundle_kit_block(kit, 2));
    cr_assert_eq(memcmp(block.data + 1, "\x61v\x01", 3), 0, "v stands first");
    block.data[3] = 2;
    set_envelope(kit, quipu_buf_slice(&block));
    quipu_buf_release(&block);
}

/* The first event with another payload, everything put right. */
static void set_payload(struct bundle_kit *kit, struct quipu_slice payload)
{
    struct quipu_envelope envelope;
    struct quipu_buf block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_envelope_decode(bundle_kit_block(kit, 2), &envelope, NULL), QUIPU_OK);
    envelope.payload = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, payload);
    cr_assert_eq(quipu_envelope_encode(&envelope, &block, NULL), QUIPU_OK);
    bundle_kit_replace(kit, 3, QUIPU_CODEC_DAG_CBOR, payload);
    set_envelope(kit, quipu_buf_slice(&block));
    quipu_buf_release(&block);
}

static void payload_that_is_no_cbor(struct bundle_kit *kit)
{
    set_payload(kit, quipu_slice("\x18\x01", 2)); /* 1, in two bytes */
}

static void payload_of_nothing(struct bundle_kit *kit)
{
    set_payload(kit, quipu_slice(NULL, 0));
}

static void payload_over_the_limit(struct bundle_kit *kit)
{
    struct quipu_buf payload = QUIPU_BUF_INIT;
    uint8_t head[5] = {0x5a};
    size_t len = QUIPU_PAYLOAD_BYTES_MAX + 1 - sizeof head;
    head[1] = (uint8_t)(len >> 24);
    head[2] = (uint8_t)(len >> 16);
    head[3] = (uint8_t)(len >> 8);
    head[4] = (uint8_t)len;
    quipu_buf_append(&payload, head, sizeof head);
    uint8_t *into = quipu_buf_reserve(&payload, len);
    cr_assert_not_null(into);
    memset(into, 0, len);
    payload.len += len;
    set_payload(kit, quipu_buf_slice(&payload));
    quipu_buf_release(&payload);
}

/* ------------------------------------------------------------------ the table */

static const struct row {
    const char *name;
    void (*tamper)(struct bundle_kit *kit);
    enum quipu_status expected;
    const char *says; /* part of the line */
} rows[] = {
    {"no signature", no_signature, QUIPU_BAD_SIGNATURE, "nobody has signed"},
    {"short signature", short_signature, QUIPU_BAD_SIGNATURE, "signature 1 of 1"},
    {"stranger's signature", signature_by_a_stranger, QUIPU_BAD_SIGNATURE, "did not sign"},
    {"another namespace", signature_in_another_namespace, QUIPU_BAD_SIGNATURE, "namespace"},
    {"signature of else", signature_of_something_else, QUIPU_BAD_SIGNATURE, "does not verify"},
    {"signature twice", one_signature_twice, QUIPU_BUNDLE, "signatures 1 and 2"},
    {"bad second", bad_signature_beside_the_good, QUIPU_BAD_SIGNATURE, "signature 2 of 2"},
    {"newer root", newer_root, QUIPU_FORMAT_NEWER, "newer quipu"},
    {"root without manifest", root_without_a_manifest, QUIPU_BUNDLE, "root"},
    {"root no CBOR", root_that_is_no_cbor, QUIPU_BUNDLE, "the root"},
    {"raw root", raw_root, QUIPU_BUNDLE, "not a bundle"},
    {"two roots", two_roots, QUIPU_BUNDLE, "one root"},
    {"other root", another_root_in_the_header, QUIPU_BUNDLE, "the root"},
    {"root second", root_behind_the_manifest, QUIPU_BUNDLE, "the root"},
    {"root missing", root_missing, QUIPU_BUNDLE, "the root"},
    {"header only", nothing_but_a_header, QUIPU_BUNDLE, "the root should follow"},
    {"manifest missing", manifest_missing, QUIPU_BUNDLE, "the manifest"},
    {"manifest twice", manifest_twice, QUIPU_BUNDLE, "event 1 of 12"},
    {"events swapped", events_swapped, QUIPU_BUNDLE, "missing or out of order"},
    {"payload first", payload_before_its_envelope, QUIPU_BUNDLE, "its envelope should"},
    {"envelope missing", first_envelope_missing, QUIPU_BUNDLE, "event 1 of 12"},
    {"event missing", first_event_missing, QUIPU_BUNDLE, "missing or out of order"},
    {"payload missing", payload_missing, QUIPU_BUNDLE, "its payload"},
    {"last block missing", last_block_missing, QUIPU_BUNDLE, "event 12 of 12"},
    {"envelope twice", envelope_twice, QUIPU_BUNDLE, "its payload"},
    {"event again", event_again_at_the_end, QUIPU_BUNDLE, "behind the last event"},
    {"payload twice", payload_twice, QUIPU_BUNDLE, "event 2 of 12"},
    {"stranger", stranger_in_the_middle, QUIPU_BUNDLE, "event 2 of 12"},
    {"stranger at end", stranger_at_the_end, QUIPU_BUNDLE, "behind the last event"},
    {"sha2-512 CID", sha512_cid, QUIPU_BUNDLE, "a CID that no bundle has"},
    {"raw envelope", envelope_under_a_raw_cid, QUIPU_BUNDLE, "its envelope should"},
    {"wrong digest", wrong_digest, QUIPU_CID_MISMATCH, "event 2 of 12"},
    {"counts moved", type_counts_moved, QUIPU_BUNDLE, "events of type"},
    {"type renamed", type_renamed, QUIPU_BUNDLE, "does not count its type"},
    {"first_seq", first_seq_moved, QUIPU_BUNDLE, "of source"},
    {"last_seq", last_seq_moved, QUIPU_BUNDLE, "of source"},
    {"source renamed", source_renamed, QUIPU_BUNDLE, "does not count its source"},
    {"tree root", tree_root_changed, QUIPU_BUNDLE, "tree"},
    {"list swapped", list_swapped, QUIPU_BUNDLE, "missing or out of order"},
    {"list names twice", list_names_one_twice, QUIPU_BUNDLE, "one and the same"},
    {"near twin", list_names_a_near_twin, QUIPU_BUNDLE, "event 13 of 13"},
    {"list short", list_one_short, QUIPU_BUNDLE, "behind the last event"},
    {"another store", another_store_named, QUIPU_BAD_SIGNATURE, "did not sign"},
    {"newer manifest", newer_manifest, QUIPU_FORMAT_NEWER, "newer quipu"},
    {"no manifest", manifest_that_is_none, QUIPU_BUNDLE, "the manifest"},
    {"manifest + byte", manifest_with_a_byte_more, QUIPU_BUNDLE, "the manifest"},
    {"empty envelope", envelope_that_is_a_map_of_nothing, QUIPU_ENVELOPE, "event 1 of 12"},
    {"envelope cut", envelope_cut_short, QUIPU_CBOR_TRUNCATED, "event 1 of 12"},
    {"envelope + byte", envelope_with_a_byte_more, QUIPU_CBOR_TRAILING, "event 1 of 12"},
    {"newer envelope", newer_envelope, QUIPU_FORMAT_NEWER, "event 1 of 12"},
    {"payload no CBOR", payload_that_is_no_cbor, QUIPU_CBOR_NOT_SHORTEST, "its payload"},
    {"empty payload", payload_of_nothing, QUIPU_CBOR_TRUNCATED, "its payload"},
    {"payload too large", payload_over_the_limit, QUIPU_TOO_LARGE, "its payload"},
};

/* Checked and imported, it is refused alike, and nothing is taken in. */
static void expect_refused(const char *name, enum quipu_status expected, const char *says)
{
    struct quipu_error err = {0};
    struct quipu_bundle_report report;
    uint8_t before[QUIPU_SHA256_BYTES];
    uint8_t after[QUIPU_SHA256_BYTES];
    uint64_t events = store_kit_digest(&office, before);

    enum quipu_status status = quipu_bundle_check(path, &report, &err);
    cr_assert_eq(status, expected, "%s: %s: %s", name, quipu_status_name(status), err.message);
    cr_assert_eq(err.status, expected, "%s", name);
    cr_assert_not_null(strstr(err.message, path), "%s: names the file: %s", name, err.message);
    cr_assert_not_null(strstr(err.message, says), "%s: '%s' is in: %s", name, says, err.message);
    cr_assert_eq(quipu_bundle_check(path, &report, NULL), expected, "%s", name);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), expected, "%s", name);
    cr_assert_eq(store_kit_digest(&office, after), events, "%s", name);
    cr_assert_arr_eq(before, after, sizeof before, "%s", name);
}

Test(tamper, every_row_is_refused_by_its_own_rule)
{
    struct bundle_kit kit;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bundle_kit_load(&kit, good);
        rows[i].tamper(&kit);
        bundle_kit_save(&kit, path);
        expect_refused(rows[i].name, rows[i].expected, rows[i].says);
        bundle_kit_release(&kit);
    }
}

Test(tamper, taken_apart_and_put_together_it_is_still_good)
{
    struct bundle_kit kit;
    struct quipu_bundle_manifest m;
    struct quipu_error err;
    bundle_kit_load(&kit, good);
    bundle_kit_manifest(&kit, &m);
    struct quipu_buf block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_bundle_manifest_encode(&m, &block, NULL), QUIPU_OK);
    bundle_kit_grow_tree(&kit, &m);
    bundle_kit_seal_block(&kit, quipu_buf_slice(&block), vault.engine);
    bundle_kit_save(&kit, path);

    cr_assert_eq(quipu_bundle_check(path, NULL, &err), QUIPU_OK, "%s", err.message);
    struct quipu_slice before = read_file(good);
    struct quipu_slice after = read_file(path);
    cr_assert(quipu_slice_equal(before, after), "Ed25519 is deterministic: the very same bytes");
    free_file(&before);
    free_file(&after);
    quipu_buf_release(&block);
    quipu_bundle_manifest_release(&m);
    bundle_kit_release(&kit);
}

/* ------------------------------------------------------------------ every byte */

Test(tamper, a_flipped_bit_in_any_byte_is_refused)
{
    struct quipu_slice file = read_file(good);
    struct quipu_buf changed = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&changed, file);
    write_file(path, file);

    for (size_t at = 0; at < file.len; at++) {
        uint8_t bit = (uint8_t)(1u << at % 8);
        changed.data[at] ^= bit;
        write_file(path, quipu_buf_slice(&changed));
        enum quipu_status status = quipu_bundle_check(path, NULL, NULL);
        cr_assert_geq(status, 10, "byte %zu of %zu", at, file.len);
        changed.data[at] ^= bit;
    }
    write_file(path, quipu_buf_slice(&changed));
    cr_assert_eq(quipu_bundle_check(path, NULL, NULL), QUIPU_OK);
    quipu_buf_release(&changed);
    free_file(&file);
}

Test(tamper, a_cut_at_any_section_or_beside_it_is_refused)
{
    struct quipu_slice file = read_file(good);
    struct bundle_kit kit;
    bundle_kit_load(&kit, good);
    for (size_t i = 0; i <= kit.count; i++) {
        size_t boundary = i < kit.count ? kit.sections[i].offset : file.len;
        for (int beside = -1; beside <= 1; beside++) {
            size_t len = boundary + (size_t)beside;
            if (len >= file.len) {
                continue;
            }
            write_file(path, quipu_slice(file.data, len));
            expect_refused("cut", beside == 0 ? QUIPU_BUNDLE : QUIPU_CAR_TRUNCATED, "");
        }
    }
    bundle_kit_release(&kit);
    free_file(&file);
}

Test(tamper, bytes_behind_the_end_are_refused)
{
    struct quipu_slice file = read_file(good);
    struct quipu_buf longer = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&longer, file);
    quipu_buf_append_byte(&longer, 0);
    write_file(path, quipu_buf_slice(&longer));
    expect_refused("a zero", QUIPU_CAR, "behind the last event");
    longer.data[longer.len - 1] = 0x7f;
    write_file(path, quipu_buf_slice(&longer));
    expect_refused("a length", QUIPU_CAR_TRUNCATED, "behind the last event");
    quipu_buf_release(&longer);
    free_file(&file);
}

Test(tamper, what_is_wrong_fits_on_the_line_behind_a_long_path)
{
    char deep[1024];
    struct quipu_error err;
    struct quipu_slice file = read_file(good);
    (void)snprintf(deep, sizeof deep, "%s", dir.path);
    for (int i = 0; i < 3; i++) {
        size_t used = strlen(deep);
        (void)snprintf(deep + used, sizeof deep - used, "/%0200d", i);
        cr_assert_eq(mkdir(deep, 0700), 0);
    }
    (void)snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "/tampered.car");
    write_file(deep, quipu_slice(file.data, file.len - 1));

    cr_assert_eq(quipu_bundle_check(deep, NULL, &err), QUIPU_CAR_TRUNCATED);
    cr_assert_not_null(strstr(err.message, "/tampered.car: event 12 of 12"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "cut short"), "%s", err.message);
    free_file(&file);
}

/* ------------------------------------------------------------------ several signers */

Test(tamper, a_second_signer_may_be_the_trusted_one)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_bundle_root root;
    struct sign_kit auditor;
    struct bundle_kit kit;
    struct quipu_buf signature = QUIPU_BUF_INIT;
    struct quipu_error err;
    char text[QUIPU_SOURCE_TEXT_BYTES];
    const char *trusted[1] = {text};
    sign_kit_init(&auditor);
    quipu_nkey_format('U', auditor.public_key, text);
    bundle_kit_load(&kit, good);
    bundle_kit_root(&kit, &root);
    sign_kit_sign(&auditor, QUIPU_BUNDLE_NAMESPACE, QUIPU_SSHSIG_SHA256, bundle_kit_block(&kit, 1),
                  &signature);
    root.signatures[root.signature_count++] = quipu_buf_slice(&signature);
    bundle_kit_set_root(&kit, &root);
    bundle_kit_save(&kit, path);
    options.trusted = trusted;
    options.trusted_count = 1;

    cr_assert_eq(quipu_import(office.engine, good, &options, &report, NULL), QUIPU_BAD_SIGNATURE);
    cr_assert_eq(quipu_import(office.engine, path, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_str_eq(report.bundle.signer, text);
    cr_assert_str_neq(report.bundle.source, text);
    cr_assert_eq(report.events.added, EVENTS);
    quipu_buf_release(&signature);
    bundle_kit_release(&kit);
}

/* ------------------------------------------------------------------ chunks */

static const struct {
    const char *name;
    int chunk;
    const char *says;
} chunk_rows[] = {
    {"chunks swapped", -1, "part 1 of 4"},
    {"chunk missing", -2, "part 2 of 4"},
    {"chunk twice", -3, "part 2 of 4"},
    {"chunk of another length", -4, "part 4 of 4"},
};

/* A last chunk with one link fewer, everything put right. */
static void shorten_last_chunk(struct bundle_kit *kit)
{
    struct quipu_bundle_manifest m;
    struct quipu_buf kept = QUIPU_BUF_INIT;
    struct quipu_buf digests = QUIPU_BUF_INIT;
    struct quipu_buf chunk = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&kept, bundle_kit_block(kit, 1));
    cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&kept), &m, NULL), QUIPU_OK);
    uint64_t links = m.tree_size - 3 * (uint64_t)QUIPU_BUNDLE_CHUNK_LINKS_MAX;
    cr_assert_eq(quipu_bundle_chunk_decode(bundle_kit_block(kit, 5), links, &digests, NULL),
                 QUIPU_OK);
    digests.len -= QUIPU_SHA256_BYTES;
    cr_assert_eq(quipu_bundle_chunk_encode(quipu_buf_slice(&digests), &chunk, NULL), QUIPU_OK);
    bundle_kit_replace(kit, 5, QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&chunk));
    memcpy(m.links.data + 3 * QUIPU_SHA256_BYTES, bundle_kit_cid(kit, 5).digest,
           QUIPU_SHA256_BYTES);
    bundle_kit_seal(kit, &m, vault.engine);
    quipu_bundle_manifest_release(&m);
    quipu_buf_release(&kept);
    quipu_buf_release(&digests);
    quipu_buf_release(&chunk);
}

Test(tamper, chunks_of_a_large_bundle_are_held_to_the_manifest)
{
    char large[PATH_BYTES];
    temp_dir_join(&dir, "large.car", large);
    store_kit_append(&vault, 25001, 0);
    store_kit_export(&vault, large, NULL);
    for (size_t i = 0; i < sizeof chunk_rows / sizeof chunk_rows[0]; i++) {
        struct bundle_kit kit;
        bundle_kit_load(&kit, large);
        switch (chunk_rows[i].chunk) {
        case -1:
            bundle_kit_swap(&kit, 2, 3);
            break;
        case -2:
            bundle_kit_remove(&kit, 3);
            break;
        case -3:
            insert_copy(&kit, 3, 2);
            break;
        default:
            shorten_last_chunk(&kit);
            break;
        }
        bundle_kit_save(&kit, path);
        expect_refused(chunk_rows[i].name, QUIPU_BUNDLE, chunk_rows[i].says);
        bundle_kit_release(&kit);
    }
}
