/*
 * Property: allowed signers that are accepted trust exactly the keys that stand in them, in spans
 * and namespaces that are well-formed, and a line alone means what it means in its file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"
#include "quipu/trust.h"

/* The line `number` of the text, without its end. */
static struct quipu_slice line_of(struct quipu_slice text, uint64_t number)
{
    size_t from = 0;
    for (uint64_t line = 1; line < number; line++) {
        const uint8_t *end = memchr(text.data + from, '\n', text.len - from);
        FUZZ_REQUIRE(end != NULL);
        from = (size_t)(end - text.data) + 1;
    }
    const uint8_t *end = memchr(text.data + from, '\n', text.len - from);
    size_t len = end == NULL ? text.len - from : (size_t)(end - text.data) - from;
    return quipu_slice(text.data + from, len);
}

static void require_the_same_alone(const struct quipu_trust_signer *signer, struct quipu_slice text)
{
    struct quipu_trust *alone = NULL;
    FUZZ_REQUIRE(quipu_trust_parse(line_of(text, signer->line), &alone, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(quipu_trust_count(alone) == 1);
    const struct quipu_trust_signer *same = quipu_trust_signer_at(alone, 0);
    FUZZ_REQUIRE(quipu_slice_equal(same->principals, signer->principals));
    FUZZ_REQUIRE(quipu_slice_equal(same->namespaces, signer->namespaces));
    FUZZ_REQUIRE(quipu_slice_equal(same->key, signer->key) && same->type == signer->type);
    FUZZ_REQUIRE(same->valid_after_unix_us == signer->valid_after_unix_us);
    FUZZ_REQUIRE(same->valid_before_unix_us == signer->valid_before_unix_us);
    quipu_trust_free(&alone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct quipu_slice text = quipu_slice(data, size);
    struct quipu_trust *trust = NULL;
    struct quipu_error err = {.offset = 0};
    enum quipu_status status = quipu_trust_parse(text, &trust, &err);
    if (status != QUIPU_OK) {
        FUZZ_REQUIRE(status == QUIPU_INVALID || status == QUIPU_TOO_LARGE);
        FUZZ_REQUIRE(err.status == status && trust == NULL);
        return 0;
    }
    for (size_t i = 0; i < quipu_trust_count(trust) && i < 8; i++) {
        const struct quipu_trust_signer *signer = quipu_trust_signer_at(trust, i);
        FUZZ_REQUIRE(signer->principals.len > 0 && signer->line > 0);
        require_the_same_alone(signer, text);
        const struct quipu_trust_signer *found =
            quipu_trust_find(trust, signer->key, "quipu-bundle@v1", 0);
        FUZZ_REQUIRE(found != NULL || !quipu_trust_signer_may(signer, "quipu-bundle@v1", 0));
        FUZZ_REQUIRE(found == NULL ||
                     quipu_slice_equal(found->key, signer->key));
    }
    FUZZ_REQUIRE(quipu_trust_signer_at(trust, quipu_trust_count(trust)) == NULL);
    quipu_trust_free(&trust);
    return 0;
}
