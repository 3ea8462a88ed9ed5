/*
 * age files that are not exactly right: each is refused with the status of its class, and what is
 * given out before is genuine.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "test_age_kit.h"

#define V1      "age-encryption.org/v1\n"
#define SHARE   "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU" /* 32 times the byte 5 */
#define BODY    "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
#define SALT    "BQUFBQUFBQUFBQUFBQUFBQ"
#define FULL    "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF" /* 48 bytes */
#define NO_SUCH QUIPU_AGE_NO_MATCH

static struct quipu_age_secrets *secrets;
static struct age_forge forge;
static struct quipu_buf file;
static struct quipu_buf out;
static struct quipu_error err;

static void set_up(void)
{
    secrets = age_kit_secrets(1);
    age_kit_forge_init(&forge, secrets);
}

static void tear_down(void)
{
    quipu_buf_release(&file);
    quipu_buf_release(&out);
    quipu_age_secrets_free(&secrets);
}

TestSuite(age_strict, .init = set_up, .fini = tear_down);

/* A header of these lines, right in all else; "%s" stands for a stanza that opens. */
static const struct {
    const char *lines;
    enum quipu_status status;
} HEADERS[] = {
    {V1 "%s", QUIPU_OK},
    {V1 "-> X25519 " SHARE "\n" BODY "\n%s", QUIPU_OK},
    {V1 "%s-> X25519 " SHARE "\n" BODY "\n", QUIPU_OK},
    {V1 "-> grease\n\n%s", QUIPU_OK},
    {V1 "-> grease ! ~ x\n" FULL "\n" FULL "\nBQU\n%s", QUIPU_OK},
    {V1 "-> grease\n" FULL "\n\n%s-> more\n\n", QUIPU_OK},
    {V1 "-> scrypt-like a\nBQU\n%s", QUIPU_OK},
    {V1 "-> x25519 " SHARE "\n" BODY "\n", NO_SUCH},
    {V1 "-> Scrypt " SALT " 10\n" BODY "\n", NO_SUCH},
    {V1 "-> mlkem768x25519 " SHARE "\n" BODY "\n", QUIPU_AGE_UNSUPPORTED},
    {V1 "-> p256tag BQUFBQ " SHARE "\n" BODY "\n", QUIPU_AGE_UNSUPPORTED},
    {V1 "-> ssh-ed25519 BQUFBQ " SHARE "\n" BODY "\n", QUIPU_AGE_UNSUPPORTED},
    {V1 "-> mlkem768x25519 " SHARE "\n" BODY "\n%s", QUIPU_OK},
    {V1, QUIPU_AGE_HEADER},
    {"age-encryption.org/v2\n%s", QUIPU_AGE_VERSION},
    {"age-encryption.org/v1 \n%s", QUIPU_AGE_HEADER},
    {"age-encryption.org/v1\r\n%s", QUIPU_AGE_HEADER},
    {"age-encryption.org/\n%s", QUIPU_AGE_HEADER},
    {"age-encryption.org\n%s", QUIPU_AGE},
    {" " V1 "%s", QUIPU_AGE},
    {V1 "\n%s", QUIPU_AGE_HEADER},
    {V1 "%s\n", QUIPU_AGE_HEADER},
    {V1 "->grease\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> \n\n%s", QUIPU_AGE_HEADER},
    {V1 "->\n\n%s", QUIPU_AGE_HEADER},
    {V1 "->  grease\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease \n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease  x\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\tx\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease \x7f\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease \xc3\xa9\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\r\n\n%s", QUIPU_AGE_HEADER},
    {V1 "--> grease\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\nBQU=\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\nBQV\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\nB\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\nB_UF\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\nBQ UF\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\nBQU\r\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\n" FULL "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\n" FULL "BQUF\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> grease\nBQU\nBQU\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 " SHARE " x\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 " SHARE "=\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 " SALT "\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 " SHARE "B\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQV\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 " SHARE "\n" SALT "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 " SHARE "\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 " SHARE "\n" BODY "BQUF\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 " SHARE "\n" FULL "\n\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> X25519 AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " 10\n" BODY "\n%s", QUIPU_AGE_HEADER},
    {V1 "%s-> scrypt " SALT " 10\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> grease\n\n-> scrypt " SALT " 1\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " 1\n" BODY "\n-> scrypt " SALT " 1\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT "\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " 10 10\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SHARE " 10\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " 0\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " 010\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " +10\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " -10\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " 0x0a\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " 10a\n" BODY "\n", QUIPU_AGE_HEADER},
    {V1 "-> scrypt " SALT " 1\n" SALT "\n", QUIPU_AGE_HEADER},
};

Test(age_strict, headers_are_what_the_grammar_says)
{
    for (size_t i = 0; i < sizeof HEADERS / sizeof HEADERS[0]; i++) {
        age_kit_forge(&forge, HEADERS[i].lines, quipu_slice_text("plain"), &file);
        enum quipu_status status = age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err);
        cr_assert_eq(status, HEADERS[i].status, "%s: %s %s", HEADERS[i].lines,
                     quipu_status_name(status), status == QUIPU_OK ? "" : err.message);
        cr_assert_eq(out.len, status == QUIPU_OK ? 5u : 0u);
    }
}

Test(age_strict, work_factors_of_any_length_are_over_the_limit)
{
    struct quipu_age_secrets *passphrase = age_kit_passphrase("p");
    static const char *const FACTORS[] = {"23", "1000", "18446744073709551626",
                                          "99999999999999999999999999999999"};
    for (size_t i = 0; i < 4; i++) {
        char lines[256];
        (void)snprintf(lines, sizeof lines, V1 "-> scrypt " SALT " %s\n" BODY "\n", FACTORS[i]);
        age_kit_forge(&forge, lines, quipu_slice_text("plain"), &file);
        cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), passphrase, 0, &out, &err),
                     QUIPU_AGE_WORK_FACTOR, "%s", FACTORS[i]);
    }
    quipu_age_secrets_free(&passphrase);
}

Test(age_strict, keys_of_other_types_are_told_apart_from_wrong_ones)
{
    static const char OTHER[] = "AGE-SECRET-KEY-PQ-1QQQQ";
    struct quipu_age_secrets *other = age_kit_secrets(1);
    age_kit_forge(&forge, V1 "%s", quipu_slice_text("plain"), &file);

    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), other, 0, &out, &err), QUIPU_AGE_NO_MATCH);
    cr_assert_eq(quipu_age_secrets_add(other, quipu_slice_text(OTHER), &err), QUIPU_OK);
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), other, 0, &out, &err),
                 QUIPU_AGE_UNSUPPORTED);
    cr_assert_eq(quipu_age_secrets_add(secrets, quipu_slice_text(OTHER), &err), QUIPU_OK);
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err), QUIPU_OK);

    quipu_age_secrets_free(&other);
}

Test(age_strict, a_header_has_a_limit)
{
    struct quipu_buf lines = QUIPU_BUF_INIT;
    quipu_buf_append_text(&lines, V1 "-> grease\n");
    while (lines.len + 2 * sizeof FULL < QUIPU_AGE_HEADER_BYTES_MAX) {
        quipu_buf_append_text(&lines, FULL "\n");
    }
    /* The stanza and the line of the MAC come on top of this. */
    quipu_buf_append_text(&lines, "\n%s");
    quipu_buf_append_byte(&lines, 0);

    age_kit_forge(&forge, (const char *)lines.data, quipu_slice_text("plain"), &file);
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err), QUIPU_TOO_LARGE);
    memmove(lines.data + 32 + 4 * sizeof FULL, lines.data + 32 + 8 * sizeof FULL,
            lines.len - 32 - 8 * sizeof FULL);
    age_kit_forge(&forge, (const char *)lines.data, quipu_slice_text("plain"), &file);
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err), QUIPU_OK, "%s",
                 err.message);

    quipu_buf_release(&lines);
}

/* ------------------------------------------------------------------ damage */

Test(age_strict, one_flipped_bit_anywhere_is_refused)
{
    age_kit_forge(&forge, V1 "%s-> grease x\nBQU\n", quipu_slice_text("plain"), &file);
    const uint8_t *mac = memmem(file.data, file.len, "\n--- ", 5);
    cr_assert_not_null(mac);
    size_t payload = (size_t)(mac - file.data) + 5 + 44 + AGE_NONCE_BYTES;

    for (size_t bit = 0; bit < file.len * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum quipu_status status =
            age_kit_decrypt(quipu_buf_slice(&file), secrets, bit % 7, &out, &err);
        cr_assert_neq(status, QUIPU_OK, "bit %zu", bit);
        cr_assert_eq(out.len, 0u);
        cr_assert(bit / 8 < payload || status == QUIPU_AGE_PAYLOAD, "bit %zu: %s", bit,
                  quipu_status_name(status));
        cr_assert(status >= QUIPU_AGE && status < QUIPU_AGE_WORK_FACTOR, "bit %zu: %s", bit,
                  quipu_status_name(status));
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err), QUIPU_OK);
}

Test(age_strict, a_changed_header_under_its_old_mac_is_refused_as_that)
{
    age_kit_forge(&forge, V1 "%s-> grease x\nBQU\n", quipu_slice_text("plain"), &file);
    uint8_t *argument = memmem(file.data, file.len, "grease x", 8);
    cr_assert_not_null(argument);

    argument[7] = 'y';
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err), QUIPU_AGE_MAC);
    cr_assert_eq(out.len, 0u);
}

Test(age_strict, every_cut_is_refused_and_gives_only_genuine_bytes)
{
    struct quipu_buf plain = QUIPU_BUF_INIT;
    age_kit_plain(&plain, 2 * QUIPU_AGE_CHUNK_BYTES + 100);
    age_kit_encrypt_to(quipu_buf_slice(&plain), secrets, &file);
    size_t payload = file.len - plain.len - 3 * AGE_TAG_BYTES;

    for (size_t len = 0; len < file.len; len += len < payload + 40 ? 1 : 997) {
        enum quipu_status status =
            age_kit_decrypt(quipu_slice(file.data, len), secrets, 0, &out, &err);
        if (len < payload) {
            cr_assert(status == QUIPU_AGE_HEADER || (status == QUIPU_AGE && len < 19), "%zu: %s",
                      len, quipu_status_name(status));
        } else {
            cr_assert(status == QUIPU_AGE_TRUNCATED || status == QUIPU_AGE_PAYLOAD, "%zu", len);
        }
        cr_assert(out.len < plain.len);
        cr_assert(out.len == 0 || memcmp(out.data, plain.data, out.len) == 0);
    }
    for (size_t chunks = 0; chunks < 3; chunks++) {
        cr_assert_eq(age_kit_decrypt(quipu_slice(file.data, payload + chunks * AGE_SEALED_BYTES),
                                     secrets, 0, &out, &err),
                     QUIPU_AGE_TRUNCATED);
    }

    quipu_buf_release(&plain);
}

Test(age_strict, bytes_behind_the_last_chunk_are_refused)
{
    static const size_t SIZES[] = {0, 5, QUIPU_AGE_CHUNK_BYTES};
    struct quipu_buf plain = QUIPU_BUF_INIT;
    for (size_t i = 0; i < 3; i++) {
        age_kit_plain(&plain, SIZES[i]);
        age_kit_encrypt_to(quipu_buf_slice(&plain), secrets, &file);
        for (size_t more = 1; more < 40; more += 13) {
            quipu_buf_append(&file, "and something else, of some length here", 13);
            cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 100, &out, &err),
                         QUIPU_AGE_PAYLOAD);
            cr_assert_eq(out.len, 0u);
        }
    }
    quipu_buf_release(&plain);
}

/* A payload of two chunks made by hand: its second one is `len` bytes, last or not. */
static void forge_two(size_t len, bool is_first_last, bool is_second_last)
{
    struct quipu_buf plain = QUIPU_BUF_INIT;
    uint8_t *sealed;
    age_kit_plain(&plain, QUIPU_AGE_CHUNK_BYTES);
    age_kit_forge(&forge, V1 "%s", quipu_slice(NULL, 0), &file);
    file.len -= AGE_TAG_BYTES;
    sealed = quipu_buf_reserve(&file, 2 * AGE_SEALED_BYTES);
    cr_assert_not_null(sealed);
    age_seal_chunk(&forge.keys, 0, is_first_last, quipu_buf_slice(&plain), sealed);
    age_seal_chunk(&forge.keys, 1, is_second_last, quipu_slice(plain.data, len),
                   sealed + AGE_SEALED_BYTES);
    file.len += AGE_SEALED_BYTES + len + AGE_TAG_BYTES;
    quipu_buf_release(&plain);
}

Test(age_strict, the_last_chunk_is_marked_the_only_one_and_not_empty)
{
    static const struct {
        size_t len;
        bool is_first_last;
        bool is_second_last;
        enum quipu_status status;
        size_t given;
    } ROWS[] = {
        {10, false, true, QUIPU_OK, QUIPU_AGE_CHUNK_BYTES + 10},
        {QUIPU_AGE_CHUNK_BYTES, false, true, QUIPU_OK, 2 * QUIPU_AGE_CHUNK_BYTES},
        {0, false, true, QUIPU_AGE_PAYLOAD, QUIPU_AGE_CHUNK_BYTES},
        {10, true, true, QUIPU_AGE_PAYLOAD, 0},
        {10, true, false, QUIPU_AGE_PAYLOAD, 0},
        {10, false, false, QUIPU_AGE_PAYLOAD, QUIPU_AGE_CHUNK_BYTES},
        {0, false, false, QUIPU_AGE_PAYLOAD, QUIPU_AGE_CHUNK_BYTES},
        {QUIPU_AGE_CHUNK_BYTES, false, false, QUIPU_AGE_TRUNCATED, QUIPU_AGE_CHUNK_BYTES},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        forge_two(ROWS[i].len, ROWS[i].is_first_last, ROWS[i].is_second_last);
        for (size_t step = 0; step <= 4096; step += 1024) {
            enum quipu_status status =
                age_kit_decrypt(quipu_buf_slice(&file), secrets, step, &out, &err);
            cr_assert_eq(status, ROWS[i].status, "row %zu: %s", i, quipu_status_name(status));
            cr_assert_eq(out.len, ROWS[i].given, "row %zu gave %zu", i, out.len);
        }
    }
}

/* ------------------------------------------------------------------ armor */

/* Replace the first `from` in the armored file by `to`. */
static void replace(const char *from, const char *to)
{
    struct quipu_buf changed = QUIPU_BUF_INIT;
    const uint8_t *at = memmem(file.data, file.len, from, strlen(from));
    cr_assert_not_null(at, "%s is not in it", from);
    size_t before = (size_t)(at - file.data);
    quipu_buf_append(&changed, file.data, before);
    quipu_buf_append_text(&changed, to);
    quipu_buf_append(&changed, at + strlen(from), file.len - before - strlen(from));
    quipu_buf_release(&file);
    file = changed;
}

static void make_armored(size_t len)
{
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    struct quipu_buf plain = QUIPU_BUF_INIT;
    options.recipients = &recipient;
    options.recipient_count = 1;
    options.form = QUIPU_AGE_ARMORED;
    age_kit_plain(&plain, len);
    age_kit_encrypt(quipu_buf_slice(&plain), &options, 0, &file);
    quipu_buf_release(&plain);
}

#define BEGIN "-----BEGIN AGE ENCRYPTED FILE-----"
#define END   "-----END AGE ENCRYPTED FILE-----"

Test(age_strict, armor_is_strict_pem)
{
    static const struct {
        const char *from;
        const char *to;
        enum quipu_status status;
    } ROWS[] = {
        {BEGIN, BEGIN, QUIPU_OK},
        {BEGIN "\n", BEGIN "\r\n", QUIPU_OK},
        {END "\n", END "\r\n", QUIPU_OK},
        {END "\n", END, QUIPU_OK},
        {END "\n", END "\r", QUIPU_OK},
        {END "\n", END "\n \t\r\n\n", QUIPU_OK},
        {BEGIN, "\n \t\r\n" BEGIN, QUIPU_OK},
        {BEGIN "\n", BEGIN "\n\n", QUIPU_AGE_ARMOR},
        {BEGIN "\n", BEGIN " \n", QUIPU_AGE_ARMOR},
        {BEGIN "\n", BEGIN, QUIPU_AGE_ARMOR},
        {BEGIN "\n", BEGIN "\nHeader: value\n\n", QUIPU_AGE_ARMOR},
        {BEGIN "\n", BEGIN "\n ", QUIPU_AGE_ARMOR},
        {BEGIN, "-----BEGIN AGE ENCRYPTED FILE----", QUIPU_AGE_ARMOR},
        {BEGIN, "-----BEGIN age ENCRYPTED FILE-----", QUIPU_AGE_ARMOR},
        {BEGIN, "----- BEGIN AGE ENCRYPTED FILE -----", QUIPU_AGE_ARMOR},
        {BEGIN, "-----BEGIN AGE FILE-----", QUIPU_AGE_ARMOR},
        {BEGIN, "words\n" BEGIN, QUIPU_AGE_ARMOR},
        {BEGIN "\n", "words\n", QUIPU_AGE},
        {END "\n", END "x", QUIPU_AGE_ARMOR},
        {END "\n", END "\nwords\n", QUIPU_AGE_ARMOR},
        {END "\n", "", QUIPU_AGE_ARMOR},
        {"\n" END "\n", "", QUIPU_AGE_ARMOR},
        {END, "\n" END, QUIPU_AGE_ARMOR},
        {END, "=BQUF\n" END, QUIPU_AGE_ARMOR},
        {END, "BQUF\n" END, QUIPU_AGE_ARMOR},
        {END, "-----END AGE FILE-----", QUIPU_AGE_ARMOR},
        {"\n" END, " \n" END, QUIPU_AGE_ARMOR},
        {"=\n" END, "\n" END, QUIPU_AGE_ARMOR},
        {"=\n" END, "==\n" END, QUIPU_AGE_ARMOR},
        {"=\n" END, "\n=\n" END, QUIPU_AGE_ARMOR},
        {"YWdl", "YW\ndl", QUIPU_AGE_ARMOR},
        {"YWdl", "YWdlYWdl", QUIPU_AGE_ARMOR},
        {"YWdl", "YWd-", QUIPU_AGE_ARMOR},
        {"YWdl", "bm90", QUIPU_AGE},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        /* So many bytes that the last line ends in one '='. */
        for (size_t len = 0; file.len == 0 || memmem(file.data, file.len, "=\n" END, 5) == NULL ||
                             memmem(file.data, file.len, "==\n" END, 6) != NULL;
             len++) {
            make_armored(len);
        }
        replace(ROWS[i].from, ROWS[i].to);
        enum quipu_status status = age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err);
        cr_assert_eq(status, ROWS[i].status, "\"%s\" for \"%s\": %s %s", ROWS[i].to, ROWS[i].from,
                     quipu_status_name(status), status == QUIPU_OK ? "" : err.message);
        quipu_buf_reset(&file);
    }
}

Test(age_strict, one_flipped_bit_of_armor_is_refused_or_white_space)
{
    make_armored(20);
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        uint8_t was = file.data[bit / 8];
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum quipu_status status = age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err);
        cr_assert(status != QUIPU_OK || (bit / 8 == file.len - 1 && was == '\n'), "bit %zu", bit);
        cr_assert(status == QUIPU_OK || out.len == 0);
        file.data[bit / 8] = was;
    }
}

Test(age_strict, armor_of_another_file_or_of_none_is_no_age_file)
{
    static const char *const TEXTS[] = {
        BEGIN "\n" END "\n", BEGIN "\nbm8=\n" END "\n", "", "x", "\n\n", "age-encryption.org"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        cr_assert_eq(age_kit_decrypt(quipu_slice_text(TEXTS[i]), secrets, 0, &out, &err), QUIPU_AGE,
                     "%s", TEXTS[i]);
    }
}

Test(age_strict, armor_may_have_a_full_last_line)
{
    for (size_t len = 0; len < 48; len++) {
        make_armored(len);
        cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, &err), QUIPU_OK);
        cr_assert_eq(out.len, len);
    }
}
