/*
 * Real Ed25519 key pairs for the demo, made when it runs. Only public halves leave this file; the
 * secret halves live in libsodium's guarded, locked pages and are wiped with them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <sodium.h>
#include <string.h>

#include "demo.h"
#include "quipu/alloc.h"

struct demo_keys {
    struct demo_key keys[DEMO_KEYS];
    unsigned char *secrets; /* crypto_sign_SECRETKEYBYTES each, sodium_malloc */
};

static const struct {
    const char *id;
    const char *purpose;
    const char *holder;
    char prefix;
} plan[DEMO_KEYS] = {
    [DEMO_KEY_ROOT_CA] = {"root-ca", "certificate authority, root", "tambo-trust", 'U'},
    [DEMO_KEY_ISSUING_CA] = {"issuing-ca", "certificate authority, issuing", "tambo-trust", 'U'},
    [DEMO_KEY_OPERATOR] = {"nats-operator", "NATS operator", "tambo-trust", 'O'},
    [DEMO_KEY_ACCOUNT] = {"nats-account", "NATS account", "tambo-trust", 'A'},
    [DEMO_KEY_ADA] = {"ada-2026", "signing", "ada", 'U'},
    [DEMO_KEY_BRUNO] = {"bruno-2026", "signing", "bruno", 'U'},
    [DEMO_KEY_CARLA] = {"carla-2026", "signing", "carla", 'U'},
};

static unsigned char *secret_of(const struct demo_keys *keys, enum demo_key_name name)
{
    return keys->secrets + (size_t)name * crypto_sign_SECRETKEYBYTES;
}

enum quipu_status demo_keys_make(struct demo_keys **out, struct quipu_error *err)
{
    if (sodium_init() < 0) {
        return quipu_error_set(err, QUIPU_NO_RANDOM, "libsodium does not start");
    }
    struct demo_keys *keys = quipu_alloc_zero(1, sizeof *keys);
    unsigned char *secrets = sodium_malloc((size_t)DEMO_KEYS * crypto_sign_SECRETKEYBYTES);
    if (keys == NULL || secrets == NULL) {
        sodium_free(secrets);
        quipu_free(keys);
        return quipu_error_set(err, QUIPU_NO_MEMORY, "guarded memory for %d keys", DEMO_KEYS);
    }
    keys->secrets = secrets;
    for (int i = 0; i < DEMO_KEYS; i++) {
        struct demo_key *key = &keys->keys[i];
        key->id = plan[i].id;
        key->purpose = plan[i].purpose;
        key->holder = plan[i].holder;
        key->prefix = plan[i].prefix;
        (void)crypto_sign_keypair(key->public_key,
                                  secret_of(keys, (enum demo_key_name)i)); /* always 0 */
        quipu_nkey_format(key->prefix, key->public_key, key->nkey);
    }
    *out = keys;
    return QUIPU_OK;
}

void demo_keys_wipe(struct demo_keys **keys)
{
    if (*keys != NULL) {
        sodium_free((*keys)->secrets); /* wipes first */
        quipu_free(*keys);
        *keys = NULL;
    }
}

const struct demo_key *demo_key(const struct demo_keys *keys, enum demo_key_name name)
{
    return &keys->keys[name];
}

void demo_key_sign(const struct demo_keys *keys, enum demo_key_name name,
                   struct quipu_slice message, uint8_t signature[QUIPU_SIGNATURE_BYTES])
{
    (void)crypto_sign_detached(signature, NULL, message.data, message.len,
                               secret_of(keys, name)); /* always 0 */
}

bool demo_signature_holds(const uint8_t signature[QUIPU_SIGNATURE_BYTES],
                          struct quipu_slice message,
                          const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES])
{
    return crypto_sign_verify_detached(signature, message.data, message.len, public_key) == 0;
}
