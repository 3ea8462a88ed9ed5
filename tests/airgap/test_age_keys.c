/*
 * Age keys: texts are read strictly and written as age-keygen writes them, and no error quotes one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "bech32.h"
#include "test_age_kit.h"

/* The recipient of c2sp.org/age's example. */
#define RECIPIENT "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"

Test(age_keys, the_recipient_of_the_specification_is_read_and_written)
{
    struct quipu_age_recipient recipient;
    char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];

    cr_assert_eq(quipu_age_recipient_parse(quipu_slice_text(RECIPIENT), &recipient, NULL),
                 QUIPU_OK);
    quipu_age_recipient_format(&recipient, text);
    cr_assert_str_eq(text, RECIPIENT);
}

Test(age_keys, the_identity_of_the_specification_has_its_recipient)
{
    /* Its bytes are the letter B, over and over. */
    uint8_t bytes[32];
    char text[QUIPU_AGE_IDENTITY_TEXT_BYTES];
    char recipient_text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    struct quipu_age_secrets *secrets = age_kit_secrets(0);
    memset(bytes, 'B', sizeof bytes);
    bech32_encode("AGE-SECRET-KEY-", quipu_slice(bytes, sizeof bytes), BECH32_UPPER, text);

    cr_assert_eq(quipu_age_secrets_add(secrets, quipu_slice_text(text), NULL), QUIPU_OK);
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    quipu_age_recipient_format(&recipient, recipient_text);
    cr_assert_str_eq(recipient_text, RECIPIENT);

    quipu_age_secrets_free(&secrets);
}

Test(age_keys, one_wrong_character_anywhere_is_refused)
{
    char text[] = RECIPIENT;
    struct quipu_age_recipient recipient;

    for (size_t i = 0; i < strlen(text); i++) {
        char right = text[i];
        for (int c = 0; c < 256; c++) {
            text[i] = (char)c;
            enum quipu_status status =
                quipu_age_recipient_parse(quipu_slice(text, sizeof text - 1), &recipient, NULL);
            cr_assert_eq(status == QUIPU_OK, text[i] == right, "character %zu as %d", i, c);
            cr_assert(status == QUIPU_OK || status == QUIPU_AGE_KEY ||
                      (status == QUIPU_AGE_UNSUPPORTED && c == '1'));
        }
        text[i] = right;
    }
}

Test(age_keys, other_cases_lengths_and_types_are_refused)
{
    static const struct {
        const char *text;
        enum quipu_status status;
    } ROWS[] = {
        {"", QUIPU_AGE_KEY},
        {"age", QUIPU_AGE_KEY},
        {"age1", QUIPU_AGE_KEY},
        {"AGE1ZVKYG2LQZRAA2LNJVQEJ32NKUU0UES2S82HZRYE869XEEXVN73EQUNUJWJ", QUIPU_AGE_KEY},
        {"age1Zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj", QUIPU_AGE_KEY},
        {"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujw", QUIPU_AGE_KEY},
        {"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwjq", QUIPU_AGE_KEY},
        {" " RECIPIENT, QUIPU_AGE_KEY},
        {RECIPIENT "\n", QUIPU_AGE_KEY},
        {"age1pq1qqqqqqqq", QUIPU_AGE_UNSUPPORTED},
        {"age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e",
         QUIPU_AGE_UNSUPPORTED},
        {"age1yubikey1qqqq", QUIPU_AGE_UNSUPPORTED},
        {"ssh-ed25519 AAAA", QUIPU_AGE_UNSUPPORTED},
    };
    struct quipu_age_recipient recipient;

    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct quipu_error err = {.message = ""};
        cr_assert_eq(quipu_age_recipient_parse(quipu_slice_text(ROWS[i].text), &recipient, &err),
                     ROWS[i].status, "%s: %s", ROWS[i].text, err.message);
    }
}

Test(age_keys, stray_bits_in_the_last_digit_are_refused)
{
    /* 33 bytes have 53 digits of which the last has one stray bit; as 32 bytes and five bits more
     * they are another length, so the digits are made by hand: 32 zero bytes, stray bits set. */
    static const char DIGITS[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    uint8_t zero[33] = {0};
    uint8_t out[32];
    char text[128];
    const char *why = "";
    bool is_sound = false;

    bech32_encode("age", quipu_slice(zero, 32), BECH32_LOWER, text);
    cr_assert(bech32_decode(quipu_slice_text(text), "age", BECH32_LOWER, out, 32, &why));
    /* Every value of the last digit with every checksum is too much: the reason is what shows. */
    text[4 + 51] = DIGITS[1];
    is_sound = bech32_decode(quipu_slice_text(text), "age", BECH32_LOWER, out, 32, &why);
    cr_assert_not(is_sound);
    cr_assert_not_null(strstr(why, "stray bits"));
}

static void append_identity(struct quipu_buf *text, const struct quipu_age_secrets *from,
                            size_t index, const char *after)
{
    char identity[QUIPU_AGE_IDENTITY_TEXT_BYTES];
    cr_assert_eq(quipu_age_secrets_format(from, index, identity), QUIPU_OK);
    quipu_buf_append_text(text, identity);
    quipu_buf_append_text(text, after);
}

Test(age_keys, files_of_age_keygen_are_read)
{
    struct quipu_age_secrets *from = age_kit_secrets(3);
    struct quipu_age_secrets *into = age_kit_secrets(0);
    struct quipu_buf text = QUIPU_BUF_INIT;
    quipu_buf_append_text(&text, "# created: 2026-11-21T10:00:00Z\n# public key: age1…\n");
    append_identity(&text, from, 0, "\n\n");
    append_identity(&text, from, 1, "\r\n#\r\n\r\n");
    quipu_buf_append_text(&text, "AGE-SECRET-KEY-PQ-1ABC\nAGE-PLUGIN-YUBIKEY-1ABC\n");
    append_identity(&text, from, 2, "");

    cr_assert_eq(quipu_age_secrets_add(into, quipu_buf_slice(&text), NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_count(into), 3u);
    for (size_t i = 0; i < 3; i++) {
        struct quipu_age_recipient a = age_kit_recipient(from, i);
        struct quipu_age_recipient b = age_kit_recipient(into, i);
        cr_assert_arr_eq(a.public_key, b.public_key, sizeof a.public_key);
    }
    cr_assert_eq(quipu_age_secrets_recipient(into, 3, &(struct quipu_age_recipient){{0}}),
                 QUIPU_MISUSE);
    cr_assert_eq(quipu_age_secrets_format(into, 3, (char[QUIPU_AGE_IDENTITY_TEXT_BYTES]){0}),
                 QUIPU_MISUSE);

    quipu_buf_release(&text);
    quipu_age_secrets_free(&from);
    quipu_age_secrets_free(&into);
}

Test(age_keys, a_wrong_line_adds_nothing_and_is_not_quoted)
{
    struct quipu_age_secrets *from = age_kit_secrets(1);
    struct quipu_age_secrets *into = age_kit_secrets(1);
    struct quipu_error err = {.message = ""};
    struct quipu_buf text = QUIPU_BUF_INIT;

    for (size_t i = 0; i < QUIPU_AGE_IDENTITY_TEXT_BYTES - 1; i++) {
        quipu_buf_reset(&text);
        append_identity(&text, from, 0, "\n");
        size_t second = text.len;
        append_identity(&text, from, 0, "\n");
        text.data[second + i] = (uint8_t)(text.data[second + i] == 'Q' ? 'P' : 'Q');
        if (text.data[second + i] == 'Q' && i < 4) {
            continue; /* cannot be told from a plugin's or another prefix: the same refusal */
        }
        cr_assert_eq(quipu_age_secrets_add(into, quipu_buf_slice(&text), &err), QUIPU_AGE_KEY);
        cr_assert_eq(quipu_age_secrets_count(into), 1u);
        cr_assert_not_null(strstr(err.message, "line 2"));
        text.data[second + 40] = 0;
        cr_assert_null(strstr(err.message, (const char *)text.data + second + 25));
    }
    cr_assert_eq(quipu_age_secrets_add(into, quipu_slice_text("# nothing\n"), &err), QUIPU_AGE_KEY);
    cr_assert_eq(quipu_age_secrets_add(into, quipu_slice_text(RECIPIENT), &err), QUIPU_AGE_KEY);
    quipu_buf_reset(&text);
    append_identity(&text, from, 0, "");
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] = (uint8_t)tolower(text.data[i]);
    }
    cr_assert_eq(quipu_age_secrets_add(into, quipu_buf_slice(&text), &err), QUIPU_AGE_KEY);

    quipu_buf_release(&text);
    quipu_age_secrets_free(&from);
    quipu_age_secrets_free(&into);
}

Test(age_keys, identities_have_a_limit)
{
    struct quipu_age_secrets *from = age_kit_secrets(1);
    struct quipu_age_secrets *into = age_kit_secrets(QUIPU_AGE_IDENTITIES_MAX - 1);
    struct quipu_buf text = QUIPU_BUF_INIT;
    append_identity(&text, from, 0, "\n");
    append_identity(&text, from, 0, "\n");

    cr_assert_eq(quipu_age_secrets_add(into, quipu_buf_slice(&text), NULL), QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_age_secrets_count(into), (size_t)QUIPU_AGE_IDENTITIES_MAX - 1);
    cr_assert_eq(quipu_age_secrets_generate(into, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(into, NULL, NULL), QUIPU_TOO_LARGE);

    quipu_buf_release(&text);
    quipu_age_secrets_free(&from);
    quipu_age_secrets_free(&into);
}

Test(age_keys, passphrases_have_limits)
{
    static uint8_t bytes[QUIPU_AGE_PASSPHRASE_BYTES_MAX + 1];
    struct quipu_age_secrets *secrets = age_kit_secrets(0);
    memset(bytes, 'a', sizeof bytes);

    cr_assert_eq(quipu_age_secrets_set_passphrase(secrets, quipu_slice(bytes, 0), NULL),
                 QUIPU_INVALID);
    cr_assert_eq(quipu_age_secrets_set_passphrase(secrets, quipu_slice(bytes, 1), NULL), QUIPU_OK);
    cr_assert_eq(
        quipu_age_secrets_set_passphrase(secrets, quipu_slice(bytes, sizeof bytes - 1), NULL),
        QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_set_passphrase(secrets, quipu_slice(bytes, sizeof bytes), NULL),
                 QUIPU_TOO_LARGE);

    quipu_age_secrets_free(&secrets);
}

Test(age_keys, says_whether_the_system_locks)
{
    /* What this process may do is asked of the system itself: root may lock whatever the limit. */
    struct rlimit none = {0, 0};
    static uint8_t page[8192];
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    bool can_lock = mlock(page, sizeof page) == 0;
    struct quipu_age_secrets *secrets = age_kit_secrets(1);

    cr_assert_eq(quipu_age_secrets_is_locked(secrets), can_lock);

    quipu_age_secrets_free(&secrets);
}
