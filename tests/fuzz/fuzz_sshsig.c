/*
 * Property: a binary SSHSIG that is accepted is, byte for byte, what quipu would write of it, by
 * whatever type of key; and it is a signature of nothing but what it was made for. Armor that is
 * accepted gives the same bytes again when they are armored and read once more. Its key is a line
 * of an .pub file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"
#include "quipu/bundle.h"
#include "quipu/sshsig.h"

#define SIGNED "the manifest" /* what the signatures in the corpus are made for */

static void check_decoded(const struct quipu_sshsig *sshsig, struct quipu_slice blob)
{
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_buf line = QUIPU_BUF_INIT;
    enum quipu_ssh_key_type type = QUIPU_SSH_KEY_ED25519;
    char name[QUIPU_SOURCE_TEXT_BYTES];
    quipu_sshsig_encode(sshsig, &again);
    FUZZ_REQUIRE(again.status == QUIPU_OK);
    FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), blob));
    FUZZ_REQUIRE(quipu_ssh_key_read(sshsig->key, &type, NULL) == QUIPU_OK && type == sshsig->type);
    FUZZ_REQUIRE(quipu_ssh_key_line(sshsig->key, NULL, &line, NULL) == QUIPU_OK);
    quipu_ssh_key_name(sshsig->key, name);
    FUZZ_REQUIRE((type == QUIPU_SSH_KEY_ED25519) == (name[0] == 'U'));
    quipu_buf_release(&again);
    quipu_buf_release(&line);
}

static void check_binary(struct quipu_slice blob)
{
    struct quipu_sshsig sshsig;
    struct quipu_sshsig verified_as;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_sshsig_decode(blob, &sshsig, &err);
    enum quipu_status verified = quipu_sshsig_verify(blob, QUIPU_BUNDLE_NAMESPACE,
                                                     quipu_slice_text(SIGNED), &verified_as, NULL);
    if (status == QUIPU_OK) {
        check_decoded(&sshsig, blob);
        FUZZ_REQUIRE(verified == QUIPU_OK || verified == QUIPU_BAD_SIGNATURE);
        FUZZ_REQUIRE(verified != QUIPU_OK || quipu_slice_equal(verified_as.key, sshsig.key));
    } else {
        FUZZ_REQUIRE(status == QUIPU_BAD_SIGNATURE || status == QUIPU_FORMAT_NEWER);
        FUZZ_REQUIRE(verified == status && err.status == status);
        FUZZ_REQUIRE(err.offset == QUIPU_ERROR_NO_OFFSET || err.offset <= blob.len);
    }
    FUZZ_REQUIRE(quipu_sshsig_verify(blob, QUIPU_BUNDLE_NAMESPACE,
                                     quipu_slice_text("another manifest"), NULL, NULL) != QUIPU_OK);
}

static void check_armor(struct quipu_slice text)
{
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_buf armor = QUIPU_BUF_INIT;
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_sshsig_dearmor(text, &blob, &err);
    if (status == QUIPU_OK) {
        FUZZ_REQUIRE(quipu_sshsig_is_armor(text) && blob.len > 0);
        check_binary(quipu_buf_slice(&blob));
        quipu_sshsig_armor(quipu_buf_slice(&blob), &armor);
        FUZZ_REQUIRE(armor.len > QUIPU_SSHSIG_ARMOR_BYTES_MAX ||
                     quipu_sshsig_dearmor(quipu_buf_slice(&armor), &again, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(again.len == 0 ||
                     quipu_slice_equal(quipu_buf_slice(&again), quipu_buf_slice(&blob)));
    } else {
        FUZZ_REQUIRE(status == QUIPU_BAD_SIGNATURE && err.status == status && blob.len == 0);
    }
    quipu_buf_release(&blob);
    quipu_buf_release(&armor);
    quipu_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice input = quipu_slice(data, size);
    check_binary(input);
    check_armor(input);
    return 0;
}
