/*
 * Public keys and seeds as text (NKeys): what is written is read back, what is none is refused.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "engine_kit.h"
#include "nkey.h"

Test(nkey, formats_public_keys_of_every_kind)
{
    /* Computed by other code than this, over the key 00 01 02 … 1f. */
    static const char *const texts[] = {
        "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN",
        "AAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB776S",
        "OAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB7JSU",
        "NAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6CRG",
        "CAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6N4O",
        "XAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB7QO7",
    };
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[QUIPU_SOURCE_TEXT_BYTES];
        quipu_nkey_format(texts[i][0], key, text);
        cr_assert_str_eq(text, texts[i]);
    }
    char nothing[QUIPU_SOURCE_TEXT_BYTES] = "x";
    quipu_nkey_format('Z', key, nothing);
    cr_assert_str_eq(nothing, "");
}

Test(nkey, reads_back_the_public_key_of_a_source)
{
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    struct quipu_slice source =
        quipu_slice_text("UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN");

    cr_assert_eq(quipu_source_public_key(source, key, NULL), QUIPU_OK);

    for (size_t i = 0; i < sizeof key; i++) {
        cr_assert_eq(key[i], i);
    }
}

Test(nkey, refuses_what_is_no_source)
{
    static const char *const wrong[] = {
        "",
        "U",
        "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63N",
        "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NNA",
        "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NM",
        "UBAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN",
        "AAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB776S",
        "uaaacaqdaqcqmbyibefawdanbyhraeiscmkbkfqxdamrugy4dupb63nn",
        "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63N!",
    };
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES] = {7};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_eq(quipu_source_public_key(quipu_slice_text(wrong[i]), key, NULL), QUIPU_INVALID,
                     "%s", wrong[i]);
    }
    cr_assert_eq(key[0], 7, "untouched");
}

Test(nkey, reads_back_the_seeds_it_writes)
{
    uint8_t seed[NKEY_SEED_BYTES];
    uint8_t again[NKEY_SEED_BYTES];
    char text[NKEY_SEED_TEXT_BYTES];
    for (int round = 0; round < 100; round++) {
        randombytes_buf(seed, sizeof seed);
        nkey_user_seed_format(seed, text);
        cr_assert_eq(strlen(text), NKEY_SEED_CHARS);
        cr_assert(text[0] == 'S' && text[1] == 'U');
        cr_assert_eq(nkey_user_seed_parse(quipu_slice_text(text), again), QUIPU_OK);
        cr_assert(memcmp(seed, again, sizeof seed) == 0);
        text[20] = text[20] == 'A' ? 'B' : 'A';
        cr_assert_eq(nkey_user_seed_parse(quipu_slice_text(text), again), QUIPU_INVALID);
    }
}
