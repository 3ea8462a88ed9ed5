/*
 * The catalogue: payloads in any order of fields, the rule of "roles" case by case, the counts of
 * "inventory". Its types and rules are tried in test_catalogue_events.c, its state in
 * test_catalogue_state.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "catalogue.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/event_json.h"
#include "temp_dir.h"

/* ------------------------------------------------------------------ payloads */

Test(payload, is_canonical_whatever_the_order_of_its_fields)
{
    struct catalogue_field fields[] = {
        catalogue_text("serial", "7"),
        catalogue_number("b", -1),
        catalogue_text("name", "x"),
        catalogue_bytes("a", quipu_slice("\x01", 1)),
    };
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_buf json = QUIPU_BUF_INIT;

    cr_assert_eq(catalogue_payload(fields, 4, &out, NULL), QUIPU_OK);

    cr_assert_eq(quipu_dagcbor_validate(quipu_buf_slice(&out), NULL), QUIPU_OK);
    cr_assert_eq(quipu_dagjson_from_dagcbor(quipu_buf_slice(&out), &json, NULL), QUIPU_OK);
    quipu_buf_append_byte(&json, 0);
    cr_assert_str_eq((const char *)json.data,
                     "{\"a\":{\"/\":{\"bytes\":\"AQ\"}},\"b\":-1,\"name\":\"x\",\"serial\":\"7\"}");
    quipu_buf_release(&out);
    quipu_buf_release(&json);
}

Test(payload, refuses_a_field_twice_and_too_many)
{
    struct catalogue_field twice[] = {catalogue_text("a", "1"), catalogue_text("a", "2")};
    struct catalogue_field many[CATALOGUE_FIELDS_MAX + 1] = {{0}};
    struct quipu_buf out = QUIPU_BUF_INIT;

    cr_assert_eq(catalogue_payload(twice, 2, &out, NULL), QUIPU_CBOR_KEY_DUPLICATE);
    cr_assert_eq(catalogue_payload(many, CATALOGUE_FIELDS_MAX + 1, &out, NULL), QUIPU_TOO_LARGE);
    cr_assert_eq(out.len, 0);
    quipu_buf_release(&out);
}

Test(catalogue, finds_its_types_and_no_other)
{
    cr_assert_str_eq(catalogue_find(quipu_slice_text("key.revoked"))->state, "revoked");
    cr_assert_null(catalogue_find(quipu_slice_text("key.")));
    cr_assert_str_eq(catalogue_entry(CATALOGUE_CERTIFICATE_ISSUED)->aggregate_type, "certificate");
    cr_assert_eq(catalogue_projection_find("roles"), &catalogue_roles);
    cr_assert_eq(catalogue_projection_find("catalogue"), &catalogue_state);
    for (int type = 0; type < CATALOGUE_TYPES; type++) {
        const struct catalogue_entry *entry = catalogue_entry((enum catalogue_type)type);
        cr_assert_eq(catalogue_find(quipu_slice_text(entry->event_type)), entry);
        cr_assert_eq((int)catalogue_type_of(entry), type);
    }
    cr_assert_null(catalogue_projection_find("role"));
}

/* ------------------------------------------------------------------ projections */

struct fixture {
    struct temp_dir dir;
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct quipu_buf rows;
};

static void open_fixture(struct fixture *fixture)
{
    char path[2 * TEMP_DIR_BYTES];
    memset(fixture, 0, sizeof *fixture);
    temp_dir_init(&fixture->dir);
    cr_assert_eq(
        quipu_store_open(temp_dir_join(&fixture->dir, "store", path), NULL, &fixture->store, NULL),
        QUIPU_OK);
    cr_assert_eq(quipu_engine_open(fixture->store, NULL, &fixture->engine, NULL), QUIPU_OK);
}

static void close_fixture(struct fixture *fixture)
{
    quipu_engine_close(&fixture->engine);
    quipu_store_close(&fixture->store);
    quipu_buf_release(&fixture->rows);
    temp_dir_release(&fixture->dir);
}

static void append_line(struct fixture *fixture, const char *line)
{
    struct quipu_event_arena arena = {QUIPU_BUF_INIT, QUIPU_BUF_INIT};
    struct quipu_event event;
    struct quipu_error err = {0};
    cr_assert_eq(quipu_event_from_json(quipu_slice_text(line), &arena, &event, &err), QUIPU_OK,
                 "%s", err.message);
    cr_assert_eq(quipu_append(fixture->engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);
    quipu_event_arena_release(&arena);
}

/* "key value\n" for each row. */
static enum quipu_status print_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                   struct quipu_error *err)
{
    struct quipu_buf *rows = ctx;
    quipu_buf_append_slice(rows, key);
    quipu_buf_append_byte(rows, ' ');
    enum quipu_status status = quipu_dagjson_from_dagcbor(value, rows, err);
    quipu_buf_append_byte(rows, '\n');
    return status;
}

static const char *rows_of(struct fixture *fixture, const struct quipu_projection *projection)
{
    struct quipu_replay_report report;
    quipu_buf_reset(&fixture->rows);
    cr_assert_eq(quipu_replay(fixture->engine, projection, QUIPU_REPLAY_CATCH_UP, &report, NULL),
                 QUIPU_OK);
    cr_assert_eq(quipu_projection_each_row(fixture->engine, projection->name, quipu_slice(NULL, 0),
                                           print_row, &fixture->rows, NULL),
                 QUIPU_OK);
    quipu_buf_append_byte(&fixture->rows, 0);
    return (const char *)fixture->rows.data;
}

/* A root file of version 2 in `path`, signed by the keys in `signers`. */
static void root_file(struct fixture *fixture, const char *type, const char *path,
                      const char *signers)
{
    char line[1024];
    int len = snprintf(
        line, sizeof line,
        "{\"aggregate_type\":\"role\",\"aggregate_id\":\"root\",\"event_type\":\"%s\","
        "\"payload\":{\"path\":\"%s\",\"sha256\":\"ab\",\"data\":{\"expires\":\"never\","
        "\"version\":2,\"signed_by\":[%s],\"thresholds\":{\"root\":[2,3],\"snapshot\":[1,1]}}}}",
        type, path, signers);
    cr_assert(len > 0 && (size_t)len < sizeof line);
    append_line(fixture, line);
}

Test(roles, counts_what_is_published_and_signed_by_enough)
{
    struct fixture fixture;
    open_fixture(&fixture);

    root_file(&fixture, "root_metadata_published", "metadata/2.root.json", "\"a\",\"b\"");

    cr_assert_str_eq(rows_of(&fixture, &catalogue_roles),
                     "root/0002 {\"expires\":\"never\",\"path\":\"metadata/2.root.json\","
                     "\"sha256\":\"ab\",\"signatures\":2,\"thresholds\":{\"root\":[2,3],"
                     "\"snapshot\":[1,1]},\"version\":2}\n");
    close_fixture(&fixture);
}

Test(roles, lets_the_last_signature_count)
{
    struct fixture fixture;
    open_fixture(&fixture);

    root_file(&fixture, "root_metadata_published", "m/2.root.json", "");
    cr_assert_str_eq(rows_of(&fixture, &catalogue_roles), "");
    root_file(&fixture, "signature_added", "m/2.root.json", "\"a\"");
    cr_assert_str_eq(rows_of(&fixture, &catalogue_roles), "");
    root_file(&fixture, "signature_added", "m/2.root.json", "\"a\",\"b\"");
    root_file(&fixture, "signature_added", "m/2.root.json", "\"c\",\"b\",\"a\"");

    cr_assert_not_null(strstr(rows_of(&fixture, &catalogue_roles), "\"signatures\":3"));
    close_fixture(&fixture);
}

Test(roles, passes_over_what_is_no_publication)
{
    static const struct {
        const char *type;
        const char *path;
        const char *signers;
    } cases[] = {
        {"root_metadata_published", "metadata/2.root.json", "\"a\",\"a\""},      /* one key twice */
        {"root_metadata_published", "metadata/root.json", "\"a\",\"b\""},        /* moving copy */
        {"root_metadata_published", "metadata/3.root.json", "\"a\",\"b\""},      /* other version */
        {"root_metadata_published", "metadata/12.root.json", "\"a\",\"b\""},     /* other version */
        {"root_metadata_published", "ceremony/x/2.root.json", "\"a\",\"b\""},    /* preparation */
        {"root_metadata_published", "r/staged/2.root.json", "\"a\",\"b\""},      /* preparation */
        {"root_metadata_published", "r/meta.staged/2.root.json", "\"a\",\"b\""}, /* preparation */
        {"root_metadata_staged", "metadata/2.root.json", "\"a\",\"b\""},         /* other type */
    };
    struct fixture fixture;
    open_fixture(&fixture);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        root_file(&fixture, cases[i].type, cases[i].path, cases[i].signers);
        cr_assert_str_eq(rows_of(&fixture, &catalogue_roles), "", "case %zu", i);
    }
    append_line(&fixture, "{\"aggregate_type\":\"role\",\"aggregate_id\":\"root\",\"event_type\":"
                          "\"root_metadata_published\",\"payload\":[1]}");
    append_line(&fixture, "{\"aggregate_type\":\"role\",\"aggregate_id\":\"root\",\"event_type\":"
                          "\"signature_added\",\"payload\":{\"data\":{\"thresholds\":7}}}");
    cr_assert_str_eq(rows_of(&fixture, &catalogue_roles), "");
    close_fixture(&fixture);
}

Test(inventory, counts_what_there_is_in_which_state)
{
    struct fixture fixture;
    open_fixture(&fixture);

    append_line(&fixture, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"a/1\",\"event_type\":"
                          "\"key.generated\",\"payload\":{\"name\":\"first\"}}");
    append_line(&fixture, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"b\",\"event_type\":"
                          "\"key.generated\",\"payload\":{}}");
    append_line(&fixture, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"b\",\"event_type\":"
                          "\"something.else\",\"payload\":{}}");
    append_line(&fixture, "{\"aggregate_type\":\"yubikey\",\"aggregate_id\":\"b\",\"event_type\":"
                          "\"key.revoked\",\"payload\":{}}");
    cr_assert_str_eq(rows_of(&fixture, &catalogue_inventory),
                     "count/key/active {\"count\":2}\n"
                     "item/key/a/1 {\"events\":1,\"name\":\"first\",\"state\":\"active\"}\n"
                     "item/key/b {\"events\":1,\"state\":\"active\"}\n");

    append_line(&fixture, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"a/1\",\"event_type\":"
                          "\"key.revoked\",\"payload\":{}}");
    append_line(&fixture, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"b\",\"event_type\":"
                          "\"key.revoked\",\"payload\":{}}");
    cr_assert_str_eq(rows_of(&fixture, &catalogue_inventory),
                     "count/key/revoked {\"count\":2}\n"
                     "item/key/a/1 {\"events\":2,\"name\":\"first\",\"state\":\"revoked\"}\n"
                     "item/key/b {\"events\":2,\"state\":\"revoked\"}\n");
    close_fixture(&fixture);
}
