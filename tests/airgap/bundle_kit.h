/*
 * Stores full of events, and bundles taken apart, changed and put together again, signed as if by
 * their store: what a forger with every key could do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_BUNDLE_KIT_H
#define QUIPU_TESTS_BUNDLE_KIT_H

#include "bundle_manifest.h"
#include "quipu/bundle.h"
#include "quipu/car.h"
#include "quipu/sshsig.h"
#include "sign_kit.h"
#include "temp_dir.h"

#define PATH_BYTES ((size_t)2 * TEMP_DIR_BYTES)

/* ------------------------------------------------------------------ stores */

struct store_kit {
    char path[PATH_BYTES];
    struct quipu_store *store;
    struct quipu_engine *engine;
};

/* Open (or make) the store `name` in the folder. */
void store_kit_open(struct store_kit *kit, const struct temp_dir *dir, const char *name);
void store_kit_close(struct store_kit *kit);

/* A folder of its own with the store "vault" and, where `office` is not NULL, "office" in it; and
 * the path that `file` has there. Close takes all of it away. */
void sides_open(struct temp_dir *dir, struct store_kit *vault, struct store_kit *office,
                const char *file, char path[PATH_BYTES]);
void sides_close(struct temp_dir *dir, struct store_kit *vault, struct store_kit *office);

/* Append `count` events of three types over seven keys; every fifth shares its payload with others,
 * the rest carry `payload_bytes` of their own. */
void store_kit_append(struct store_kit *kit, size_t count, size_t payload_bytes);

/* SHA-256 over the CIDs of every event in order of CID (positions may differ between stores), and
 * how many there are. */
uint64_t store_kit_digest(struct store_kit *kit, uint8_t digest[QUIPU_SHA256_BYTES]);

/* Export all to `path`; the test fails where that does. */
void store_kit_export(struct store_kit *kit, const char *path, struct quipu_export_report *report);

/* All of it as JSON lines. */
void store_kit_export_lines(struct store_kit *kit, const char *path);

/* Run `work` in a process of its own with a failpoint armed ("name:kill:2"; "none:fail": none); how
 * it ended: a status, or -signal. No store that `work` uses may be open here. */
int store_kit_run_armed(const char *failpoint, enum quipu_status (*work)(struct quipu_error *err));

/* ------------------------------------------------------------------ bundles */

struct section {
    uint8_t cid[80];
    size_t cid_len;
    uint8_t *block; /* owned */
    size_t block_len;
    size_t offset; /* in the file it was read from */
};

struct bundle_kit {
    struct quipu_cid roots[2];
    size_t root_count;
    struct section *sections; /* 0: root, 1: manifest, then chunks, then events */
    size_t count;
    size_t cap;
};

void bundle_kit_load(struct bundle_kit *kit, const char *path);
void bundle_kit_save(const struct bundle_kit *kit, const char *path);
void bundle_kit_release(struct bundle_kit *kit);

/* Put a block in front of section `at`, under its true CID; take one out; change two places. */
void bundle_kit_insert(struct bundle_kit *kit, size_t at, uint8_t codec, struct quipu_slice block);
void bundle_kit_remove(struct bundle_kit *kit, size_t at);
void bundle_kit_swap(struct bundle_kit *kit, size_t a, size_t b);
/* Another block in its place, under its true CID. */
void bundle_kit_replace(struct bundle_kit *kit, size_t at, uint8_t codec, struct quipu_slice block);
struct quipu_slice bundle_kit_block(const struct bundle_kit *kit, size_t at);
struct quipu_cid bundle_kit_cid(const struct bundle_kit *kit, size_t at);

/* The first section from `at` on that is (or is not) an envelope. */
size_t bundle_kit_find(const struct bundle_kit *kit, size_t at, bool is_envelope);

/* The manifest and root of the bundle; what they borrow lives as long as the sections. */
void bundle_kit_manifest(const struct bundle_kit *kit, struct quipu_bundle_manifest *manifest);
void bundle_kit_root(const struct bundle_kit *kit, struct quipu_bundle_root *root);

/* Put this manifest in, and a root with a signature by the store's key. */
void bundle_kit_seal(struct bundle_kit *kit, const struct quipu_bundle_manifest *manifest,
                     struct quipu_engine *engine);
/* The same for a manifest block that no encoder would write. */
void bundle_kit_seal_block(struct bundle_kit *kit, struct quipu_slice block,
                           struct quipu_engine *engine);

/* Put this root in, and into the header. */
void bundle_kit_set_root(struct bundle_kit *kit, const struct quipu_bundle_root *root);

/* Compute the tree again over the envelopes as they stand. */
void bundle_kit_grow_tree(const struct bundle_kit *kit, struct quipu_bundle_manifest *manifest);

#endif
