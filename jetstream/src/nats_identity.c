/*
 * Chooses the one way in which this connection proves who it is, and answers libnats' questions
 * from the credentials in use. Keys are held here and not in libnats' options, so that they can be
 * replaced and wiped. What a server gives us to sign must look like a nonce.
 *
 * Specification: docs/SPEC.md §10.11.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "nats_identity.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connection_state.h"
#include "nats_status.h"
#include "quipu/alloc.h"

#define NONCE_CHARS_MIN  8
#define NONCE_CHARS_MAX  128
#define SIGNING_KEY_FILE "signing.key"

/* ------------------------------------------------------------------ what libnats asks */

/* Base64 of either alphabet, and short: nothing that could be read as a statement of ours. */
static bool is_nonce(const char *text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "+/-_=";
    size_t len = strspn(text, allowed);
    return text[len] == 0 && len >= NONCE_CHARS_MIN && len <= NONCE_CHARS_MAX;
}

static natsStatus on_jwt(char **jwt, char **error_text, void *closure)
{
    struct quipu_nats *nats = closure;
    (void)error_text;
    *jwt = strdup((const char *)nats->in_use.jwt.data); /* libnats frees it with free() */
    return *jwt == NULL ? NATS_NO_MEMORY : NATS_OK;
}

/* A server that asks for no signature gets none, in the place where libnats wants one. */
static natsStatus sign_nothing(unsigned char **signature, int *signature_len)
{
    unsigned char *blank = malloc(QUIPU_SIGNATURE_BYTES); /* libnats frees it with free() */
    if (blank == NULL) {
        return NATS_NO_MEMORY;
    }
    memset(blank, UINT8_MAX, QUIPU_SIGNATURE_BYTES);
    *signature = blank;
    *signature_len = QUIPU_SIGNATURE_BYTES;
    return NATS_OK;
}

static natsStatus on_sign(char **error_text, unsigned char **signature, int *signature_len,
                          const char *nonce, void *closure)
{
    struct quipu_nats *nats = closure;
    (void)error_text;
    if (nonce == NULL || nonce[0] == 0) {
        return sign_nothing(signature, signature_len);
    }
    if (!is_nonce(nonce)) {
        nats->is_nonce_refused = true;
        return NATS_ERR;
    }
    natsStatus s = nats_Sign(nats->in_use.seed, nonce, signature, signature_len);
    if (s == NATS_OK && (*signature)[0] == 0) {
        /* libnats 3.4.1 takes a signature that begins with a zero byte, one in 256, for an empty
         * text, and the server then refuses a good key. The next nonce is another one. */
        free(*signature); /* libnats made it with malloc() */
        *signature = NULL;
        nats->is_signature_unlucky = true;
        return NATS_ERR;
    }
    return s;
}

static const char *on_token(void *closure)
{
    const struct quipu_nats *nats = closure;
    return nats->identity.token;
}

/* ------------------------------------------------------------------ loading */

static enum quipu_status refuse_signing_key(const struct quipu_nats *nats, const char *name,
                                            const struct nats_credentials *credentials,
                                            struct quipu_error *err)
{
    const struct nats_identity *identity = &nats->identity;
    bool is_forbidden =
        identity->has_forbidden &&
        memcmp(identity->forbidden, credentials->public_key, QUIPU_PUBLIC_KEY_BYTES) == 0;
    if (identity->file != NULL) {
        /* Where no store is given to compare with, what stores call it must do. */
        const char *slash = strrchr(identity->file, '/');
        const char *base = slash == NULL ? identity->file : slash + 1;
        is_forbidden = is_forbidden || strcmp(base, SIGNING_KEY_FILE) == 0;
    }
    if (!is_forbidden) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_INVALID,
                           "%s holds the signing key of a store (%s), which never connects: a "
                           "server could have it sign what it likes; make another key to connect "
                           "with (nk -gen user)",
                           name, credentials->public_text);
}

/* From the file the first time, and where there is no callback. */
static enum quipu_status fetch(struct quipu_nats *nats, bool is_first, struct nats_credentials *out,
                               struct quipu_error *err)
{
    const struct nats_identity *identity = &nats->identity;
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf name = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    bool is_from_host = identity->refresh != NULL && (!is_first || identity->file == NULL);
    const char *what = identity->kind == NATS_IDENTITY_NKEY ? "nkey seed file" : "credentials file";
    if (is_from_host) {
        quipu_buf_printf(&name, "what the refresh callback gives");
        if (quipu_buf_reserve(&text, 2 * JWT_BYTES_MAX) == NULL) {
            status = quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for credentials");
        } else {
            status = identity->refresh(identity->refresh_ctx, &text, err);
        }
    } else {
        quipu_buf_printf(&name, "%s %s", what, identity->file);
        status = quipu_secret_read(what, identity->file, &text, err);
    }
    quipu_buf_append_byte(&name, 0);
    const char *named = name.status == QUIPU_OK ? (const char *)name.data : what;
    struct nats_credentials made;
    memset(&made, 0, sizeof made);
    if (status == QUIPU_OK) {
        status = identity->kind == NATS_IDENTITY_NKEY
                     ? quipu_seed_parse(quipu_buf_slice(&text), named, &made, err)
                     : quipu_credentials_parse(quipu_buf_slice(&text), named, &made, err);
    }
    if (status == QUIPU_OK) {
        status = refuse_signing_key(nats, named, &made, err);
    }
    if (status == QUIPU_OK) {
        *out = made;
        explicit_bzero(&made, sizeof made);
    } else {
        quipu_credentials_release(&made);
    }
    quipu_secret_release(&text);
    quipu_buf_release(&name);
    return status;
}

static bool are_same(const struct nats_credentials *a, const struct nats_credentials *b)
{
    return memcmp(a->seed, b->seed, sizeof a->seed) == 0 &&
           quipu_slice_equal(quipu_buf_slice(&a->jwt), quipu_buf_slice(&b->jwt));
}

enum quipu_status quipu_nats_identity_renew(struct quipu_nats *nats, struct quipu_error *err)
{
    struct nats_identity *identity = &nats->identity;
    struct nats_link *link = &nats->link;
    struct nats_credentials made;
    memset(&made, 0, sizeof made);

    (void)pthread_mutex_lock(&link->mutex);
    while (identity->is_renewing) {
        (void)pthread_cond_wait(&link->changed, &link->mutex);
    }
    identity->is_renewing = true;
    bool is_first = identity->generation == 0;
    (void)pthread_mutex_unlock(&link->mutex);

    enum quipu_status status = fetch(nats, is_first, &made, err);

    (void)pthread_mutex_lock(&link->mutex);
    identity->is_renewing = false;
    if (status == QUIPU_OK && (is_first || !are_same(&made, &identity->newest))) {
        quipu_credentials_release(&identity->newest);
        identity->newest = made;
        explicit_bzero(&made, sizeof made);
        identity->generation++;
        link->now.credentials_expire_unix_us = identity->newest.claims.expires_unix_us;
        if (!is_first) {
            link->now.refreshes++;
            quipu_link_note(link);
        }
    }
    (void)pthread_cond_broadcast(&link->changed);
    quipu_link_tell(link);
    (void)pthread_mutex_unlock(&link->mutex);
    quipu_credentials_release(&made);
    return status;
}

bool quipu_nats_identity_is_newer(struct quipu_nats *nats)
{
    (void)pthread_mutex_lock(&nats->link.mutex);
    bool is_newer = nats->identity.generation != nats->in_use_generation;
    (void)pthread_mutex_unlock(&nats->link.mutex);
    return is_newer;
}

enum quipu_status quipu_nats_identity_take(struct quipu_nats *nats, struct quipu_error *err)
{
    struct nats_identity *identity = &nats->identity;
    if (identity->kind == NATS_IDENTITY_PLAIN) {
        return QUIPU_OK;
    }
    if (identity->refresh == NULL && nats->in_use_generation != 0) {
        /* It may be gone or half written just now: then those that we have must do. */
        enum quipu_status renewed = quipu_nats_identity_renew(nats, NULL);
        (void)renewed; /* as said above */
    }
    (void)pthread_mutex_lock(&nats->link.mutex);
    enum quipu_status status = QUIPU_OK;
    bool is_other = nats->in_use_generation != identity->generation;
    if (is_other) {
        status = quipu_credentials_copy(&identity->newest, &nats->in_use, err);
    }
    if (status == QUIPU_OK) {
        nats->in_use_generation = identity->generation;
    }
    (void)pthread_mutex_unlock(&nats->link.mutex);
    if (status != QUIPU_OK || !is_other || identity->kind != NATS_IDENTITY_NKEY) {
        return status;
    }
    /* The library asks for a signature, and keeps the key that it says is ours. */
    natsStatus s = natsOptions_SetNKey(nats->options, nats->in_use.public_text, on_sign, nats);
    return s == NATS_OK ? QUIPU_OK : quipu_error_nats(err, s, 0, "setting the key");
}

/* ------------------------------------------------------------------ options */

static enum quipu_status copy_text(const char *from, char **out, struct quipu_error *err)
{
    size_t bytes = strlen(from) + 1;
    char *copy = quipu_alloc(bytes, 1);
    if (copy == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory copying options");
    }
    memcpy(copy, from, bytes);
    *out = copy;
    return QUIPU_OK;
}

/* With nothing said: the file at its usual place, where there is one. */
static enum quipu_status default_file(struct nats_identity *identity, struct quipu_error *err)
{
    struct quipu_buf path = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_nats_credentials_default(&path, err);
    if (status == QUIPU_OK && access((const char *)path.data, F_OK) == 0) {
        identity->kind = NATS_IDENTITY_JWT;
        status = copy_text((const char *)path.data, &identity->file, err);
    }
    quipu_buf_release(&path);
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

static enum quipu_status choose(struct nats_identity *identity,
                                const struct quipu_nats_options *options, bool url_names_user,
                                struct quipu_error *err)
{
    bool has_creds = options->credentials_file != NULL && options->credentials_file[0] != 0;
    bool has_user = options->user != NULL || options->password != NULL;
    bool has_key = options->nkey_file != NULL;
    int ways = (has_creds || options->refresh != NULL) + has_key + (options->token != NULL) +
               has_user + url_names_user;
    if (ways > 1) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "more than one of credentials file (or refresh callback), nkey seed "
                               "file, user, token, and a user in the url is given; give one");
    }
    identity->refresh = options->refresh;
    identity->refresh_ctx = options->refresh_ctx;
    if (has_creds || options->refresh != NULL) {
        identity->kind = NATS_IDENTITY_JWT;
        return has_creds ? copy_text(options->credentials_file, &identity->file, err) : QUIPU_OK;
    }
    if (has_key) {
        identity->kind = NATS_IDENTITY_NKEY;
        return copy_text(options->nkey_file, &identity->file, err);
    }
    if (options->token != NULL) {
        return copy_text(options->token, &identity->token, err);
    }
    return ways == 0 && options->credentials_file == NULL ? default_file(identity, err) : QUIPU_OK;
}

static enum quipu_status forbid_signing_key(struct nats_identity *identity,
                                            struct quipu_engine *engine, struct quipu_error *err)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    if (engine == NULL || identity->kind == NATS_IDENTITY_PLAIN) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_identity_source(engine, source, err);
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK; /* no key yet: one that is made later is none of those that exist */
    }
    if (status == QUIPU_OK) {
        status = quipu_source_public_key(quipu_slice_text(source), identity->forbidden, err);
    }
    identity->has_forbidden = status == QUIPU_OK;
    return status;
}

enum quipu_status quipu_nats_identity_configure(struct quipu_nats *nats,
                                                const struct quipu_nats_options *options,
                                                bool url_names_user, struct quipu_error *err)
{
    struct nats_identity *identity = &nats->identity;
    enum quipu_status status = choose(identity, options, url_names_user, err);
    if (status == QUIPU_OK) {
        status = forbid_signing_key(identity, options->engine, err);
    }
    if (status == QUIPU_OK && identity->kind != NATS_IDENTITY_PLAIN) {
        status = quipu_nats_identity_renew(nats, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    natsStatus s = NATS_OK;
    switch (identity->kind) {
    case NATS_IDENTITY_JWT:
        s = natsOptions_SetUserCredentialsCallbacks(nats->options, on_jwt, nats, on_sign, nats);
        break;
    case NATS_IDENTITY_NKEY:
        s = natsOptions_SetNKey(nats->options, identity->newest.public_text, on_sign, nats);
        break;
    case NATS_IDENTITY_PLAIN:
        if (identity->token != NULL) {
            s = natsOptions_SetTokenHandler(nats->options, on_token, nats);
        } else if (options->user != NULL || options->password != NULL) {
            s = natsOptions_SetUserInfo(nats->options, options->user != NULL ? options->user : "",
                                        options->password != NULL ? options->password : "");
        }
        break;
    }
    return s == NATS_OK ? QUIPU_OK : quipu_error_nats(err, s, 0, "setting the credentials");
}
