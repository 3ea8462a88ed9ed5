/*
 * A table of tampered bundles, made by a program. Each is refused with its own status, names the
 * file, and leaves the store's events as they were. Most of them are made by a forger who holds the
 * store's key and puts every CID, the manifest and the signature right again, so that nothing but
 * the rule in question can catch it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "forgeries.h"
#include "run.h"

static struct temp_dir dir;
static struct store_kit vault;
static struct store_kit office;
static char good[PATH_BYTES];
static char path[PATH_BYTES];

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "good.car", good);
    temp_dir_join(&dir, "tampered.car", path);
    store_kit_open(&vault, &dir, "vault");
    store_kit_open(&office, &dir, "office");
    forgeries_init(vault.engine);
    store_kit_append(&vault, FORGERY_EVENTS, 24);
    store_kit_export(&vault, good, NULL);
}

static void tear_down(void)
{
    store_kit_close(&vault);
    store_kit_close(&office);
    temp_dir_release(&dir);
}

TestSuite(tamper, .init = set_up, .fini = tear_down, .timeout = 300);

/* Checked and imported, it is refused alike, and nothing is taken in. */
static void expect_refused(const char *name, enum quipu_status expected, const char *says)
{
    struct quipu_error err = {0};
    struct quipu_bundle_report report;
    uint8_t before[QUIPU_SHA256_BYTES];
    uint8_t after[QUIPU_SHA256_BYTES];
    uint64_t events = store_kit_digest(&office, before);

    enum quipu_status status = quipu_bundle_check(path, &report, &err);
    cr_assert_eq(status, expected, "%s: %s: %s", name, quipu_status_name(status), err.message);
    cr_assert_eq(err.status, expected, "%s", name);
    cr_assert_not_null(strstr(err.message, path), "%s: names the file: %s", name, err.message);
    cr_assert_not_null(strstr(err.message, says), "%s: '%s' is in: %s", name, says, err.message);
    cr_assert_eq(quipu_bundle_check(path, &report, NULL), expected, "%s", name);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), expected, "%s", name);
    cr_assert_eq(store_kit_digest(&office, after), events, "%s", name);
    cr_assert_arr_eq(before, after, sizeof before, "%s", name);
}

Test(tamper, every_row_is_refused_by_its_own_rule)
{
    struct bundle_kit kit;
    for (size_t i = 0; i < forgery_count; i++) {
        bundle_kit_load(&kit, good);
        forgeries[i].tamper(&kit);
        bundle_kit_save(&kit, path);
        expect_refused(forgeries[i].name, forgeries[i].expected, forgeries[i].says);
        bundle_kit_release(&kit);
    }
}

Test(tamper, taken_apart_and_put_together_it_is_still_good)
{
    struct bundle_kit kit;
    struct quipu_bundle_manifest m;
    struct quipu_error err;
    bundle_kit_load(&kit, good);
    bundle_kit_manifest(&kit, &m);
    struct quipu_buf block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_bundle_manifest_encode(&m, &block, NULL), QUIPU_OK);
    bundle_kit_grow_tree(&kit, &m);
    bundle_kit_seal_block(&kit, quipu_buf_slice(&block), vault.engine);
    bundle_kit_save(&kit, path);

    cr_assert_eq(quipu_bundle_check(path, NULL, &err), QUIPU_OK, "%s", err.message);
    struct quipu_slice before = read_file(good);
    struct quipu_slice after = read_file(path);
    cr_assert(quipu_slice_equal(before, after), "Ed25519 is deterministic: the very same bytes");
    free_file(&before);
    free_file(&after);
    quipu_buf_release(&block);
    quipu_bundle_manifest_release(&m);
    bundle_kit_release(&kit);
}

/* ------------------------------------------------------------------ every byte */

Test(tamper, a_flipped_bit_in_any_byte_is_refused)
{
    struct quipu_slice file = read_file(good);
    struct quipu_buf changed = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&changed, file);
    write_file(path, file);

    for (size_t at = 0; at < file.len; at++) {
        uint8_t bit = (uint8_t)(1u << at % 8);
        changed.data[at] ^= bit;
        write_file(path, quipu_buf_slice(&changed));
        enum quipu_status status = quipu_bundle_check(path, NULL, NULL);
        cr_assert_geq(status, 10, "byte %zu of %zu", at, file.len);
        changed.data[at] ^= bit;
    }
    write_file(path, quipu_buf_slice(&changed));
    cr_assert_eq(quipu_bundle_check(path, NULL, NULL), QUIPU_OK);
    quipu_buf_release(&changed);
    free_file(&file);
}

Test(tamper, a_cut_at_any_section_or_beside_it_is_refused)
{
    struct quipu_slice file = read_file(good);
    struct bundle_kit kit;
    bundle_kit_load(&kit, good);
    for (size_t i = 0; i <= kit.count; i++) {
        size_t boundary = i < kit.count ? kit.sections[i].offset : file.len;
        for (int beside = -1; beside <= 1; beside++) {
            size_t len = boundary + (size_t)beside;
            if (len >= file.len) {
                continue;
            }
            write_file(path, quipu_slice(file.data, len));
            expect_refused("cut", QUIPU_CAR_TRUNCATED, "");
        }
    }
    bundle_kit_release(&kit);
    free_file(&file);
}

Test(tamper, bytes_behind_the_end_are_refused)
{
    struct quipu_slice file = read_file(good);
    struct quipu_buf longer = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&longer, file);
    quipu_buf_append_byte(&longer, 0);
    write_file(path, quipu_buf_slice(&longer));
    expect_refused("a zero", QUIPU_CAR, "behind the last event");
    longer.data[longer.len - 1] = 0x7f;
    write_file(path, quipu_buf_slice(&longer));
    expect_refused("a length", QUIPU_CAR_TRUNCATED, "behind the last event");
    quipu_buf_release(&longer);
    free_file(&file);
}

Test(tamper, what_is_wrong_fits_on_the_line_behind_a_long_path)
{
    char deep[1024];
    struct quipu_error err;
    struct quipu_slice file = read_file(good);
    (void)snprintf(deep, sizeof deep, "%s", dir.path);
    for (int i = 0; i < 3; i++) {
        size_t used = strlen(deep);
        (void)snprintf(deep + used, sizeof deep - used, "/%0200d", i);
        cr_assert_eq(mkdir(deep, 0700), 0);
    }
    (void)snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "/tampered.car");
    write_file(deep, quipu_slice(file.data, file.len - 1));

    cr_assert_eq(quipu_bundle_check(deep, NULL, &err), QUIPU_CAR_TRUNCATED);
    cr_assert_not_null(strstr(err.message, "/tampered.car: event 12 of 12"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "cut short"), "%s", err.message);
    free_file(&file);
}

/* ------------------------------------------------------------------ several signers */

Test(tamper, a_second_signer_may_be_the_trusted_one)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_bundle_root root;
    struct sign_kit auditor;
    struct bundle_kit kit;
    struct quipu_buf signature = QUIPU_BUF_INIT;
    struct quipu_error err;
    char text[QUIPU_SOURCE_TEXT_BYTES];
    const char *trusted[1] = {text};
    sign_kit_init(&auditor);
    quipu_nkey_format('U', auditor.public_key, text);
    bundle_kit_load(&kit, good);
    bundle_kit_root(&kit, &root);
    sign_kit_sign(&auditor, QUIPU_BUNDLE_NAMESPACE, QUIPU_SSHSIG_SHA256, bundle_kit_block(&kit, 1),
                  &signature);
    root.signatures[root.signature_count++] = quipu_buf_slice(&signature);
    bundle_kit_set_root(&kit, &root);
    bundle_kit_save(&kit, path);
    options.trusted = trusted;
    options.trusted_count = 1;

    cr_assert_eq(quipu_import(office.engine, good, &options, &report, NULL), QUIPU_UNTRUSTED);
    cr_assert_eq(quipu_import(office.engine, path, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_str_eq(report.bundle.signer, text);
    cr_assert_str_neq(report.bundle.source, text);
    cr_assert_eq(report.events.added, FORGERY_EVENTS);
    quipu_buf_release(&signature);
    bundle_kit_release(&kit);
}

/* ------------------------------------------------------------------ one behind the other */

static void export_next(struct store_kit *kit, const char *name, struct quipu_bundle_report *found)
{
    struct quipu_error err;
    char to[PATH_BYTES];
    temp_dir_join(&dir, name, to);
    store_kit_append(kit, 5, 8);
    store_kit_export(kit, to, NULL);
    cr_assert_eq(quipu_bundle_check(to, found, &err), QUIPU_OK, "%s", err.message);
}

/* A copy of the vault as it is now, key and all. */
static void copy_vault(const char *name, struct store_kit *copy)
{
    char to[PATH_BYTES];
    temp_dir_join(&dir, name, to);
    const char *const argv[] = {"/bin/cp", "-r", vault.path, to, NULL};
    store_kit_close(&vault);
    cr_assert_eq(run(argv, NULL), 0);
    store_kit_open(&vault, &dir, "vault");
    store_kit_open(copy, &dir, name);
}

static void expect_order(const struct quipu_bundle_report *before,
                         const struct quipu_bundle_report *bundle, enum quipu_status expected,
                         const char *says)
{
    struct quipu_bundle_place place = quipu_bundle_place_of(before);
    struct quipu_error err = {0};
    enum quipu_status status = quipu_bundle_follows(&place, bundle, &err);
    cr_assert_eq(status, expected, "%s: %s", quipu_status_name(status), err.message);
    cr_assert_not_null(strstr(err.message, says), "'%s' is in: %s", says, err.message);
}

Test(tamper, old_missing_and_twin_bundles_of_a_source_have_their_own_verdict)
{
    struct quipu_bundle_report first;
    struct quipu_bundle_report row[4];
    struct quipu_bundle_report twin[2];
    struct quipu_bundle_report forged;
    struct store_kit rolled_back;
    cr_assert_eq(quipu_bundle_check(good, &first, NULL), QUIPU_OK);
    export_next(&vault, "2.car", &row[0]);
    copy_vault("rolled-back", &rolled_back);
    for (size_t i = 1; i < 4; i++) {
        const char *const names[] = {"", "3.car", "4.car", "5.car"};
        export_next(&vault, names[i], &row[i]);
    }
    export_next(&rolled_back, "twin-3.car", &twin[0]);
    export_next(&rolled_back, "twin-4.car", &twin[1]);
    forged = twin[1]; /* who holds the key links to the real one before */
    forged.previous = row[1].manifest;

    cr_assert_eq(quipu_bundle_follows(NULL, &first, NULL), QUIPU_OK);
    expect_order(&first, &row[0], QUIPU_OK, "");
    expect_order(&row[0], &row[1], QUIPU_OK, "");
    expect_order(&row[1], &row[2], QUIPU_OK, "");
    cr_assert_eq(quipu_bundle_follows(NULL, &row[0], NULL), QUIPU_GAP);
    expect_order(&first, &row[1], QUIPU_GAP, "bundle 2 of source");
    expect_order(&first, &row[3], QUIPU_GAP, "bundles 2 to 4 of source");
    expect_order(&row[2], &row[2], QUIPU_EXISTS, "known already");
    expect_order(&row[2], &row[0], QUIPU_INVALID, "an old one");
    expect_order(&row[1], &twin[0], QUIPU_FORK, "two different bundles with the number 3");
    expect_order(&row[1], &twin[1], QUIPU_FORK, "does not follow");
    expect_order(&row[1], &forged, QUIPU_FORK, "another log");
    store_kit_close(&rolled_back);
}

/* ------------------------------------------------------------------ chunks */

static const struct {
    const char *name;
    int chunk;
    const char *says;
} chunk_rows[] = {
    {"chunks swapped", -1, "part 1 of 4"},
    {"chunk missing", -2, "part 2 of 4"},
    {"chunk twice", -3, "part 2 of 4"},
    {"chunk of another length", -4, "part 4 of 4"},
};

/* A last chunk with one link fewer, everything put right. */
static void shorten_last_chunk(struct bundle_kit *kit)
{
    struct quipu_bundle_manifest m;
    struct quipu_buf kept = QUIPU_BUF_INIT;
    struct quipu_buf digests = QUIPU_BUF_INIT;
    struct quipu_buf chunk = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&kept, bundle_kit_block(kit, 1));
    cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&kept), &m, NULL), QUIPU_OK);
    uint64_t links = m.tree_size - 3 * (uint64_t)QUIPU_BUNDLE_CHUNK_LINKS_MAX;
    cr_assert_eq(quipu_bundle_chunk_decode(bundle_kit_block(kit, 5), links, &digests, NULL),
                 QUIPU_OK);
    digests.len -= QUIPU_SHA256_BYTES;
    cr_assert_eq(quipu_bundle_chunk_encode(quipu_buf_slice(&digests), &chunk, NULL), QUIPU_OK);
    bundle_kit_replace(kit, 5, QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&chunk));
    memcpy(m.links.data + 3 * QUIPU_SHA256_BYTES, bundle_kit_cid(kit, 5).digest,
           QUIPU_SHA256_BYTES);
    bundle_kit_seal(kit, &m, vault.engine);
    quipu_bundle_manifest_release(&m);
    quipu_buf_release(&kept);
    quipu_buf_release(&digests);
    quipu_buf_release(&chunk);
}

Test(tamper, chunks_of_a_large_bundle_are_held_to_the_manifest)
{
    char large[PATH_BYTES];
    temp_dir_join(&dir, "large.car", large);
    store_kit_append(&vault, 25001, 0);
    store_kit_export(&vault, large, NULL);
    for (size_t i = 0; i < sizeof chunk_rows / sizeof chunk_rows[0]; i++) {
        struct bundle_kit kit;
        bundle_kit_load(&kit, large);
        switch (chunk_rows[i].chunk) {
        case -1:
            bundle_kit_swap(&kit, 2, 3);
            break;
        case -2:
            bundle_kit_remove(&kit, 3);
            break;
        case -3:
            insert_copy(&kit, 3, 2);
            break;
        default:
            shorten_last_chunk(&kit);
            break;
        }
        bundle_kit_save(&kit, path);
        expect_refused(chunk_rows[i].name, QUIPU_BUNDLE, chunk_rows[i].says);
        bundle_kit_release(&kit);
    }
}
