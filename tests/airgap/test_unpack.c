/*
 * The auditor's folder: what is in it, and that it is whole or not there. That stock tools find
 * what it says is tests/interop/auditor.sh's to show.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "bundle_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/event_lines.h"
#include "run.h"

static struct temp_dir dir;
static struct store_kit vault;
static char bundle[PATH_BYTES];
static char folder[PATH_BYTES];

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "out.car", bundle);
    temp_dir_join(&dir, "audit", folder);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, 60, 40);
    store_kit_export(&vault, bundle, NULL);
}

static void tear_down(void)
{
    store_kit_close(&vault);
    temp_dir_release(&dir);
}

TestSuite(unpack, .init = set_up, .fini = tear_down, .timeout = 120);

static struct quipu_slice file_of(const char *name)
{
    char path[2 * PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return read_file(path);
}

Test(unpack, holds_the_bundle_its_manifest_and_every_event)
{
    struct quipu_bundle_report report;
    struct bundle_kit kit;
    struct quipu_error err;
    size_t lines = 0;
    cr_assert_eq(quipu_bundle_unpack(bundle, NULL, folder, &report, &err), QUIPU_OK, "%s",
                 err.message);

    struct quipu_slice original = read_file(bundle);
    struct quipu_slice car = file_of("events.car");
    struct quipu_slice manifest = file_of("manifest.cbor");
    struct quipu_slice events = file_of("events.ndjson");
    bundle_kit_load(&kit, bundle);
    cr_assert(quipu_slice_equal(original, car));
    cr_assert(quipu_slice_equal(manifest, bundle_kit_block(&kit, 1)));
    for (size_t i = 0; i < events.len; i++) {
        lines += events.data[i] == '\n';
    }
    cr_assert_eq(lines, 60u);
    cr_assert_eq(report.events, 60u);
    cr_assert_eq(count_names(dir.path, ""), 3u);
    bundle_kit_release(&kit);
    free_file(&original);
    free_file(&car);
    free_file(&manifest);
    free_file(&events);
}

static void append(struct quipu_slice payload, struct quipu_slice meta)
{
    struct quipu_error err;
    struct quipu_event event = {
        .type = "note.written", .aggregate = {"note", "a"}, .payload = payload, .meta = meta};
    cr_assert_eq(quipu_append(vault.engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);
}

/* An event of another store, with a payload that is no DAG-CBOR. */
static void take_raw(struct quipu_slice payload)
{
    struct quipu_lines_import_options options = QUIPU_LINES_IMPORT_OPTIONS_INIT;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf line = QUIPU_BUF_INIT;
    struct store_kit other;
    struct quipu_event_view event;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    store_kit_open(&other, &dir, "other");
    store_kit_append(&other, 1, 10);
    cr_assert_eq(quipu_identity_source(other.engine, source, &err), QUIPU_OK, "%s", err.message);
    store_kit_close(&other);
    event.envelope = (struct quipu_envelope){
        .event_id = {{1}},
        .event_type = quipu_slice_text("note.sealed"),
        .schema = 1,
        .aggregate_type = quipu_slice_text("note"),
        .aggregate_id = quipu_slice_text("sealed"),
        .version = 1,
        .payload = quipu_cid_of(QUIPU_CODEC_RAW, payload),
        .correlation_id = {{2}},
        .source = quipu_slice_text(source),
        .source_seq = 1,
        .enc = quipu_slice("\xa0", 1),
    };
    cr_assert_eq(quipu_envelope_encode(&event.envelope, &block, &err), QUIPU_OK, "%s", err.message);
    event.envelope_block = quipu_buf_slice(&block);
    event.payload = payload;
    event.cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event.envelope_block);
    cr_assert_eq(quipu_event_line_write(&event, &line, &err), QUIPU_OK, "%s", err.message);
    struct quipu_slice text = quipu_buf_slice(&line);
    cr_assert_eq(quipu_lines_import(vault.engine, quipu_source_slice(&text), &options, NULL, &err),
                 QUIPU_OK, "%s", err.message);
    quipu_buf_release(&block);
    quipu_buf_release(&line);
}

/* The line that shows the n-th event, from 1. */
static void line_of(struct quipu_slice events, size_t n, char out[4096])
{
    const char *at = (const char *)events.data;
    const char *end = at;
    for (size_t i = 0; i < n; i++) {
        at = end + (i == 0 ? 0 : 1);
        end = memchr(at, '\n', events.len - (size_t)(at - (const char *)events.data));
        cr_assert_not_null(end);
    }
    cr_assert_lt(end - at, 4096);
    memcpy(out, at, (size_t)(end - at));
    out[end - at] = 0;
}

Test(unpack, what_dag_json_cannot_carry_stands_as_bytes)
{
    static const struct {
        const char *has;
        const char *ends;
    } expected[] = {
        {",\"envelope\":{", ",\"payload_bytes\":{\"/\":{\"bytes\":\"oWEvYXg\"}}}"},
        {",\"envelope\":{", ",\"payload\":{\"/\":1}}"},
        {",\"envelope_bytes\":{\"/\":{\"bytes\":\"", ",\"payload\":{\"/\":1}}"},
        {",\"envelope_bytes\":{\"/\":{\"bytes\":\"",
         ",\"payload_bytes\":{\"/\":{\"bytes\":\"oWEvYXg\"}}}"},
        {",\"payload_bytes\":{\"/\":{\"bytes\":\"gYGB", "gYGBgYA\"}}}"}, /* the greatest depth */
        {",\"envelope\":{", ",\"payload\":{\"/\":{\"bytes\":\"AAEC\"}}}"},
    };
    static const struct quipu_slice none = {NULL, 0};
    struct quipu_slice text = quipu_slice("\xa1\x61/\x61x", 5); /* {"/": "x"} */
    struct quipu_slice number = quipu_slice("\xa1\x61/\x01", 4);
    struct quipu_error err;
    uint8_t deepest[QUIPU_DAGCBOR_DEPTH_DEFAULT];
    char line[4096];
    memset(deepest, 0x81, sizeof deepest - 1);
    deepest[sizeof deepest - 1] = 0x80;
    append(text, none);
    append(number, none);
    append(number, text);
    append(text, text);
    append(quipu_slice(deepest, sizeof deepest), none);
    take_raw(quipu_slice("\0\1\2", 3));
    cr_assert_eq(remove(bundle), 0);
    store_kit_export(&vault, bundle, NULL);

    cr_assert_eq(quipu_bundle_unpack(bundle, NULL, folder, NULL, &err), QUIPU_OK, "%s",
                 err.message);

    struct quipu_slice events = file_of("events.ndjson");
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        line_of(events, 61 + i, line);
        cr_assert_not_null(strstr(line, expected[i].has), "%s", line);
        size_t end = strlen(expected[i].ends);
        cr_assert_geq(strlen(line), end);
        cr_assert_str_eq(line + strlen(line) - end, expected[i].ends, "%zu", i);
    }
    free_file(&events);
}

Test(unpack, what_is_there_is_not_touched_and_what_is_wrong_is_not_unpacked)
{
    struct quipu_bundle_check_options options = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    const char *const trusted[] = {"UBAD"};
    cr_assert_eq(quipu_bundle_unpack(bundle, NULL, vault.path, NULL, NULL), QUIPU_EXISTS);
    options.trusted = trusted;
    options.trusted_count = 1;
    cr_assert_eq(quipu_bundle_unpack(bundle, &options, folder, NULL, NULL), QUIPU_INVALID);
    struct quipu_slice file = read_file(bundle);
    write_file(bundle, quipu_slice(file.data, file.len - 1));
    cr_assert_eq(quipu_bundle_unpack(bundle, NULL, folder, NULL, NULL), QUIPU_CAR_TRUNCATED);
    free_file(&file);
    cr_assert_eq(count_names(dir.path, ""), 2u);
}

static enum quipu_status unpack(struct quipu_error *err)
{
    return quipu_bundle_unpack(bundle, NULL, folder, NULL, err);
}

Test(unpack, a_failure_at_any_step_leaves_no_folder)
{
    static const char *const points[] = {"airgap.export.create:fail", "airgap.export.rename:fail"};
    char failpoint[64];
    size_t syncs = 0;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        cr_assert_eq(store_kit_run_armed(points[i], unpack), QUIPU_IO, "%s", points[i]);
        cr_assert_eq(count_names(dir.path, ""), 2u, "%s", points[i]);
    }
    for (;; syncs++) {
        (void)snprintf(failpoint, sizeof failpoint, "airgap.export.sync:fail:%zu", syncs + 1);
        if (store_kit_run_armed(failpoint, unpack) == QUIPU_OK) {
            break;
        }
        cr_assert_eq(count_names(dir.path, ""), 2u, "%s", failpoint);
    }
    cr_assert_eq(syncs, 11u, "each of its files is synced");
    cr_assert_eq(count_names(dir.path, ""), 3u);
}
