/*
 * The parts of `quipu demo`: the cast and their keys, the ceremony, the offline and the online
 * acts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_DEMO_H
#define QUIPU_CLI_DEMO_H

#include "catalogue.h"
#include "cli.h"
#include "print.h"
#include "quipu/engine.h"

#define DEMO_PATH_BYTES 512
#define DEMO_STORES     3

/* The ceremony's own store, the one behind the air gap, and the one that pulls from the server. */
enum demo_store { DEMO_CEREMONY, DEMO_VAULT, DEMO_OFFICE };

struct demo_keys;

struct demo {
    struct cli *cli;
    const char *server_program; /* NULL: search */
    char dir[DEMO_PATH_BYTES];
    char paths[DEMO_STORES][DEMO_PATH_BYTES + 16];
    char bundle[DEMO_PATH_BYTES + 16];
    struct quipu_store *stores[DEMO_STORES];
    struct quipu_engine *engines[DEMO_STORES];
    struct quipu_types *types; /* what the ceremony may record */
    struct demo_keys *keys;
    struct quipu_uuid correlation; /* the ceremony's: the id of the event that opened it */
    unsigned steps;
    int64_t began_us; /* of the step */
    int64_t began_all_us;
    struct cli_json json;
};

/** Say what a step did, with the time since the step before. */
void demo_step(struct demo *demo, const char *name, const char *format, ...) QUIPU_PRINTF(3, 4);

/* ------------------------------------------------------------------ keys (demo_keys.c) */

enum demo_key_name {
    DEMO_KEY_ROOT_CA,
    DEMO_KEY_ISSUING_CA,
    DEMO_KEY_OPERATOR,
    DEMO_KEY_ACCOUNT,
    DEMO_KEY_ADA,
    DEMO_KEY_BRUNO,
    DEMO_KEY_CARLA,
    DEMO_KEYS
};

/* The public half of a key pair and what it is for. */
struct demo_key {
    const char *id;
    const char *purpose;
    const char *holder;
    char prefix; /* of its NKey text */
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    char nkey[QUIPU_SOURCE_TEXT_BYTES];
};

/** Make all key pairs. Secret halves stay in locked pages. @retval QUIPU_NO_MEMORY,
 * QUIPU_NO_RANDOM */
enum quipu_status demo_keys_make(struct demo_keys **out, struct quipu_error *err);
/** Wipe and release. NULL is fine. */
void demo_keys_wipe(struct demo_keys **keys);
const struct demo_key *demo_key(const struct demo_keys *keys, enum demo_key_name name);
void demo_key_sign(const struct demo_keys *keys, enum demo_key_name name,
                   struct quipu_slice message, uint8_t signature[QUIPU_SIGNATURE_BYTES]);
bool demo_signature_holds(const uint8_t signature[QUIPU_SIGNATURE_BYTES],
                          struct quipu_slice message,
                          const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES]);

/* ------------------------------------------------------------------ acts */

/** The ceremony on the first store (demo_ceremony.c). */
enum quipu_status demo_ceremony(struct demo *demo, struct quipu_error *err);

/** Refusals, verification, certificates, export, import (demo_offline.c). */
enum quipu_status demo_offline(struct demo *demo, struct quipu_error *err);

/** Replay on the stores that are open and compare (demo_offline.c). */
enum quipu_status demo_compare(struct demo *demo, struct quipu_error *err);

/** Server, provision, flush, flush again, pull (demo_online.c; demo_online_none.c says that it is
 * left out). */
enum quipu_status demo_online(struct demo *demo, struct quipu_error *err);

#endif
