/*
 * How fast events become blocks with a CID, and blocks become events again, beside the bare hash
 * and beside libcbor and the JavaScript libraries, all in one run, each on one thread.
 *
 *   bench_cid [--json] [--rounds N] [--only TEXT]
 *
 * Prints the median of N rounds (7 by default) that the cases take in turns, of all cases or of
 * those whose name holds TEXT. To see a processor
 * without SHA instructions on one that has them, run it with the environment variable
 * OPENSSL_ia32cap="~0x0:~0x20000000", which hides them from libcrypto.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_cid.h"
/* Private: the engines one by one. */
#include "sha256_lanes.h"

#define ROUNDS_DEFAULT 7
#define BARE_HASH      "SHA-256, libcrypto, context reused"
#define SINGLE_HASH    "SHA-256, quipu, one by one"
#define SINGLE_CID     "encode + CID, fixed schema"
#define LIBCBOR_DECODE "decode, libcbor"
#define JS_PREFIX      "JavaScript: "
#define JS_ENCODE_IPLD JS_PREFIX "encode + hash, @ipld/dag-cbor"
#define JS_DECODE_IPLD JS_PREFIX "decode, @ipld/dag-cbor"
#define JS_CAR         JS_PREFIX "CAR, verify + decode, @ipld/car"

static struct quipu_slice block_of(const struct event *event)
{
    return quipu_slice(event->block, EVENT_BYTES);
}

static void hash_single(size_t count)
{
    const struct event *events = bench_events();
    uint8_t digest[QUIPU_SHA256_BYTES];
    for (size_t i = 0; i < count; i++) {
        quipu_sha256(block_of(&events[i % EVENT_COUNT]), digest);
        bench_sink += digest[0];
    }
}

static void hash_batch_with(const struct sha256_engine *engine, size_t count)
{
    static struct quipu_slice messages[EVENT_COUNT];
    static uint8_t digests[EVENT_COUNT][QUIPU_SHA256_BYTES];
    const struct event *events = bench_events();
    for (size_t i = 0; i < EVENT_COUNT; i++) {
        messages[i] = block_of(&events[i]);
    }
    for (size_t done = 0; done < count; done += EVENT_COUNT) {
        if (engine != NULL) {
            sha256_batch_with(engine, messages, EVENT_COUNT, digests);
        } else {
            quipu_sha256_batch(messages, EVENT_COUNT, digests);
        }
        bench_sink += digests[done % EVENT_COUNT][0];
    }
}

static void hash_batch(size_t count)
{
    hash_batch_with(NULL, count);
}

static void hash_batch_sha_ni(size_t count)
{
    hash_batch_with(sha256_engine_find("sha-ni"), count);
}

static void hash_batch_avx512(size_t count)
{
    hash_batch_with(sha256_engine_find("avx512"), count);
}

static void hash_batch_avx2(size_t count)
{
    hash_batch_with(sha256_engine_find("avx2"), count);
}

/* ------------------------------------------------------------------ encode */

static void encode(size_t count, void (*write)(const struct event *, struct quipu_buf *),
                   bool with_cid)
{
    const struct event *events = bench_events();
    uint8_t storage[2 * EVENT_BYTES];
    struct quipu_buf out;
    quipu_buf_init_fixed(&out, storage, sizeof storage);
    for (size_t i = 0; i < count; i++) {
        quipu_buf_reset(&out);
        write(&events[i % EVENT_COUNT], &out);
        if (with_cid) {
            struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&out));
            bench_sink += cid.digest[0];
        }
        bench_sink += storage[EVENT_BYTES - 1];
    }
}

static void encode_fixed(size_t count)
{
    encode(count, event_write_fixed, false);
}

static void encode_fixed_cid(size_t count)
{
    encode(count, event_write_fixed, true);
}

static void encode_dynamic(size_t count)
{
    encode(count, event_write_dynamic, false);
}

static void encode_dynamic_cid(size_t count)
{
    encode(count, event_write_dynamic, true);
}

static void encode_batch_cid(size_t count)
{
    static uint8_t storage[EVENT_COUNT * EVENT_BYTES + 64];
    static struct quipu_slice blocks[EVENT_COUNT];
    static uint8_t digests[EVENT_COUNT][QUIPU_SHA256_BYTES];
    const struct event *events = bench_events();
    for (size_t done = 0; done < count; done += EVENT_COUNT) {
        struct quipu_buf out;
        quipu_buf_init_fixed(&out, storage, sizeof storage);
        for (size_t i = 0; i < EVENT_COUNT; i++) {
            size_t start = out.len;
            event_write_fixed(&events[i], &out);
            blocks[i] = quipu_slice(storage + start, out.len - start);
        }
        quipu_sha256_batch(blocks, EVENT_COUNT, digests);
        bench_sink += digests[done % EVENT_COUNT][0];
    }
}

/* ------------------------------------------------------------------ decode */

static void decode_pull(size_t count)
{
    const struct event *events = bench_events();
    for (size_t i = 0; i < count; i++) {
        struct quipu_dagcbor_reader reader;
        struct quipu_dagcbor_item item;
        uint64_t seen = 0;
        enum quipu_status status;
        quipu_dagcbor_reader_init(&reader, block_of(&events[i % EVENT_COUNT]));
        while ((status = quipu_dagcbor_next(&reader, &item, NULL)) == QUIPU_OK) {
            seen += item.kind;
        }
        if (status != QUIPU_DONE) {
            abort();
        }
        bench_sink += seen;
    }
}

static void decode_validate(size_t count)
{
    const struct event *events = bench_events();
    for (size_t i = 0; i < count; i++) {
        if (quipu_dagcbor_validate(block_of(&events[i % EVENT_COUNT]), NULL) != QUIPU_OK) {
            abort();
        }
    }
}

/* What a reader of blocks does: hash and compare, then decode. */
static void verify_decode(size_t count)
{
    const struct event *events = bench_events();
    for (size_t i = 0; i < count; i++) {
        struct quipu_slice block = block_of(&events[i % EVENT_COUNT]);
        struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, block);
        if (quipu_dagcbor_validate(block, NULL) != QUIPU_OK) {
            abort();
        }
        bench_sink += cid.digest[0];
    }
}

static void cid_format(size_t count)
{
    const struct event *events = bench_events();
    char text[QUIPU_CID_TEXT_BYTES];
    for (size_t i = 0; i < count; i++) {
        quipu_cid_format(&events[i % EVENT_COUNT].payload, text);
        bench_sink += (uint8_t)text[20];
    }
}

static void cid_parse(size_t count)
{
    static char texts[EVENT_COUNT][QUIPU_CID_TEXT_BYTES];
    const struct event *events = bench_events();
    for (size_t i = 0; texts[0][0] == '\0' && i < EVENT_COUNT; i++) {
        size_t from_last = EVENT_COUNT - 1 - i;
        quipu_cid_format(&events[from_last].payload, texts[from_last]);
    }
    for (size_t i = 0; i < count; i++) {
        struct quipu_cid cid;
        struct quipu_slice text = quipu_slice(texts[i % EVENT_COUNT], QUIPU_CID_TEXT_BYTES - 1);
        if (quipu_cid_parse(text, &cid, NULL) != QUIPU_OK) {
            abort();
        }
        bench_sink += cid.digest[0];
    }
}

static struct bench_case CASES[] = {
    {BARE_HASH, NULL, peer_libcrypto_hash, 0},
    {"SHA-256, libsodium", BARE_HASH, peer_libsodium_hash, 0},
    {SINGLE_HASH, BARE_HASH, hash_single, 0},
    {"SHA-256, quipu, batch", SINGLE_HASH, hash_batch, 0},
    {"SHA-256, batch by sha-ni, 2 lanes", SINGLE_HASH, hash_batch_sha_ni, 0},
    {"SHA-256, batch by avx512, 16 lanes", SINGLE_HASH, hash_batch_avx512, 0},
    {"SHA-256, batch by avx2, 8 lanes", SINGLE_HASH, hash_batch_avx2, 0},
    {"encode, fixed schema", NULL, encode_fixed, 0},
    {"encode, dynamic map", NULL, encode_dynamic, 0},
    {SINGLE_CID, BARE_HASH, encode_fixed_cid, 0},
    {"encode + CID, dynamic map", BARE_HASH, encode_dynamic_cid, 0},
    {"encode + CID, batch", SINGLE_CID, encode_batch_cid, 0},
    {"encode, libcbor", NULL, peer_libcbor_encode, 0},
    {"encode + hash, libcbor", BARE_HASH, peer_libcbor_encode_hash, 0},
    {LIBCBOR_DECODE, BARE_HASH, peer_libcbor_decode, 0},
    {"decode, strict pull", LIBCBOR_DECODE, decode_pull, 0},
    {"decode, strict pull (against the hash)", BARE_HASH, decode_pull, 0},
    {"validate", LIBCBOR_DECODE, decode_validate, 0},
    {"hash + validate", BARE_HASH, verify_decode, 0},
    {"CAR, verify + strict decode", JS_CAR, car_verify_decode, 0},
    {JS_ENCODE_IPLD, BARE_HASH, peer_ipld_encode, 0},
    {JS_PREFIX "encode + hash, @atcute/cbor", BARE_HASH, peer_atcute_encode, 0},
    {JS_DECODE_IPLD, LIBCBOR_DECODE, peer_ipld_decode, 0},
    {JS_PREFIX "decode, @atcute/cbor", LIBCBOR_DECODE, peer_atcute_decode, 0},
    {JS_CAR, NULL, peer_ipld_car, 0},
    {"CID to text", NULL, cid_format, 0},
    {"CID from text", NULL, cid_parse, 0},
};

#define CASE_COUNT (sizeof CASES / sizeof CASES[0])

/* Cases of engines that this processor has not. */
static void leave_out_missing_engines(void)
{
    static const char *const names[] = {"sha-ni", "avx512", "avx2"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        for (size_t i = 0; i < CASE_COUNT; i++) {
            char prefix[64];
            (void)snprintf(prefix, sizeof prefix, "SHA-256, batch by %s,", names[n]);
            if (strncmp(CASES[i].name, prefix, strlen(prefix)) == 0 &&
                sha256_engine_find(names[n]) == NULL) {
                CASES[i].run = NULL;
            }
        }
    }
}

/* Start the JavaScript peers where one of their cases is wanted, or leave these cases out. */
static void start_or_leave_out_js(bool is_json)
{
    bool is_wanted = false;
    for (size_t i = 0; i < CASE_COUNT; i++) {
        is_wanted |= CASES[i].run != NULL && strncmp(CASES[i].name, JS_PREFIX, 12) == 0;
    }
    if (!is_wanted || peers_js_start()) {
        return;
    }
    for (size_t i = 0; i < CASE_COUNT; i++) {
        if (strncmp(CASES[i].name, JS_PREFIX, 12) == 0) {
            CASES[i].run = NULL;
        }
    }
    if (!is_json) {
        printf("left out: the JavaScript peers (no node, or not installed: "
               "tests/interop/install.sh, tests/cid/differential/install.sh)\n");
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: bench_cid [--json] [--rounds N] [--only TEXT]\n");
    return 2;
}

int main(int argc, char **argv)
{
    bool is_json = false;
    unsigned rounds = ROUNDS_DEFAULT;
    const char *only = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            is_json = true;
        } else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            rounds = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else {
            return usage();
        }
    }
    if (rounds < 1) {
        return usage();
    }
    leave_out_missing_engines();
    for (size_t i = 0; i < CASE_COUNT; i++) {
        CASES[i].run = strstr(CASES[i].name, only) != NULL ? CASES[i].run : NULL;
    }
    if (!is_json) {
        printf("events of %d bytes, %d of them, median of %u rounds, one thread\n", EVENT_BYTES,
               EVENT_COUNT, rounds);
    }
    start_or_leave_out_js(is_json);
    bench_run(CASES, CASE_COUNT, rounds, is_json);
    peers_js_stop();
    return 0;
}
