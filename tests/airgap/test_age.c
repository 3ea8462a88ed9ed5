/*
 * age files: what is encrypted is decrypted, whole or by pieces, by those it is for and by nobody
 * else; and whatever fails on the way is told and leaves nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "failing_alloc.h"
#include "run.h"
#include "temp_dir.h"
#include "test_age_kit.h"

static const size_t SIZES[] = {0,     1,      47,     48,     65535,  65536,
                               65537, 131071, 131072, 131073, 196608, 300001};

#define SIZE_COUNT (sizeof SIZES / sizeof SIZES[0])

Test(age, gives_back_what_was_encrypted_at_every_size_and_step)
{
    static const size_t STEPS[] = {0, 1000, 65536, 65537, 100000};
    struct quipu_age_secrets *secrets = age_kit_secrets(1);
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_buf plain = QUIPU_BUF_INIT;
    struct quipu_buf file = QUIPU_BUF_INIT;
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_error err = {.message = ""};
    options.recipients = &recipient;
    options.recipient_count = 1;

    for (size_t i = 0; i < SIZE_COUNT * 5 * 2; i++) {
        options.form = i % 2 == 0 ? QUIPU_AGE_BINARY : QUIPU_AGE_ARMORED;
        size_t step = STEPS[i / 2 % 5];
        age_kit_plain(&plain, SIZES[i / 10]);
        age_kit_encrypt(quipu_buf_slice(&plain), &options, step, &file);
        cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, step, &out, &err), QUIPU_OK,
                     "%zu bytes by %zu: %s", plain.len, step, err.message);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_buf_slice(&plain)));
    }

    quipu_buf_release(&plain);
    quipu_buf_release(&file);
    quipu_buf_release(&out);
    quipu_age_secrets_free(&secrets);
}

Test(age, opens_for_each_recipient_and_for_no_other)
{
    struct quipu_age_secrets *all = age_kit_secrets(5);
    struct quipu_age_secrets *stranger = age_kit_secrets(3);
    struct quipu_age_recipient recipients[5];
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_buf file = QUIPU_BUF_INIT;
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_slice plain = quipu_slice_text("for five");
    for (size_t i = 0; i < 5; i++) {
        recipients[i] = age_kit_recipient(all, i);
    }
    options.recipients = recipients;
    options.recipient_count = 5;
    age_kit_encrypt(plain, &options, 0, &file);

    for (size_t i = 0; i < 5; i++) {
        char text[QUIPU_AGE_IDENTITY_TEXT_BYTES];
        struct quipu_age_secrets *one = age_kit_secrets(2);
        cr_assert_eq(quipu_age_secrets_format(all, i, text), QUIPU_OK);
        cr_assert_eq(quipu_age_secrets_add(one, quipu_slice_text(text), NULL), QUIPU_OK);
        cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), one, 0, &out, NULL), QUIPU_OK);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&out), plain));
        quipu_age_secrets_free(&one);
    }
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), stranger, 0, &out, NULL),
                 QUIPU_AGE_NO_MATCH);
    cr_assert_eq(out.len, 0u);

    quipu_buf_release(&file);
    quipu_buf_release(&out);
    quipu_age_secrets_free(&all);
    quipu_age_secrets_free(&stranger);
}

static void encrypt_with_passphrase(const struct quipu_age_secrets *secrets, unsigned work_factor,
                                    struct quipu_buf *file)
{
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    options.passphrase = secrets;
    options.work_factor = work_factor;
    age_kit_encrypt(quipu_slice_text("kept"), &options, 0, file);
}

Test(age, opens_with_the_passphrase_and_with_no_other)
{
    struct quipu_age_secrets *right = age_kit_passphrase("correct horse");
    struct quipu_age_secrets *wrong = age_kit_passphrase("correct horsf");
    struct quipu_age_secrets *keys = age_kit_secrets(1);
    struct quipu_buf file = QUIPU_BUF_INIT;
    struct quipu_buf out = QUIPU_BUF_INIT;
    encrypt_with_passphrase(right, 3, &file);

    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), right, 0, &out, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice_text("kept")));
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), wrong, 0, &out, NULL), QUIPU_AGE_NO_MATCH);
    cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), keys, 0, &out, NULL), QUIPU_AGE_NO_MATCH);

    quipu_buf_release(&file);
    quipu_buf_release(&out);
    quipu_age_secrets_free(&right);
    quipu_age_secrets_free(&wrong);
    quipu_age_secrets_free(&keys);
}

Test(age, tries_no_scrypt_over_the_limit)
{
    struct quipu_age_secrets *secrets = age_kit_passphrase("p");
    struct quipu_age_read_options options = QUIPU_AGE_READ_OPTIONS_INIT;
    struct quipu_buf file = QUIPU_BUF_INIT;
    options.work_factor_max = 6;

    for (unsigned work_factor = 5; work_factor <= 7; work_factor++) {
        struct quipu_age_reader *reader = NULL;
        encrypt_with_passphrase(secrets, work_factor, &file);
        struct quipu_slice rest = quipu_buf_slice(&file);
        cr_assert_eq(
            quipu_age_reader_open(quipu_source_slice(&rest), secrets, &options, &reader, NULL),
            work_factor <= 6 ? QUIPU_OK : QUIPU_AGE_WORK_FACTOR);
        quipu_age_reader_close(&reader);
    }
    options.work_factor_max = QUIPU_AGE_SCRYPT_LOG_CEILING + 1;
    struct quipu_slice rest = quipu_buf_slice(&file);
    struct quipu_age_reader *reader = NULL;
    cr_assert_eq(quipu_age_reader_open(quipu_source_slice(&rest), secrets, &options, &reader, NULL),
                 QUIPU_INVALID);

    quipu_buf_release(&file);
    quipu_age_secrets_free(&secrets);
}

/* Who made a file says what it costs to try a passphrase on it: 1 GiB at most, if nobody says more.
 */
Test(age, secrets_say_how_much_work_a_passphrase_is_worth)
{
    struct quipu_age_secrets *secrets = age_kit_passphrase("p");
    struct quipu_buf file = QUIPU_BUF_INIT;
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_error err;
    static const char HEADER[] =
        AGE_VERSION_LINE "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 21\n"
                         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
                         "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
                         "0123456789abcdef0123456789abcdef";
    cr_assert_eq(quipu_age_secrets_allow_work(secrets, QUIPU_AGE_SCRYPT_LOG_CEILING + 1, &err),
                 QUIPU_INVALID);
    cr_assert_eq(age_kit_decrypt(quipu_slice_text(HEADER), secrets, 0, &out, &err),
                 QUIPU_AGE_WORK_FACTOR, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "factor of 21; the limit is 20"), "%s", err.message);

    for (unsigned work_factor = 5; work_factor <= 7; work_factor++) {
        encrypt_with_passphrase(secrets, work_factor, &file);
        cr_assert_eq(quipu_age_secrets_allow_work(secrets, 6, &err), QUIPU_OK);
        cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, NULL),
                     work_factor <= 6 ? QUIPU_OK : QUIPU_AGE_WORK_FACTOR);
        cr_assert_eq(quipu_age_secrets_allow_work(secrets, 0, &err), QUIPU_OK);
        cr_assert_eq(age_kit_decrypt(quipu_buf_slice(&file), secrets, 0, &out, NULL), QUIPU_OK);
    }
    quipu_buf_release(&file);
    quipu_buf_release(&out);
    quipu_age_secrets_free(&secrets);
}

Test(age, the_work_factor_is_18_where_none_is_asked_for)
{
    struct quipu_age_secrets *secrets = age_kit_passphrase("p");
    struct quipu_buf file = QUIPU_BUF_INIT;
    encrypt_with_passphrase(secrets, 0, &file);

    const char *line_end = memchr(file.data + strlen(AGE_VERSION_LINE), '\n', 64);
    cr_assert_not_null(line_end);
    cr_assert_eq(memcmp(line_end - 3, " 18", 3), 0);

    quipu_buf_release(&file);
    quipu_age_secrets_free(&secrets);
}

static enum quipu_status open_writer(const struct quipu_age_write_options *options)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_age_writer *writer = NULL;
    enum quipu_status status = quipu_age_writer_open(quipu_sink_buf(&out), options, &writer, NULL);
    cr_assert_eq(writer == NULL, status != QUIPU_OK);
    cr_assert(status == QUIPU_OK || out.len == 0, "nothing is written before all is checked");
    quipu_age_writer_close(&writer);
    quipu_buf_release(&out);
    return status;
}

Test(age, refuses_recipients_that_make_no_sense)
{
    struct quipu_age_secrets *secrets = age_kit_secrets(2);
    struct quipu_age_secrets *passphrase = age_kit_passphrase("p");
    struct quipu_age_recipient three[3] = {age_kit_recipient(secrets, 0),
                                           age_kit_recipient(secrets, 1),
                                           age_kit_recipient(secrets, 0)};
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    options.recipients = three;

    cr_assert_eq(open_writer(&options), QUIPU_MISUSE, "nobody");
    options.recipient_count = 2;
    cr_assert_eq(open_writer(&options), QUIPU_OK);
    options.passphrase = passphrase;
    cr_assert_eq(open_writer(&options), QUIPU_MISUSE, "both");
    options.passphrase = NULL;
    options.recipient_count = 3;
    cr_assert_eq(open_writer(&options), QUIPU_INVALID, "one twice");
    options.recipient_count = QUIPU_AGE_RECIPIENTS_MAX + 1;
    cr_assert_eq(open_writer(&options), QUIPU_TOO_LARGE);
    options.recipient_count = 1;
    memset(three[0].public_key, 0, sizeof three[0].public_key);
    cr_assert_eq(open_writer(&options), QUIPU_INVALID, "a point of low order");
    options.size--;
    cr_assert_eq(open_writer(&options), QUIPU_MISUSE);

    quipu_age_secrets_free(&secrets);
    quipu_age_secrets_free(&passphrase);
}

/* ------------------------------------------------------------------ what it is given fails */

static enum quipu_status failing_fill(void *ctx, void *into, size_t len, struct quipu_error *err)
{
    long *left = ctx;
    if ((*left)-- <= 0) {
        return quipu_error_set(err, QUIPU_NO_RANDOM, "none left");
    }
    memset(into, 7, len);
    return QUIPU_OK;
}

Test(age, tells_where_randomness_ends_and_is_the_same_with_the_same)
{
    long left = 0;
    struct quipu_random random = {failing_fill, &left};
    struct quipu_age_secrets *secrets = age_kit_secrets(1);
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_buf first = QUIPU_BUF_INIT;
    struct quipu_buf second = QUIPU_BUF_INIT;
    options.recipients = &recipient;
    options.recipient_count = 1;
    options.random = &random;

    /* File key, ephemeral secret, nonce. */
    for (long n = 0; n < 3; n++) {
        left = n;
        cr_assert_eq(open_writer(&options), QUIPU_NO_RANDOM);
    }
    left = 6;
    age_kit_encrypt(quipu_slice_text("x"), &options, 0, &first);
    age_kit_encrypt(quipu_slice_text("x"), &options, 0, &second);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&first), quipu_buf_slice(&second)));
    options.random = NULL;
    age_kit_encrypt(quipu_slice_text("x"), &options, 0, &second);
    cr_assert_not(quipu_slice_equal(quipu_buf_slice(&first), quipu_buf_slice(&second)));

    quipu_buf_release(&first);
    quipu_buf_release(&second);
    quipu_age_secrets_free(&secrets);
}

/* A sink and a source that fail once `left` bytes went through. */
struct limited {
    size_t left;
    struct quipu_source from;
};

static enum quipu_status limited_write(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    struct limited *limited = ctx;
    if (bytes.len > limited->left) {
        return quipu_error_set(err, QUIPU_NO_SPACE, "full");
    }
    limited->left -= bytes.len;
    return QUIPU_OK;
}

static enum quipu_status limited_read(void *ctx, void *into, size_t cap, size_t *got,
                                      struct quipu_error *err)
{
    struct limited *limited = ctx;
    if (limited->left == 0) {
        return quipu_error_set(err, QUIPU_IO, "unplugged");
    }
    cap = cap < limited->left ? cap : limited->left;
    enum quipu_status status = limited->from.read(limited->from.ctx, into, cap, got, err);
    limited->left -= *got;
    return status;
}

Test(age, tells_what_the_sink_and_the_source_say)
{
    struct quipu_age_secrets *secrets = age_kit_secrets(1);
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_buf plain = QUIPU_BUF_INIT;
    struct quipu_buf file = QUIPU_BUF_INIT;
    struct quipu_buf out = QUIPU_BUF_INIT;
    options.recipients = &recipient;
    options.recipient_count = 1;
    age_kit_plain(&plain, 150000);

    for (int form = QUIPU_AGE_BINARY; form <= QUIPU_AGE_ARMORED; form++) {
        options.form = (enum quipu_age_form)form;
        age_kit_encrypt(quipu_buf_slice(&plain), &options, 0, &file);
        for (size_t left = 1; left < file.len; left += file.len / 37) {
            struct limited limited = {.left = left};
            struct quipu_slice rest = quipu_buf_slice(&plain);
            cr_assert_eq(quipu_age_encrypt(quipu_source_slice(&rest), &options,
                                           (struct quipu_sink){limited_write, &limited}, NULL),
                         QUIPU_NO_SPACE, "%zu", left);
            rest = quipu_buf_slice(&file);
            limited = (struct limited){left, quipu_source_slice(&rest)};
            quipu_buf_reset(&out);
            cr_assert_eq(quipu_age_decrypt((struct quipu_source){limited_read, &limited}, secrets,
                                           NULL, quipu_sink_buf(&out), NULL),
                         QUIPU_IO, "%zu", left);
            cr_assert(out.len < plain.len);
            cr_assert_eq(memcmp(out.data == NULL ? plain.data : out.data, plain.data, out.len), 0);
        }
    }

    quipu_buf_release(&plain);
    quipu_buf_release(&file);
    quipu_buf_release(&out);
    quipu_age_secrets_free(&secrets);
}

Test(age, a_writer_takes_nothing_after_its_end)
{
    struct quipu_age_secrets *secrets = age_kit_secrets(1);
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_age_writer *writer = NULL;
    struct quipu_buf file = QUIPU_BUF_INIT;
    options.recipients = &recipient;
    options.recipient_count = 1;

    cr_assert_eq(quipu_age_writer_open(quipu_sink_buf(&file), &options, &writer, NULL), QUIPU_OK);
    struct quipu_sink sink = quipu_age_writer_sink(writer);
    cr_assert_eq(quipu_age_writer_finish(writer, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_writer_finish(writer, NULL), QUIPU_MISUSE);
    cr_assert_eq(sink.write(sink.ctx, quipu_slice_text("more"), NULL), QUIPU_MISUSE);

    quipu_age_writer_close(&writer);
    quipu_age_writer_close(&writer);
    quipu_buf_release(&file);
    quipu_age_secrets_free(&secrets);
}

/* ------------------------------------------------------------------ paths */

Test(age, a_path_is_there_whole_or_not_at_all)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    char plain_path[2 * TEMP_DIR_BYTES];
    struct stat info;
    struct quipu_age_secrets *secrets = age_kit_secrets(1);
    struct quipu_age_recipient recipient = age_kit_recipient(secrets, 0);
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_buf plain = QUIPU_BUF_INIT;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "file.age", path);
    temp_dir_join(&dir, "file", plain_path);
    options.recipients = &recipient;
    options.recipient_count = 1;
    age_kit_plain(&plain, 200000);

    struct quipu_slice rest = quipu_buf_slice(&plain);
    cr_assert_eq(quipu_age_encrypt_path(quipu_source_slice(&rest), &options, path, NULL), QUIPU_OK);
    struct quipu_slice file = read_file(path);
    for (size_t cut = 0; cut < file.len; cut += 9973) {
        rest = quipu_slice(file.data, cut);
        cr_assert_neq(
            quipu_age_decrypt_path(quipu_source_slice(&rest), secrets, NULL, plain_path, NULL),
            QUIPU_OK);
        cr_assert_eq(count_names(dir.path, ""), 1u, "cut at %zu", cut);
    }
    rest = file;
    cr_assert_eq(quipu_age_decrypt_path(quipu_source_slice(&rest), secrets, NULL, plain_path, NULL),
                 QUIPU_OK);
    cr_assert_eq(stat(plain_path, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0600u);
    struct quipu_slice again = read_file(plain_path);
    cr_assert(quipu_slice_equal(again, quipu_buf_slice(&plain)));
    rest = file;
    cr_assert_eq(quipu_age_decrypt_path(quipu_source_slice(&rest), secrets, NULL, plain_path, NULL),
                 QUIPU_EXISTS);
    cr_assert_eq(count_names(dir.path, ""), 2u);

    free_file(&file);
    free_file(&again);
    quipu_buf_release(&plain);
    quipu_age_secrets_free(&secrets);
    temp_dir_release(&dir);
}

/* ------------------------------------------------------------------ out of memory */

static enum quipu_status there_and_back(struct quipu_buf *file, struct quipu_buf *out)
{
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_age_write_options options = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_age_recipient recipient;
    struct quipu_slice rest = quipu_slice_text("whatever it was");
    quipu_buf_reset(file);
    quipu_buf_reset(out);
    enum quipu_status status = quipu_age_secrets_new(&secrets, NULL);
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_generate(secrets, NULL, NULL);
    }
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_recipient(secrets, 0, &recipient);
        options.recipients = &recipient;
        options.recipient_count = 1;
        options.form = QUIPU_AGE_ARMORED;
    }
    if (status == QUIPU_OK) {
        status = quipu_age_encrypt(quipu_source_slice(&rest), &options, quipu_sink_buf(file), NULL);
    }
    if (status == QUIPU_OK) {
        rest = quipu_buf_slice(file);
        status =
            quipu_age_decrypt(quipu_source_slice(&rest), secrets, NULL, quipu_sink_buf(out), NULL);
    }
    quipu_age_secrets_free(&secrets);
    return status;
}

Test(age, every_allocation_may_fail)
{
    struct quipu_buf file = QUIPU_BUF_INIT;
    struct quipu_buf out = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_NO_MEMORY;
    size_t n = 0;

    for (; status == QUIPU_NO_MEMORY; n++) {
        failing_alloc_arm(n);
        status = there_and_back(&file, &out);
    }
    cr_assert_eq(status, QUIPU_OK);
    cr_assert_gt(n, 12);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice_text("whatever it was")));

    quipu_buf_release(&file);
    quipu_buf_release(&out);
}

#ifdef QUIPU_FAILPOINTS
Test(age, secret_memory_may_be_refused)
{
    struct quipu_buf file = QUIPU_BUF_INIT;
    struct quipu_buf out = QUIPU_BUF_INIT;

    /* The identity, the writer's keys, the reader's keys: reached once each in a whole turn, and
     * the count goes on from turn to turn. */
    static const char *const ARMED[] = {"airgap.age.secret:fail:1", "airgap.age.secret:fail:3",
                                        "airgap.age.secret:fail:6"};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(setenv("QUIPU_FAILPOINT", ARMED[i], 1), 0);
        cr_assert_eq(there_and_back(&file, &out), QUIPU_NO_MEMORY, "%s", ARMED[i]);
    }
    cr_assert_eq(there_and_back(&file, &out), QUIPU_OK);

    quipu_buf_release(&file);
    quipu_buf_release(&out);
}
#endif
