/*
 * Key files when something goes wrong on the way: a kill or a failure at each step, memory that
 * runs out, and what stays in memory. There is always a usable key, or none was promised yet.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keyring_kit.h"
#include "quipu/alloc.h"
#include "quipu/bundle.h"
#include "quipu/receipts.h"
#include "run.h"

#define SECOND_PASSPHRASE "the second passphrase"

static struct temp_dir dir;
static char path[2 * TEMP_DIR_BYTES];
static struct quipu_error err;

static void setup(void)
{
    temp_dir_init(&dir);
    (void)temp_dir_join(&dir, "key", path);
}

static void teardown(void)
{
    temp_dir_release(&dir);
}

TestSuite(keyring_steps, .init = setup, .fini = teardown, .timeout = 300);

/* ------------------------------------------------------------------ the work */

/* `to` NULL: plain. */
static enum quipu_status make(const char *to)
{
    struct quipu_key_options options = keyring_kit_options();
    struct quipu_age_secrets *secrets = NULL;
    enum quipu_status status = quipu_age_secrets_new(&secrets, &err);
    if (status == QUIPU_OK && to != NULL) {
        status = quipu_age_secrets_set_passphrase(secrets, quipu_slice_text(to), &err);
    }
    options.passphrase = to == NULL ? NULL : secrets;
    if (status == QUIPU_OK) {
        status = quipu_key_make(path, QUIPU_KEY_SIGNING, &options, NULL, &err);
    }
    quipu_age_secrets_free(&secrets);
    return status;
}

static enum quipu_status rewrap(const char *from, const char *to)
{
    struct keyring_kit_asked asked = {from, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    struct quipu_key_options options = keyring_kit_options();
    struct quipu_age_secrets *secrets = NULL;
    enum quipu_status status = quipu_age_secrets_new(&secrets, &err);
    if (status == QUIPU_OK && to != NULL) {
        status = quipu_age_secrets_set_passphrase(secrets, quipu_slice_text(to), &err);
    }
    options.passphrase = to == NULL ? NULL : secrets;
    if (status == QUIPU_OK) {
        status = quipu_key_rewrap(path, &ask, &options, NULL, &err);
    }
    quipu_age_secrets_free(&secrets);
    return status;
}

/* The key that opens with `passphrase`; empty where it does not. */
static void public_of(const char *passphrase, char out[QUIPU_AGE_RECIPIENT_TEXT_BYTES])
{
    struct keyring_kit_asked asked = {passphrase, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    struct quipu_key_public found;
    out[0] = 0;
    if (quipu_key_look(path, &ask, &found, &err) == QUIPU_OK) {
        memcpy(out, found.text, sizeof found.text);
    }
}

/* ------------------------------------------------------------------ a medium that loses bytes */

static off_t spoil_at = -1;

/* Asked for between writing and reading back. The program stands in for the system here: a byte
 * changes on the medium. */
int posix_fadvise(int fd, off_t offset, off_t len, int advice)
{
    uint8_t byte = 0;
    (void)offset;
    (void)len;
    (void)advice;
    if (spoil_at >= 0 && pread(fd, &byte, 1, spoil_at) == 1) {
        byte ^= 1;
        cr_assert_eq(pwrite(fd, &byte, 1, spoil_at), 1);
    }
    return 0;
}

/* A key file is named only when it was read back and opened. */
Test(keyring_steps, file_that_is_not_what_was_written_is_never_named)
{
    static const off_t places[] = {1, 20, 57}; /* of the 59 bytes of a plain key */
    char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    char again[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        spoil_at = places[i];
        cr_assert_eq(make(NULL), QUIPU_IO, "byte %ld", (long)places[i]);
        cr_assert_not_null(strstr(err.message, "read back"), "%s", err.message);
        cr_assert_eq(make(KEYRING_KIT_PASSPHRASE), QUIPU_IO, "byte %ld", (long)places[i]);
        cr_assert_neq(access(path, F_OK), 0);
    }
    spoil_at = -1;
    cr_assert_eq(make(KEYRING_KIT_PASSPHRASE), QUIPU_OK, "%s", err.message);
    public_of(KEYRING_KIT_PASSPHRASE, text);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        spoil_at = places[i];
        cr_assert_eq(rewrap(KEYRING_KIT_PASSPHRASE, NULL), QUIPU_IO);
        cr_assert_eq(rewrap(KEYRING_KIT_PASSPHRASE, SECOND_PASSPHRASE), QUIPU_IO);
    }
    spoil_at = -1;
    public_of(KEYRING_KIT_PASSPHRASE, again);
    cr_assert_neq(text[0], 0);
    cr_assert_str_eq(again, text);
    keyring_kit_assert_alone(&dir, "key");
}

#ifdef QUIPU_FAILPOINTS

static const struct {
    const char *name;
    bool is_named; /* the new file has the name by then */
} steps[] = {
    {"airgap.keyring.begin", false},  {"airgap.keyring.write", false},
    {"airgap.keyring.sync", false},   {"airgap.keyring.check", false},
    {"airgap.keyring.rename", false}, {"airgap.keyring.named", true},
};

#define STEPS (sizeof steps / sizeof steps[0])

/* In a process of its own, with a failpoint armed: a status, or -signal. */
static int run_armed(const char *step, const char *action, bool is_rewrap, const char *to)
{
    int state = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        char armed[128];
        (void)snprintf(armed, sizeof armed, "%s:%s", step, action);
        (void)setenv("QUIPU_FAILPOINT", armed, 1);
        _exit((int)(is_rewrap ? rewrap(KEYRING_KIT_PASSPHRASE, to) : make(to)));
    }
    cr_assert_eq(waitpid(child, &state, 0), child);
    return WIFSIGNALED(state) ? -WTERMSIG(state) : WEXITSTATUS(state);
}

Test(keyring_steps, key_that_was_being_made_is_there_whole_or_not_at_all)
{
    static const char *const covers[] = {NULL, KEYRING_KIT_PASSPHRASE};
    static const char *const actions[] = {"kill", "fail"};
    for (size_t i = 0; i < 4 * STEPS; i++) {
        const char *cover = covers[i % 2];
        const char *action = actions[i / 2 % 2];
        char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
        int expected = action[0] == 'k' ? -SIGKILL : (int)QUIPU_IO;

        cr_assert_eq(run_armed(steps[i / 4].name, action, false, cover), expected, "%s",
                     steps[i / 4].name);

        public_of(cover, text);
        cr_assert_eq(text[0] != 0, steps[i / 4].is_named, "%s, %s", steps[i / 4].name, action);
        cr_assert_eq(access(path, F_OK) == 0, steps[i / 4].is_named);
        if (action[0] == 'f') {
            keyring_kit_assert_alone(&dir, "key");
        }
        (void)unlink(path);
        cr_assert_eq(make(cover), QUIPU_OK, "%s blocks the next run: %s", steps[i / 4].name,
                     err.message);
        keyring_kit_assert_alone(&dir, "key");
        cr_assert_eq(unlink(path), 0);
    }
}

Test(keyring_steps, key_that_gets_another_cover_is_usable_at_each_step)
{
    static const char *const covers[] = {NULL, SECOND_PASSPHRASE};
    static const char *const actions[] = {"kill", "fail"};
    for (size_t i = 0; i < 4 * STEPS; i++) {
        const char *to = covers[i % 2];
        const char *action = actions[i / 2 % 2];
        struct quipu_key_public before;
        char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
        int expected = action[0] == 'k' ? -SIGKILL : (int)QUIPU_IO;
        keyring_kit_make(path, QUIPU_KEY_SIGNING, KEYRING_KIT_PASSPHRASE, QUIPU_AGE_ARMORED,
                         &before);

        cr_assert_eq(run_armed(steps[i / 4].name, action, true, to), expected, "%s",
                     steps[i / 4].name);

        public_of(steps[i / 4].is_named ? to : KEYRING_KIT_PASSPHRASE, text);
        cr_assert_str_eq(text, before.text, "%s, %s", steps[i / 4].name, action);
        if (action[0] == 'f') {
            keyring_kit_assert_alone(&dir, "key");
        }
        if (!steps[i / 4].is_named) {
            cr_assert_eq(rewrap(KEYRING_KIT_PASSPHRASE, to), QUIPU_OK, "%s blocks: %s",
                         steps[i / 4].name, err.message);
            public_of(to, text);
            cr_assert_str_eq(text, before.text);
        }
        (void)unlink(path);
    }
}

#endif

/* A disk that takes only so many bytes: the old file stays, nothing else does. */
Test(keyring_steps, full_disk_leaves_the_old_key)
{
    struct quipu_key_public before;
    char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    keyring_kit_make(path, QUIPU_KEY_SIGNING, KEYRING_KIT_PASSPHRASE, QUIPU_AGE_ARMORED, &before);
    struct quipu_slice file = read_file(path);
    for (size_t bytes = 0; bytes < file.len; bytes += 37) {
        int state = 0;
        (void)fflush(NULL);
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            struct rlimit limit = {bytes, bytes};
            (void)signal(SIGXFSZ, SIG_IGN);
            _exit(setrlimit(RLIMIT_FSIZE, &limit) == 0
                      ? (int)rewrap(KEYRING_KIT_PASSPHRASE, SECOND_PASSPHRASE)
                      : 99);
        }
        cr_assert_eq(waitpid(child, &state, 0), child);
        cr_assert(WIFEXITED(state));
        cr_assert(WEXITSTATUS(state) == (int)QUIPU_IO ||
                      WEXITSTATUS(state) == (int)QUIPU_TOO_LARGE ||
                      WEXITSTATUS(state) == (int)QUIPU_NO_SPACE,
                  "%zu bytes: status %d", bytes, WEXITSTATUS(state));
        public_of(KEYRING_KIT_PASSPHRASE, text);
        cr_assert_str_eq(text, before.text);
        keyring_kit_assert_alone(&dir, "key");
    }
    free_file(&file);
}

/* ------------------------------------------------------------------ memory */

static size_t calls;
static size_t fail_at; /* 0: none */
static long live;
static const char *wanted; /* what no block may hold when it is given back */
static size_t found;

static void *count_reallocate(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    if (++calls == fail_at) {
        return NULL;
    }
    /* Never in place: what realloc would leave behind is looked at as well. */
    void *made = malloc(bytes);
    if (made != NULL && pointer != NULL) {
        size_t old = malloc_usable_size(pointer);
        memcpy(made, pointer, old < bytes ? old : bytes);
        found += wanted != NULL && memmem(pointer, old, wanted, strlen(wanted)) != NULL;
        free(pointer);
    } else if (made != NULL) {
        live++;
    }
    return made;
}

static void count_release(void *ctx, void *pointer)
{
    (void)ctx;
    if (pointer != NULL) {
        size_t old = malloc_usable_size(pointer);
        found += wanted != NULL && memmem(pointer, old, wanted, strlen(wanted)) != NULL;
        live--;
        free(pointer);
    }
}

static const struct quipu_allocator counting = {count_reallocate, count_release, NULL};

static enum quipu_status load(const char *passphrase)
{
    struct keyring_kit_asked asked = {passphrase, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    struct quipu_signing_key *key = NULL;
    enum quipu_status status = quipu_signing_key_load(path, &ask, &key, &err);
    quipu_signing_key_free(&key);
    return status;
}

/* What one allocation that fails does, for each of them. */
static void sweep(enum quipu_status (*work)(void))
{
    enum quipu_status status = QUIPU_NO_MEMORY;
    size_t n = 0;
    while (status != QUIPU_OK) {
        calls = 0;
        fail_at = ++n;
        status = work();
        fail_at = 0;
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "allocation %zu: %s", n,
                  err.message);
        cr_assert_eq(live, 0, "allocation %zu: %ld blocks leaked", n, live);
    }
    cr_assert_gt(n, 1u, "nothing was allocated");
}

static enum quipu_status make_wrapped(void)
{
    return make(KEYRING_KIT_PASSPHRASE);
}

static enum quipu_status load_wrapped(void)
{
    return load(KEYRING_KIT_PASSPHRASE);
}

static enum quipu_status change(void)
{
    return rewrap(KEYRING_KIT_PASSPHRASE, SECOND_PASSPHRASE);
}

static enum quipu_status look_at_identity(void)
{
    struct keyring_kit_asked asked = {SECOND_PASSPHRASE, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    struct quipu_key_public public_key;
    return quipu_key_look(path, &ask, &public_key, &err);
}

Test(keyring_steps, whichever_allocation_fails_it_is_said_and_nothing_leaks)
{
    char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    quipu_alloc_set(&counting);

    sweep(make_wrapped);
    sweep(load_wrapped);
    sweep(change);
    public_of(SECOND_PASSPHRASE, text);
    cr_assert_neq(text[0], 0);
    cr_assert_eq(unlink(path), 0);
    keyring_kit_make(path, QUIPU_KEY_AGE, SECOND_PASSPHRASE, QUIPU_AGE_BINARY, NULL);
    sweep(look_at_identity);
    keyring_kit_assert_alone(&dir, "key");

    quipu_alloc_set(NULL);
}

#ifdef QUIPU_FAILPOINTS
/* Guarded pages come from elsewhere; each of them may fail too. */
Test(keyring_steps, whichever_guarded_page_fails_it_is_said_and_nothing_leaks)
{
    enum quipu_status status = QUIPU_NO_MEMORY;
    int n = 0;
    quipu_alloc_set(&counting);
    while (status != QUIPU_OK) {
        int state = 0;
        n++;
        (void)fflush(NULL);
        pid_t child = fork(); /* the failpoint counts from the start of a process */
        cr_assert_geq(child, 0);
        if (child == 0) {
            char armed[64];
            (void)snprintf(armed, sizeof armed, "airgap.age.secret:fail:%d", n);
            (void)setenv("QUIPU_FAILPOINT", armed, 1);
            (void)unlink(path);
            enum quipu_status made = make_wrapped();
            made = made == QUIPU_OK ? change() : made;
            _exit(live == 0 ? (int)made : 99);
        }
        cr_assert_eq(waitpid(child, &state, 0), child);
        cr_assert(WIFEXITED(state));
        status = (enum quipu_status)WEXITSTATUS(state);
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "page %d: status %d", n,
                  (int)status);
    }
    cr_assert_gt(n, 5);
    quipu_alloc_set(NULL);
}
#endif

/* Blocks of ordinary memory, at the moment when they are given back, hold neither the key nor the
 * passphrase. The stack behind us holds no key either. */
Test(keyring_steps, memory_that_is_given_back_was_wiped)
{
    char seed[64];
    keyring_kit_make(path, QUIPU_KEY_SIGNING, NULL, QUIPU_AGE_BINARY, NULL);
    struct quipu_slice file = read_file(path);
    memcpy(seed, file.data, 58);
    seed[58] = 0;
    free_file(&file);
    quipu_alloc_set(&counting);
    static const char *const secrets[] = {NULL, KEYRING_KIT_PASSPHRASE, SECOND_PASSPHRASE};
    for (size_t i = 0; i < 3; i++) {
        wanted = i == 0 ? seed : secrets[i];

        cr_assert_eq(rewrap(NULL, KEYRING_KIT_PASSPHRASE), QUIPU_OK, "%s", err.message);
        cr_assert_eq(load_wrapped(), QUIPU_OK, "%s", err.message);
        cr_assert_eq(change(), QUIPU_OK, "%s", err.message);
        cr_assert_eq(load(KEYRING_KIT_PASSPHRASE), QUIPU_AGE_NO_MATCH);
        cr_assert_eq(rewrap(SECOND_PASSPHRASE, NULL), QUIPU_OK, "%s", err.message);
        cr_assert_eq(load(NULL), QUIPU_OK, "%s", err.message);

        cr_assert_eq(found, 0u, "%zu blocks held secret %zu", found, i);
        cr_assert_eq(live, 0);
    }
    wanted = NULL;
    quipu_alloc_set(NULL);
}

/* The test above can fail: what a careless caller does is seen. */
Test(keyring_steps, memory_that_was_not_wiped_is_seen)
{
    quipu_alloc_set(&counting);
    wanted = KEYRING_KIT_PASSPHRASE;
    char *block = quipu_alloc(64, 1);
    cr_assert_not_null(block);
    (void)snprintf(block, 64, "%s", KEYRING_KIT_PASSPHRASE);
    quipu_free(block);
    cr_assert_eq(found, 1u);
    wanted = NULL;
    quipu_alloc_set(NULL);
}

/* Where the system locks no page, the key works, and says that it may reach swap. */
Test(keyring_steps, limit_for_locked_memory_is_told)
{
    /* What this process may do is asked of the system itself: root may lock whatever the limit. */
    struct rlimit none = {0, 0};
    static uint8_t page[8192];
    struct quipu_signing_key *key = NULL;
    keyring_kit_make(path, QUIPU_KEY_SIGNING, NULL, QUIPU_AGE_BINARY, NULL);
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    bool can_lock = mlock(page, sizeof page) == 0;

    cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_OK, "%s", err.message);

    cr_assert_eq(quipu_signing_key_is_locked(key), can_lock);
    quipu_signing_key_free(&key);
}

/* ------------------------------------------------------------------ what a store signs */

static void open_store(const char *folder, struct quipu_store **store, struct quipu_engine **engine)
{
    cr_assert_eq(quipu_store_open(folder, NULL, store, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_engine_open(*store, NULL, engine, &err), QUIPU_OK, "%s", err.message);
}

/* A locked key costs no bundle number, and leaves no file. */
Test(keyring_steps, bundle_of_a_locked_store_is_not_begun)
{
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_key_options options = keyring_kit_options();
    struct quipu_export_report report;
    struct quipu_receipts_report receipts;
    char folder[2 * TEMP_DIR_BYTES];
    char bundle[2 * TEMP_DIR_BYTES];
    char key[2 * TEMP_DIR_BYTES];
    struct quipu_event event = {
        .type = "key.generated",
        .aggregate = {"key", "root"},
        .payload = quipu_slice("\xa0", 1),
    };
    open_store(temp_dir_join(&dir, "store", folder), &store, &engine);
    cr_assert_eq(quipu_append(engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);
    struct quipu_age_secrets *secrets = keyring_kit_secrets(KEYRING_KIT_PASSPHRASE);
    options.passphrase = secrets;
    cr_assert_eq(
        quipu_key_rewrap(temp_dir_join(&dir, "store/signing.key", key), NULL, &options, NULL, &err),
        QUIPU_OK, "%s", err.message);
    quipu_age_secrets_free(&secrets);
    (void)temp_dir_join(&dir, "out.car", bundle);

    cr_assert_eq(quipu_export(engine, bundle, NULL, &report, &err), QUIPU_KEY_LOCKED);
    cr_assert_eq(quipu_receipts_export(engine, bundle, NULL, &receipts, &err), QUIPU_KEY_LOCKED);

    cr_assert_neq(access(bundle, F_OK), 0);
    struct keyring_kit_asked asked = {KEYRING_KIT_PASSPHRASE, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    cr_assert_eq(quipu_engine_unlock(engine, &ask, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_export(engine, bundle, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.number, 1u);
    cr_assert_not(report.was_interrupted);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
}
