/*
 * The forger's table. Most rows put every CID, the manifest and the signature right again, so that
 * nothing but the rule in question can catch them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "forgeries.h"

#include <criterion/criterion.h>

#include "checkpoint.h"

static struct quipu_engine *signer; /* whose key signs what is forged */

void forgeries_init(struct quipu_engine *engine)
{
    signer = engine;
}

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
    cr_assert_eq(quipu_sshsig_sign(signer, "git", bundle_kit_block(kit, 1), &signature, NULL),
                 QUIPU_OK);
    set_signature(kit, quipu_buf_slice(&signature));
    quipu_buf_release(&signature);
}

static void signature_of_something_else(struct bundle_kit *kit)
{
    struct quipu_buf signature = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_sshsig_sign(signer, QUIPU_BUNDLE_NAMESPACE,
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

void insert_copy(struct bundle_kit *kit, size_t at, size_t of)
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
        bundle_kit_seal_block(kit, quipu_buf_slice(&block), signer);                               \
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
    bundle_kit_seal_block(kit, quipu_slice("\xa1\x61v\x02", 4), signer);
}

static void manifest_that_is_none(struct bundle_kit *kit)
{
    bundle_kit_seal_block(kit, quipu_slice_text("gmanifes"), signer);
}

static void manifest_with_a_byte_more(struct bundle_kit *kit)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&block, bundle_kit_block(kit, 1));
    quipu_buf_append_byte(&block, 0xf6);
    bundle_kit_seal_block(kit, quipu_buf_slice(&block), signer);
    quipu_buf_release(&block);
}

/* ------------------------------------------------------------------ the place in the log */

static uint8_t note[QUIPU_CHECKPOINT_BYTES_MAX]; /* what a manifest borrows */
static const uint64_t fourth = 3;

/* The checkpoint as it is, in memory that may be changed. */
static struct quipu_slice copy_note(const struct quipu_bundle_manifest *m)
{
    cr_assert_leq(m->log.checkpoint.len, sizeof note);
    memcpy(note, m->log.checkpoint.data, m->log.checkpoint.len);
    return quipu_slice(note, m->log.checkpoint.len);
}

/* A character of the signature's base64 becomes another one. */
static struct quipu_slice note_with_another_signature(const struct quipu_bundle_manifest *m)
{
    struct quipu_slice copy = copy_note(m);
    uint8_t *at = note + copy.len - 20;
    *at = *at == 'A' ? 'B' : 'A';
    return copy;
}

/* A checkpoint about another tree, signed by the forger. */
static struct quipu_slice forge_note(const struct quipu_bundle_manifest *m, int more, uint8_t flip)
{
    struct quipu_proof_tree tree;
    struct quipu_buf made = QUIPU_BUF_INIT;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    cr_assert_eq(quipu_checkpoint_verify(m->log.checkpoint, m->source, &tree, NULL), QUIPU_OK);
    cr_assert_eq(quipu_identity_source(signer, source, NULL), QUIPU_OK);
    tree.size += (uint64_t)more;
    tree.root[9] ^= flip;
    cr_assert_eq(quipu_checkpoint_sign(signer, source, &tree, &made, NULL), QUIPU_OK);
    memcpy(note, made.data, made.len);
    struct quipu_slice copy = quipu_slice(note, made.len);
    quipu_buf_release(&made);
    return copy;
}

/* As if it followed a bundle with this tree. */
static void follow_a_tree(struct quipu_bundle_manifest *m, uint64_t size, size_t proof_len)
{
    memset(note, 0x33, sizeof note);
    m->number = 2;
    m->has_previous = true;
    m->previous = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("before"));
    m->log.has_previous = true;
    m->log.previous.size = size;
    m->log.consistency = quipu_slice(note, proof_len);
}

static void name_proof(struct quipu_bundle_manifest *m, size_t len)
{
    memset(note, 0x44, sizeof note);
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, quipu_slice(note, len));
    quipu_buf_append(&m->log.proof, cid.digest, sizeof cid.digest);
}

RESEALED(checkpoint_cut, m.log.checkpoint.len--)
RESEALED(checkpoint_of_nothing, m.log.checkpoint.len = 0)
RESEALED(checkpoint_signature_changed, m.log.checkpoint = note_with_another_signature(&m))
RESEALED(checkpoint_counts_more, m.log.checkpoint = forge_note(&m, 1, 0))
RESEALED(checkpoint_counts_fewer, m.log.checkpoint = forge_note(&m, -1, 0))
RESEALED(checkpoint_root_changed, m.log.checkpoint = forge_note(&m, 0, 1))
RESEALED(event_hidden_from_the_tree, quipu_buf_append(&m.log.outside, &fourth, sizeof fourth))
RESEALED(tree_before_was_larger, follow_a_tree(&m, 13, 0))
RESEALED(tree_before_was_another, follow_a_tree(&m, 12, 0))
RESEALED(consistency_made_up, follow_a_tree(&m, 5, 5 * (size_t)QUIPU_SHA256_BYTES))
RESEALED(consistency_left_out, follow_a_tree(&m, 5, 0))
RESEALED(proof_named_but_missing, name_proof(&m, 64))

static void proof_too_long(struct bundle_kit *kit)
{
    proof_named_but_missing(kit);
    bundle_kit_insert(kit, 2, QUIPU_CODEC_RAW, quipu_slice(note, 64));
}

RESEALED(name_ragged_proof, name_proof(&m, 33))

static void proof_of_half_a_hash(struct bundle_kit *kit)
{
    name_ragged_proof(kit);
    bundle_kit_insert(kit, 2, QUIPU_CODEC_RAW, quipu_slice(note, 33));
}

/* ------------------------------------------------------------------ events that are none */

/* Another envelope in section `at`, that of event `index`, with list, tree, manifest and signature
 * put right. */
static void set_envelope_of(struct bundle_kit *kit, size_t at, size_t index,
                            struct quipu_slice block)
{
    struct quipu_bundle_manifest m;
    struct quipu_buf kept = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&kept, bundle_kit_block(kit, 1)); /* what the manifest borrows from */
    cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&kept), &m, NULL), QUIPU_OK);
    bundle_kit_replace(kit, at, QUIPU_CODEC_DAG_CBOR, block);
    memcpy(m.links.data + index * QUIPU_SHA256_BYTES, bundle_kit_cid(kit, at).digest,
           QUIPU_SHA256_BYTES);
    bundle_kit_grow_tree(kit, &m);
    bundle_kit_seal(kit, &m, signer);
    quipu_bundle_manifest_release(&m);
    quipu_buf_release(&kept);
}

static void set_envelope(struct bundle_kit *kit, struct quipu_slice block)
{
    set_envelope_of(kit, 2, 0, block);
}

/* The last event under the event_id of another. */
static void event_id_twice(struct bundle_kit *kit)
{
    struct quipu_envelope first;
    struct quipu_envelope last;
    struct quipu_buf block = QUIPU_BUF_INIT;
    size_t at = kit->count - 1;
    while (quipu_envelope_decode(bundle_kit_block(kit, at), &last, NULL) != QUIPU_OK) {
        at--;
    }
    cr_assert_eq(quipu_envelope_decode(bundle_kit_block(kit, 2), &first, NULL), QUIPU_OK);
    last.event_id = first.event_id;
    cr_assert_eq(quipu_envelope_encode(&last, &block, NULL), QUIPU_OK);
    set_envelope_of(kit, at, FORGERY_EVENTS - 1, quipu_buf_slice(&block));
    quipu_buf_release(&block);
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

const struct forgery forgeries[] = {
    {"no signature", no_signature, QUIPU_UNSIGNED, "nobody has signed"},
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
    {"header only", nothing_but_a_header, QUIPU_CAR_TRUNCATED, "the root should follow"},
    {"manifest missing", manifest_missing, QUIPU_BUNDLE, "the manifest"},
    {"manifest twice", manifest_twice, QUIPU_BUNDLE, "event 1 of 12"},
    {"events swapped", events_swapped, QUIPU_BUNDLE, "missing or out of order"},
    {"payload first", payload_before_its_envelope, QUIPU_BUNDLE, "its envelope should"},
    {"envelope missing", first_envelope_missing, QUIPU_BUNDLE, "event 1 of 12"},
    {"event missing", first_event_missing, QUIPU_BUNDLE, "missing or out of order"},
    {"payload missing", payload_missing, QUIPU_BUNDLE, "its payload"},
    {"last block missing", last_block_missing, QUIPU_CAR_TRUNCATED, "event 12 of 12"},
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
    {"near twin", list_names_a_near_twin, QUIPU_CAR_TRUNCATED, "event 13 of 13"},
    {"list short", list_one_short, QUIPU_BUNDLE, "behind the last event"},
    {"another store", another_store_named, QUIPU_BAD_SIGNATURE, "did not sign"},
    {"checkpoint cut", checkpoint_cut, QUIPU_BUNDLE, "not a signed note"},
    {"no checkpoint", checkpoint_of_nothing, QUIPU_BUNDLE, "not a signed note"},
    {"checkpoint signature", checkpoint_signature_changed, QUIPU_BAD_SIGNATURE, "checkpoint"},
    {"checkpoint + 1", checkpoint_counts_more, QUIPU_BUNDLE, "events and proof"},
    {"checkpoint - 1", checkpoint_counts_fewer, QUIPU_BUNDLE, "event 12 of 12"},
    {"checkpoint root", checkpoint_root_changed, QUIPU_BUNDLE, "root of the checkpoint"},
    {"event hidden", event_hidden_from_the_tree, QUIPU_BUNDLE, "event 5 of 12"},
    {"larger before", tree_before_was_larger, QUIPU_BUNDLE, "proof of consistency"},
    {"another before", tree_before_was_another, QUIPU_BUNDLE, "proof of consistency"},
    {"consistency made up", consistency_made_up, QUIPU_BUNDLE, "proof of consistency"},
    {"consistency missing", consistency_left_out, QUIPU_BUNDLE, "proof of consistency"},
    {"proof missing", proof_named_but_missing, QUIPU_BUNDLE, "part 1 of 1 of the proof"},
    {"proof too long", proof_too_long, QUIPU_BUNDLE, "events and proof"},
    {"half a hash", proof_of_half_a_hash, QUIPU_BUNDLE, "no list of hashes"},
    {"newer manifest", newer_manifest, QUIPU_FORMAT_NEWER, "newer quipu"},
    {"no manifest", manifest_that_is_none, QUIPU_BUNDLE, "the manifest"},
    {"manifest + byte", manifest_with_a_byte_more, QUIPU_BUNDLE, "the manifest"},
    {"empty envelope", envelope_that_is_a_map_of_nothing, QUIPU_ENVELOPE, "event 1 of 12"},
    {"envelope cut", envelope_cut_short, QUIPU_CBOR_TRUNCATED, "event 1 of 12"},
    {"envelope + byte", envelope_with_a_byte_more, QUIPU_CBOR_TRAILING, "event 1 of 12"},
    {"newer envelope", newer_envelope, QUIPU_FORMAT_NEWER, "event 1 of 12"},
    {"event_id twice", event_id_twice, QUIPU_EVENT_ID_CONFLICT, "events 1 and 12 of 12 have one"},
    {"payload no CBOR", payload_that_is_no_cbor, QUIPU_CBOR_NOT_SHORTEST, "its payload"},
    {"empty payload", payload_of_nothing, QUIPU_CBOR_TRUNCATED, "its payload"},
    {"payload too large", payload_over_the_limit, QUIPU_TOO_LARGE, "its payload"},
};

const size_t forgery_count = sizeof forgeries / sizeof forgeries[0];
