/*
 * The peers in this process: the bare hash by libcrypto (one reused context, its digest fetched
 * once) and by libsodium, and the DAG-CBOR of the same events by libcbor, which builds a tree.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "bench_cid.h"

static void evp_hash(const void *data, size_t len, uint8_t digest[32])
{
    static EVP_MD_CTX *context;
    static EVP_MD *sha256;
    if (context == NULL) {
        context = EVP_MD_CTX_new();
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
        if (context == NULL || sha256 == NULL || EVP_DigestInit_ex2(context, sha256, NULL) != 1) {
            abort();
        }
    }
    if (EVP_DigestInit_ex2(context, NULL, NULL) != 1 || EVP_DigestUpdate(context, data, len) != 1 ||
        EVP_DigestFinal_ex(context, digest, NULL) != 1) {
        abort();
    }
}

void peer_libcrypto_hash(size_t count)
{
    const struct event *events = bench_events();
    uint8_t digest[32];
    for (size_t i = 0; i < count; i++) {
        evp_hash(events[i % EVENT_COUNT].block, EVENT_BYTES, digest);
        bench_sink += digest[0];
    }
}

void peer_libsodium_hash(size_t count)
{
    const struct event *events = bench_events();
    uint8_t digest[32];
    for (size_t i = 0; i < count; i++) {
        (void)crypto_hash_sha256(digest, events[i % EVENT_COUNT].block, EVENT_BYTES);
        bench_sink += digest[0];
    }
}

#ifdef QUIPU_BENCH_LIBCBOR

#include <cbor.h>

static void add(cbor_item_t *map, const char *key, cbor_item_t *value)
{
    struct cbor_pair pair = {cbor_move(cbor_build_string(key)), cbor_move(value)};
    if (!cbor_map_add(map, pair)) {
        abort();
    }
}

static cbor_item_t *build(const struct event *event)
{
    cbor_item_t *map = cbor_new_definite_map(EVENT_PAIRS);
    uint8_t link[QUIPU_CID_BYTES + 1] = {0};
    quipu_cid_to_bytes(&event->payload, link + 1);
    add(map, "v", cbor_build_uint8(1));
    add(map, "prev", cbor_new_definite_array(0));
    add(map, "schema", cbor_build_uint8(1));
    add(map, "source",
        cbor_build_string("UBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCHBENCH"));
    add(map, "payload", cbor_build_tag(42, cbor_move(cbor_build_bytestring(link, sizeof link))));
    add(map, "version", cbor_build_uint8(1));
    add(map, "event_id", cbor_build_bytestring(event->event_id, 16));
    add(map, "event_type", cbor_build_string("key.signed"));
    add(map, "source_seq", cbor_build_uint32((uint32_t)event->source_seq));
    add(map, "occurred_at", cbor_build_uint64((uint64_t)event->occurred_at));
    add(map, "aggregate_id", cbor_build_string(event->aggregate_id));
    add(map, "causation_id", cbor_new_null());
    add(map, "aggregate_type", cbor_build_string("key"));
    add(map, "correlation_id", cbor_build_bytestring(event->correlation_id, 16));
    return map;
}

static void libcbor_encode(size_t count, bool with_hash)
{
    const struct event *events = bench_events();
    for (size_t i = 0; i < count; i++) {
        const struct event *event = &events[i % EVENT_COUNT];
        uint8_t block[2 * EVENT_BYTES];
        uint8_t digest[32] = {0};
        cbor_item_t *map = build(event);
        size_t len = cbor_serialize(map, block, sizeof block);
        if (len != EVENT_BYTES || memcmp(block, event->block, len) != 0) {
            abort();
        }
        if (with_hash) {
            evp_hash(block, len, digest);
        }
        bench_sink += block[len - 1] + digest[0];
        cbor_decref(&map);
    }
}

void peer_libcbor_encode(size_t count)
{
    libcbor_encode(count, false);
}

void peer_libcbor_encode_hash(size_t count)
{
    libcbor_encode(count, true);
}

void peer_libcbor_decode(size_t count)
{
    const struct event *events = bench_events();
    for (size_t i = 0; i < count; i++) {
        struct cbor_load_result result;
        cbor_item_t *map = cbor_load(events[i % EVENT_COUNT].block, EVENT_BYTES, &result);
        if (map == NULL) {
            abort();
        }
        bench_sink += cbor_map_size(map);
        cbor_decref(&map);
    }
}

#endif
