/*
 * Properties: a checkpoint that is accepted is, byte for byte, what quipu signs for its tree; one
 * that was signed is accepted and gives its tree back; and no byte of it can be another one. The
 * key is made at run time, so that no input holds one: the input is taken as a note as it is, as a
 * tree to sign for, and as changes to what was signed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include <sodium.h>
#include <string.h>

#include "checkpoint.h"
#include "nkey.h"

static uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
static char source[QUIPU_SOURCE_TEXT_BYTES];

/* The store's identity, which is not among the sources of this program. */
enum quipu_status quipu_identity_sign(struct quipu_engine *engine, struct quipu_slice message,
                                      uint8_t signature[QUIPU_SIGNATURE_BYTES],
                                      struct quipu_error *err)
{
    (void)engine;
    (void)err;
    FUZZ_REQUIRE(crypto_sign_detached(signature, NULL, message.data, message.len, secret_key) == 0);
    return QUIPU_OK;
}

static void make_key(void)
{
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    if (source[0] == 0) {
        FUZZ_REQUIRE(sodium_init() >= 0);
        FUZZ_REQUIRE(crypto_sign_keypair(public_key, secret_key) == 0);
        quipu_nkey_format('U', public_key, source);
    }
}

/* Whatever is accepted is what is signed for the tree that it gives. */
static enum quipu_status check_note(struct quipu_slice note)
{
    struct quipu_proof_tree tree = {0};
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_checkpoint_verify(note, quipu_slice_text(source), &tree, &err);
    if (status == QUIPU_OK) {
        FUZZ_REQUIRE(quipu_checkpoint_sign(NULL, source, &tree, &again, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), note));
    } else {
        FUZZ_REQUIRE(status == QUIPU_BUNDLE || status == QUIPU_BAD_SIGNATURE);
        FUZZ_REQUIRE(err.status == status);
    }
    quipu_buf_release(&again);
    return status;
}

/* The first bytes are a size and a root, the rest pairs of a place and a byte to put there. */
static void check_signed(struct quipu_slice bytes)
{
    struct quipu_proof_tree tree = {0};
    struct quipu_proof_tree found = {0};
    struct quipu_buf note = QUIPU_BUF_INIT;
    struct quipu_buf changed = QUIPU_BUF_INIT;
    if (bytes.len < sizeof tree.size + sizeof tree.root) {
        return;
    }
    memcpy(&tree.size, bytes.data, sizeof tree.size);
    memcpy(tree.root, bytes.data + sizeof tree.size, sizeof tree.root);
    tree.size &= (UINT64_C(1) << 53) - 1;
    FUZZ_REQUIRE(quipu_checkpoint_sign(NULL, source, &tree, &note, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(note.len <= QUIPU_CHECKPOINT_BYTES_MAX);
    FUZZ_REQUIRE(quipu_checkpoint_verify(quipu_buf_slice(&note), quipu_slice_text(source), &found,
                                         NULL) == QUIPU_OK);
    FUZZ_REQUIRE(found.size == tree.size);
    FUZZ_REQUIRE(memcmp(found.root, tree.root, sizeof found.root) == 0);

    quipu_buf_append_slice(&changed, quipu_buf_slice(&note));
    for (size_t i = sizeof tree.size + sizeof tree.root; i + 1 < bytes.len; i += 2) {
        changed.data[bytes.data[i] % changed.len] = bytes.data[i + 1];
    }
    bool is_same = quipu_slice_equal(quipu_buf_slice(&changed), quipu_buf_slice(&note));
    FUZZ_REQUIRE((check_note(quipu_buf_slice(&changed)) == QUIPU_OK) == is_same);
    quipu_buf_release(&changed);
    quipu_buf_release(&note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_key();
    (void)check_note(quipu_slice(data, size)); /* whatever it is: the properties are in there */
    check_signed(quipu_slice(data, size));
    return 0;
}
