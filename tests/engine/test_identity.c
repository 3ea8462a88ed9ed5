/*
 * The signing key and the source: made once, kept private, new after a restore.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_kit.h"
#include "identity.h"
#include "identity_file.h"
#include "nkey.h"
#include "quipu/store_upkeep.h"

static struct kit kit;

static void setup(void)
{
    cr_assert_geq(sodium_init(), 0);
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(identity, .init = setup, .fini = teardown);

static char *key_path(char out[4 * TEMP_DIR_BYTES])
{
    (void)snprintf(out, 4 * TEMP_DIR_BYTES, "%s/signing.key", kit.path);
    return out;
}

static void source_of(char out[QUIPU_SOURCE_TEXT_BYTES])
{
    kit_assert_ok(&kit, quipu_identity_source(kit.engine, out, &kit.err));
}

static void assert_numbered(uint64_t position, const char *source, uint64_t seq)
{
    struct kit_foreign stored;
    struct quipu_envelope envelope;
    kit_foreign_copy(&kit, position, &stored);
    kit_assert_ok(&kit, quipu_envelope_decode(stored.foreign.envelope, &envelope, &kit.err));
    cr_assert(quipu_slice_equal(envelope.source, quipu_slice_text(source)));
    cr_assert_eq(envelope.source_seq, seq);
    kit_foreign_release(&stored);
}

/* ------------------------------------------------------------------ the key */

Test(identity, is_not_there_before_the_first_append)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];

    cr_assert_eq(quipu_identity_source(kit.engine, source, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_identity_sign(kit.engine, quipu_slice_text("x"), signature, &kit.err),
                 QUIPU_NOT_FOUND);
}

Test(identity, is_made_once_and_stays)
{
    char first[QUIPU_SOURCE_TEXT_BYTES];
    char again[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    kit_assert_ok(&kit, quipu_identity_ensure(kit.engine, &kit.err));
    source_of(first);
    kit_assert_ok(&kit, quipu_identity_ensure(kit.engine, &kit.err));
    kit_append(&kit, "a", 1);
    kit_reopen(&kit);
    kit_append(&kit, "a", 2);
    source_of(again);

    cr_assert_str_eq(first, again);
    cr_assert_eq(quipu_source_public_key(quipu_slice_text(first), key, NULL), QUIPU_OK);
    assert_numbered(2, first, 2);
}

Test(identity, signs_so_that_the_public_key_verifies)
{
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    struct quipu_slice message = quipu_slice_text("a manifest");
    kit_assert_ok(&kit, quipu_identity_ensure(kit.engine, &kit.err));
    source_of(source);

    kit_assert_ok(&kit, quipu_identity_sign(kit.engine, message, signature, &kit.err));

    kit_assert_ok(&kit, quipu_source_public_key(quipu_slice_text(source), key, &kit.err));
    cr_assert_eq(crypto_sign_verify_detached(signature, message.data, message.len, key), 0);
}

Test(identity, is_a_private_file_with_one_seed)
{
    char path[4 * TEMP_DIR_BYTES];
    char text[128] = {0};
    struct stat info;
    uint8_t seed[NKEY_SEED_BYTES];
    kit_append(&kit, "a", 1);

    cr_assert_eq(stat(key_path(path), &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0600);
    FILE *file = fopen(path, "rb");
    size_t len = fread(text, 1, sizeof text, file);
    (void)fclose(file);
    cr_assert_eq(len, NKEY_SEED_CHARS + 1);
    cr_assert_eq(text[len - 1], '\n');
    cr_assert_eq(nkey_user_seed_parse(quipu_slice(text, len - 1), seed), QUIPU_OK);
}

Test(identity, is_refused_where_others_can_read_it)
{
    char path[4 * TEMP_DIR_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    static const mode_t modes[] = {0640, 0604, 0610, 0666};
    kit_append(&kit, "a", 1);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        cr_assert_eq(chmod(key_path(path), modes[i]), 0);
        cr_assert_eq(quipu_identity_source(kit.engine, source, &kit.err), QUIPU_PERMISSION);
        cr_assert_eq(quipu_identity_sign(kit.engine, quipu_slice_text("x"), signature, &kit.err),
                     QUIPU_PERMISSION);
        cr_assert_not_null(strstr(kit.err.message, "chmod 600"), "%s", kit.err.message);
    }
    kit_reopen(&kit);
    struct quipu_event event = kit_event(&kit, "a", 2);
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_PERMISSION);
    cr_assert_eq(chmod(path, 0600), 0);
    kit_append(&kit, "a", 2);
    kit_assert_sound(&kit, 2);
}

/* Opening a FIFO waits for whoever writes to it, and an append opens the key within its write
 * transaction: nobody else could append meanwhile. */
Test(identity, is_refused_where_it_is_a_fifo, .timeout = 60)
{
    char path[4 * TEMP_DIR_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    kit_append(&kit, "a", 1);
    cr_assert_eq(unlink(key_path(path)), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    kit_reopen(&kit);
    struct quipu_event event = kit_event(&kit, "a", 2);
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(kit.err.message, "is not a plain file"), "%s", kit.err.message);
    cr_assert_eq(quipu_identity_sign(kit.engine, quipu_slice_text("x"), signature, &kit.err),
                 QUIPU_CORRUPT);
}

Test(identity, is_refused_where_the_file_holds_something_else)
{
    char path[4 * TEMP_DIR_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES];
    static const char *const contents[] = {"", "SUA", "hello\n"};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        int fd = open(key_path(path), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        cr_assert_eq(write(fd, contents[i], strlen(contents[i])), (ssize_t)strlen(contents[i]));
        (void)close(fd);
        cr_assert_eq(quipu_identity_source(kit.engine, source, &kit.err), QUIPU_CORRUPT);
    }
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/dev/null", path), 0);
    cr_assert_neq(quipu_identity_source(kit.engine, source, &kit.err), QUIPU_OK);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(quipu_identity_source(kit.engine, source, &kit.err), QUIPU_CORRUPT);
}

/* ------------------------------------------------------------------ restored stores */

Test(identity, is_a_new_one_after_a_restore_and_numbers_from_one)
{
    char backup[2 * TEMP_DIR_BYTES];
    char old[QUIPU_SOURCE_TEXT_BYTES];
    char new[QUIPU_SOURCE_TEXT_BYTES];
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    source_of(old);
    kit_assert_ok(
        &kit, quipu_store_backup(kit.store, temp_dir_join(&kit.dir, "backup", backup), &kit.err));
    kit_shut(&kit);
    memcpy(kit.path, backup, sizeof backup);
    kit_reopen(&kit);

    cr_assert_eq(quipu_identity_source(kit.engine, new, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(kit_append(&kit, "a", 3).version, 3);
    source_of(new);

    cr_assert_str_neq(old, new);
    assert_numbered(2, old, 2);
    assert_numbered(3, new, 1);
    kit_assert_sound(&kit, 3);
}

/* The backup's data.mdb over that of the store, as `cp` does it; the key stays. */
static void put_back(const char *backup)
{
    char from[4 * TEMP_DIR_BYTES];
    char to[4 * TEMP_DIR_BYTES];
    char bytes[4096];
    kit_shut(&kit);
    (void)snprintf(from, sizeof from, "%s/data.mdb", backup);
    (void)snprintf(to, sizeof to, "%s/data.mdb", kit.path);
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    cr_assert(in != NULL && out != NULL);
    for (size_t got; (got = fread(bytes, 1, sizeof bytes, in)) > 0;) {
        cr_assert_eq(fwrite(bytes, 1, got, out), got);
    }
    (void)fclose(in);
    cr_assert_eq(fclose(out), 0);
}

static void assert_marked(bool expected)
{
    struct quipu_txn *txn = NULL;
    bool is_marked = !expected;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_backup_mark(txn, &is_marked, &kit.err));
    quipu_txn_abort(&txn);
    cr_assert_eq(is_marked, expected);
}

/* A store of 2 events, its backup, and 2 events more; then the backup put back over it. */
static void restore_over_itself(char backup[2 * TEMP_DIR_BYTES], char old[QUIPU_SOURCE_TEXT_BYTES])
{
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    source_of(old);
    kit_assert_ok(
        &kit, quipu_store_backup(kit.store, temp_dir_join(&kit.dir, "backup", backup), &kit.err));
    assert_marked(false);
    kit_append(&kit, "a", 3);
    kit_append(&kit, "a", 4);
    put_back(backup);
}

/* What the store recorded after the backup comes in as anybody's, though its key is still there and
 * nothing proves who wrote it. */
Test(identity, of_a_backup_that_was_put_back_takes_in_what_came_after_it_as_anothers)
{
    char backup[2 * TEMP_DIR_BYTES];
    char old[QUIPU_SOURCE_TEXT_BYTES];
    struct kit_foreign later[2];
    struct quipu_ingest *ingest = NULL;
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    source_of(old);
    kit_assert_ok(
        &kit, quipu_store_backup(kit.store, temp_dir_join(&kit.dir, "backup", backup), &kit.err));
    kit_append(&kit, "a", 3);
    kit_append(&kit, "b", 4);
    kit_foreign_copy(&kit, 3, &later[0]);
    kit_foreign_copy(&kit, 4, &later[1]);
    put_back(backup);
    kit_reopen(&kit);
    assert_marked(true);
    kit_assert_ok(&kit, quipu_ingest_begin(kit.engine, QUIPU_INGEST_STRICT, &ingest, &kit.err));
    for (int i = 0; i < 2; i++) {
        enum quipu_ingest_outcome outcome;
        kit_assert_ok(&kit, quipu_ingest_event(ingest, &later[i].foreign, &outcome, &kit.err));
        cr_assert_eq(outcome, QUIPU_INGEST_ADDED);
        kit_foreign_release(&later[i]);
    }
    kit_assert_ok(&kit, quipu_ingest_commit(&ingest, NULL, &kit.err));
    assert_marked(true);
    kit_assert_sound(&kit, 4);
    kit_append(&kit, "a", 5);
    assert_marked(false);
    char new[QUIPU_SOURCE_TEXT_BYTES];
    source_of(new);
    cr_assert_str_neq(old, new);
    assert_numbered(4, old, 4);
    assert_numbered(5, new, 1);
    kit_assert_sound(&kit, 5);
}

Test(identity, is_a_new_one_where_a_backup_was_put_back_beside_the_key)
{
    char backup[2 * TEMP_DIR_BYTES];
    char path[4 * TEMP_DIR_BYTES];
    char retired[4 * TEMP_DIR_BYTES + 16];
    char sources[3][QUIPU_SOURCE_TEXT_BYTES];
    restore_over_itself(backup, sources[0]);
    for (int i = 1; i < 3; i++) { /* the second time, the key is one the backup never heard of */
        kit_reopen(&kit);
        assert_marked(true);
        kit_append(&kit, "a", 5);
        assert_marked(false);
        source_of(sources[i]);
        kit_append(&kit, "a", 6);
        assert_numbered(2, sources[0], 2);
        assert_numbered(3, sources[i], 1);
        assert_numbered(4, sources[i], 2);
        kit_assert_sound(&kit, 4);
        (void)snprintf(retired, sizeof retired, "%s.retired%s", key_path(path), i == 1 ? "" : ".2");
        cr_assert_eq(access(retired, F_OK), 0, "%s", retired);
        put_back(backup);
    }
    cr_assert_str_neq(sources[0], sources[1]);
    cr_assert_str_neq(sources[0], sources[2]);
    cr_assert_str_neq(sources[1], sources[2]);
    kit_reopen(&kit);
}

Test(identity, is_a_new_one_for_whoever_speaks_for_a_backup_that_was_put_back)
{
    char backup[2 * TEMP_DIR_BYTES];
    char old[QUIPU_SOURCE_TEXT_BYTES];
    char new[QUIPU_SOURCE_TEXT_BYTES];
    restore_over_itself(backup, old);
    kit_reopen(&kit);

    kit_assert_ok(&kit, quipu_identity_ensure_first(kit.engine, &kit.err));

    source_of(new);
    cr_assert_str_neq(old, new);
    assert_marked(false);
    kit_append(&kit, "a", 3);
    assert_numbered(3, new, 1);
}

static void append_after_restore(void *ctx)
{
    (void)ctx;
    kit.random_state += 1; /* other ids and keys than the parent's */
    kit_reopen(&kit);
    kit_append(&kit, "a", 5);
}

Test(identity, is_never_the_old_one_wherever_the_change_is_killed)
{
    static const char *const failpoints[] = {
        "engine.identity.retired:kill",      "engine.identity.before_rename:kill",
        "engine.identity.after_rename:kill", "engine.append.before_commit:kill",
        "store.commit.after:kill",           "engine.append.after_commit:kill",
    };
    char backup[2 * TEMP_DIR_BYTES];
    char old[QUIPU_SOURCE_TEXT_BYTES];
    char new[QUIPU_SOURCE_TEXT_BYTES];
    restore_over_itself(backup, old);
    for (size_t i = 0; i < sizeof failpoints / sizeof failpoints[0]; i++) {
        bool is_committed = i >= 4;
        int how = kit_run_child(failpoints[i], append_after_restore, NULL);
        cr_assert(WIFSIGNALED(how), "%s was reached", failpoints[i]);
        kit_reopen(&kit);
        assert_marked(!is_committed);
        kit_append(&kit, "a", 6);
        source_of(new);
        cr_assert_str_neq(old, new);
        assert_numbered(2, old, 2);
        assert_numbered(3, new, 1);
        if (is_committed) {
            assert_numbered(4, new, 2);
        }
        kit_assert_sound(&kit, is_committed ? 4 : 3);
        put_back(backup);
    }
    kit_reopen(&kit);
}

Test(identity, is_kept_for_the_next_try_where_the_commit_of_the_change_fails)
{
    char backup[2 * TEMP_DIR_BYTES];
    char path[4 * TEMP_DIR_BYTES];
    char name[4 * TEMP_DIR_BYTES + 16];
    char old[QUIPU_SOURCE_TEXT_BYTES];
    char first[QUIPU_SOURCE_TEXT_BYTES];
    char again[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_txn *txn = NULL;
    restore_over_itself(backup, old);
    kit_reopen(&kit);
    for (int i = 0; i < 2; i++) {
        struct identity_row row;
        kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
        kit_assert_ok(&kit, identity_take(kit.engine, txn, &row, &kit.err));
        quipu_txn_abort(&txn);
        source_of(i == 0 ? first : again);
    }

    assert_marked(true);
    cr_assert_str_neq(old, first);
    cr_assert_str_eq(first, again, "one key a failure would fill the folder");
    (void)snprintf(name, sizeof name, "%s.retired.2", key_path(path));
    cr_assert_eq(access(name, F_OK), -1);
    kit_append(&kit, "a", 3);
    assert_numbered(3, first, 1);
}

Test(identity, mark_of_a_backup_outlives_compaction_and_repair_and_a_copy_of_the_copy)
{
    char backup[2 * TEMP_DIR_BYTES];
    char second[2 * TEMP_DIR_BYTES];
    char old[QUIPU_SOURCE_TEXT_BYTES];
    restore_over_itself(backup, old);
    kit_assert_ok(&kit, quipu_store_compact(kit.path, NULL, NULL, &kit.err));
    kit_reopen(&kit);
    assert_marked(true);
    kit_shut(&kit);
    kit_assert_ok(&kit, quipu_store_repair(kit.path, NULL, NULL, &kit.err));
    kit_reopen(&kit);
    assert_marked(true);
    kit_assert_ok(
        &kit, quipu_store_backup(kit.store, temp_dir_join(&kit.dir, "second", second), &kit.err));
    kit_append(&kit, "a", 3);
    assert_marked(false);
    kit_shut(&kit);
    kit_assert_ok(&kit, quipu_store_compact(kit.path, NULL, NULL, &kit.err));
    kit_reopen(&kit);
    assert_marked(false);
    kit_shut(&kit);
    memcpy(kit.path, second, sizeof second);
    kit_reopen(&kit);
    assert_marked(true);
    kit_append(&kit, "a", 3);
    assert_marked(false);
    kit_assert_sound(&kit, 3);
}

Test(identity, is_not_made_anew_for_those_who_only_speak_for_the_store)
{
    char path[4 * TEMP_DIR_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES];
    kit_assert_ok(&kit, quipu_identity_ensure_first(kit.engine, &kit.err));
    source_of(source);
    kit_assert_ok(&kit, quipu_identity_ensure_first(kit.engine, &kit.err));
    cr_assert_eq(unlink(key_path(path)), 0);
    kit_reopen(&kit);

    cr_assert_eq(quipu_identity_ensure_first(kit.engine, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_not_null(strstr(kit.err.message, source), "%s", kit.err.message);
    cr_assert_eq(access(path, F_OK), -1);
    kit_append(&kit, "a", 1);
    kit_assert_ok(&kit, quipu_identity_ensure_first(kit.engine, &kit.err));
    kit_assert_sound(&kit, 1);
}

Test(identity, goes_on_counting_when_an_old_key_comes_back)
{
    char path[4 * TEMP_DIR_BYTES];
    char aside[4 * TEMP_DIR_BYTES + 4];
    char old[QUIPU_SOURCE_TEXT_BYTES];
    char new[QUIPU_SOURCE_TEXT_BYTES];
    (void)snprintf(aside, sizeof aside, "%s.old", key_path(path));
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    source_of(old);
    cr_assert_eq(rename(path, aside), 0);
    kit_reopen(&kit);
    kit_append(&kit, "a", 3);
    source_of(new);
    cr_assert_eq(rename(aside, path), 0);
    kit_reopen(&kit);
    kit_append(&kit, "a", 4);

    assert_numbered(3, new, 1);
    assert_numbered(4, old, 3);
}

/* ------------------------------------------------------------------ where it is */

Test(identity, stays_in_the_store_whatever_folder_the_process_works_in)
{
    char absolute[sizeof kit.path];
    char path[4 * TEMP_DIR_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES];
    char again[QUIPU_SOURCE_TEXT_BYTES];
    memcpy(absolute, kit.path, sizeof absolute);
    kit_shut(&kit);
    cr_assert_eq(chdir(absolute), 0);
    (void)snprintf(kit.path, sizeof kit.path, ".");
    kit_reopen(&kit);
    cr_assert_eq(chdir("/"), 0);

    kit_append(&kit, "a", 1);
    source_of(source);
    kit_append(&kit, "a", 2);

    assert_numbered(2, source, 2);
    kit_shut(&kit);
    memcpy(kit.path, absolute, sizeof absolute);
    cr_assert_eq(access(key_path(path), F_OK), 0);
    kit_reopen(&kit);
    source_of(again);
    cr_assert_str_eq(again, source);
}

/* ------------------------------------------------------------------ crashes */

static void append_in_child(void *ctx)
{
    (void)ctx;
    kit_reopen(&kit);
    kit_append(&kit, "a", 1);
}

Test(identity, survives_a_crash_on_either_side_of_the_rename)
{
    static const char *const failpoints[] = {"engine.identity.before_rename:kill",
                                             "engine.identity.after_rename:kill"};
    char path[4 * TEMP_DIR_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES];
    for (size_t i = 0; i < 2; i++) {
        kit_shut(&kit);
        int how = kit_run_child(failpoints[i], append_in_child, NULL);
        cr_assert(WIFSIGNALED(how), "the failpoint was reached");
        kit_reopen(&kit);
        cr_assert_eq(access(key_path(path), F_OK) == 0, i == 1);
    }
    uint8_t seed[NKEY_SEED_BYTES];
    kit_assert_ok(&kit,
                  identity_file_read(quipu_store_folder(kit.store), kit.path, seed, &kit.err));
    source_of(source);
    kit_append(&kit, "a", 1);
    assert_numbered(1, source, 1);
    kit_assert_sound(&kit, 1);
}

static void fail_in_child(void *ctx)
{
    enum quipu_status expected = *(enum quipu_status *)ctx;
    kit_reopen(&kit);
    struct quipu_event event = kit_event(&kit, "a", 1);
    enum quipu_status status = quipu_append(kit.engine, &event, NULL, &kit.err);
    _exit(status == expected ? 0 : 1);
}

Test(identity, fails_the_append_where_its_file_cannot_be_written)
{
    enum quipu_status expected = QUIPU_IO;
    kit_shut(&kit);
    int how = kit_run_child("engine.identity.before_rename:fail", fail_in_child, &expected);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    kit_reopen(&kit);
    kit_assert_sound(&kit, 0);
    kit_append(&kit, "a", 1);
}

static enum quipu_status no_random(void *ctx, void *into, size_t len, struct quipu_error *err)
{
    (void)ctx;
    (void)into;
    (void)len;
    return quipu_error_set(err, QUIPU_NO_RANDOM, "none left");
}

Test(identity, fails_without_randomness)
{
    struct quipu_random none = {no_random, NULL};
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    struct quipu_engine *engine = NULL;
    struct quipu_event event = kit_event(&kit, "a", 1);
    size_t failed = 0;
    options.random = &none;
    kit_assert_ok(&kit, quipu_engine_open(kit.store, &options, &engine, &kit.err));

    cr_assert_eq(quipu_identity_ensure(engine, &kit.err), QUIPU_NO_RANDOM);
    cr_assert_eq(quipu_append_batch(engine, &event, 1, NULL, &failed, &kit.err), QUIPU_NO_RANDOM);
    cr_assert_eq(failed, 1, "no event's fault");
    event.event_id = kit_uuid(1);
    cr_assert_eq(quipu_append(engine, &event, NULL, &kit.err), QUIPU_NO_RANDOM);

    quipu_engine_close(&engine);
    kit_assert_sound(&kit, 0);
}
