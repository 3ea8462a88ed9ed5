/*
 * Property: a binary SSHSIG that is accepted is, byte for byte, what quipu would write of it, and
 * it is a signature of nothing but what it was made for.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"
#include "quipu/bundle.h"
#include "quipu/sshsig.h"

#define SIGNED "the manifest" /* what the signatures in the corpus are made for */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice blob = quipu_slice(data, size);
    struct quipu_sshsig sshsig;
    struct quipu_buf again = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    enum quipu_status status = quipu_sshsig_decode(blob, &sshsig, &err);
    enum quipu_status verified =
        quipu_sshsig_verify(blob, QUIPU_BUNDLE_NAMESPACE, quipu_slice_text(SIGNED), key, NULL);
    if (status == QUIPU_OK) {
        quipu_sshsig_encode(&sshsig, &again);
        FUZZ_REQUIRE(again.status == QUIPU_OK);
        FUZZ_REQUIRE(quipu_slice_equal(quipu_buf_slice(&again), blob));
        FUZZ_REQUIRE(verified == QUIPU_OK || verified == QUIPU_BAD_SIGNATURE);
        FUZZ_REQUIRE(verified != QUIPU_OK || memcmp(key, sshsig.public_key, sizeof key) == 0);
    } else {
        FUZZ_REQUIRE(status == QUIPU_BAD_SIGNATURE || status == QUIPU_FORMAT_NEWER);
        FUZZ_REQUIRE(verified == status && err.status == status);
        FUZZ_REQUIRE(err.offset == QUIPU_ERROR_NO_OFFSET || err.offset <= size);
    }
    FUZZ_REQUIRE(quipu_sshsig_verify(blob, QUIPU_BUNDLE_NAMESPACE,
                                     quipu_slice_text("another manifest"), key, NULL) != QUIPU_OK);
    quipu_buf_release(&again);
    return 0;
}
