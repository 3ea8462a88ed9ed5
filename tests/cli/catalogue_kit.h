/*
 * A store whose engine knows the catalogue's types and takes no others; keys, devices and
 * certificates in it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CATALOGUE_KIT_H
#define QUIPU_TESTS_CATALOGUE_KIT_H

#include "catalogue.h"
#include "temp_dir.h"

struct catalogue_kit {
    struct temp_dir dir;
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct quipu_types *types;
    struct quipu_error err;
    struct quipu_buf rows; /* for the test's own use */
};

/* A suite opens it before each test and closes it after. */
extern struct catalogue_kit kit;
void catalogue_kit_open(void);
void catalogue_kit_close(void);

/* Values of fields: text; 32 bytes. */
struct quipu_slice text(const char *value);
struct quipu_slice bytes(void);

/* Append, past all rules; the test fails where that fails. */
void append(enum catalogue_type type, const char *id, const void *payload);
void make_key(const char *id); /* ada's */
void make_device(const char *serial);

/* By the rules; slot 9c is asked for. */
enum quipu_status request(const char *serial, const char *by, const char *key);
enum quipu_status approve(const char *serial, const char *by);
enum quipu_status provision(const char *serial, const char *key, const char *slot);
enum quipu_status revoke_key(const char *key);
enum quipu_status issue(const char *id, const char *key, const char *issuer, int64_t not_after);

#define assert_done(call) cr_assert_eq((call), QUIPU_OK, "%s", kit.err.message)

#endif
