/*
 * Registries of event types: declaring, limits, and their one form as DAG-CBOR and DAG-JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "engine_kit.h"
#include "quipu/dagjson.h"
#include "quipu/types.h"

static struct quipu_error err;
static struct quipu_types *types;

static void setup(void)
{
    cr_assert_eq(quipu_types_new(QUIPU_TYPES_LENIENT, &types, &err), QUIPU_OK);
}

static void teardown(void)
{
    quipu_types_free(types);
}

TestSuite(types_codec, .init = setup, .fini = teardown);

static enum quipu_status declare(struct quipu_field payload)
{
    struct quipu_type type = {.name = "t.e", .schema = 1, .payload = payload};
    return quipu_types_declare(types, &type, &err);
}

static void refuses(struct quipu_field payload, const char *words)
{
    cr_assert_eq(declare(payload), QUIPU_INVALID, "%s", words);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);
    cr_assert_eq(quipu_types_count(types), 0);
}

/* The registry as DAG-JSON; the caller frees nothing: it is static. */
static const char *as_json(const struct quipu_types *of)
{
    static char text[4096];
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf json;
    quipu_buf_init_fixed(&json, text, sizeof text - 1);
    cr_assert_eq(quipu_types_encode(of, &block, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_dagjson_from_dagcbor(quipu_buf_slice(&block), &json, &err), QUIPU_OK);
    text[json.len] = 0;
    quipu_buf_release(&block);
    return text;
}

static enum quipu_status decode_json(const char *json, struct quipu_types **out)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text(json), &block, &err), QUIPU_OK, "%s: %s",
                 json, err.message);
    enum quipu_status status = quipu_types_decode(quipu_buf_slice(&block), out, &err);
    quipu_buf_release(&block);
    return status;
}

/* ------------------------------------------------------------------ declaring */

Test(types_codec, refuses_declarations_that_are_none)
{
    static const struct quipu_field one[] = {{.name = "a"}};
    static const struct quipu_field twice[] = {{.name = "a"}, {.name = "b"}, {.name = "a"}};
    static const struct quipu_field unnamed[] = {{.name = NULL}};
    static const struct quipu_field empty[] = {{.name = ""}};
    static const struct quipu_field control[] = {{.name = "a\n"}};
    static const struct quipu_field slash[] = {{.name = "/"}};
    static const struct quipu_field inner[] = {
        {.name = "a", .kind = QUIPU_FIELD_TEXT, .items = one}};
    static const struct quipu_field maybe = {.is_optional = true};
    static const struct quipu_field maybe_text = {.kind = QUIPU_FIELD_TEXT, .is_optional = true};
    refuses((struct quipu_field){.kind = QUIPU_FIELD_TEXT, QUIPU_FIELDS(one)}, "is no map");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_TEXT, .is_open = true}, "is no map");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_MAP, .items = one}, "is no list");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_MAP, .field_count = 2}, "names none");
    refuses((struct quipu_field){.kind = (enum quipu_field_kind)99}, "no known kind");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_TEXT, .is_optional = true}, "be optional");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_LIST, .items = &maybe}, "be optional");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_LIST, .items = &maybe_text}, "be optional");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(twice)},
            "the field a twice");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(unnamed)}, "name must be");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(empty)}, "name must be");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(control)}, "name must be");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(slash)}, "name must be");
    refuses((struct quipu_field){.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(inner)}, "a is no list");
}

Test(types_codec, refuses_names_and_schemas_that_are_none)
{
    static const struct quipu_type wrong[] = {
        {.name = NULL, .schema = 1},
        {.name = "", .schema = 1},
        {.name = "Upper", .schema = 1},
        {.name = "a..b", .schema = 1},
        {.name = "a", .schema = 0},
        {.name = "a", .schema = UINT64_C(1) << 53},
        {.name = "a", .schema = 1, .aggregate_type = ""},
        {.name = "a", .schema = 1, .aggregate_type = "a.b"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_eq(quipu_types_declare(types, &wrong[i], &err), QUIPU_INVALID, "%zu", i);
    }
    struct quipu_type greatest = {.name = "a", .schema = (UINT64_C(1) << 53) - 1};
    cr_assert_eq(quipu_types_declare(types, &greatest, &err), QUIPU_OK);
}

Test(types_codec, keeps_one_declaration_of_a_schema)
{
    cr_assert_eq(declare((struct quipu_field){.kind = QUIPU_FIELD_TEXT}), QUIPU_OK);
    cr_assert_eq(declare((struct quipu_field){.kind = QUIPU_FIELD_TEXT}), QUIPU_OK);
    cr_assert_eq(quipu_types_count(types), 1);
    cr_assert_eq(declare((struct quipu_field){.kind = QUIPU_FIELD_INT}), QUIPU_EXISTS);
    cr_assert_not_null(strstr(err.message, "t.e schema 1"), "%s", err.message);
}

Test(types_codec, keeps_copies_in_order_and_finds_them)
{
    char name[] = "b.x";
    struct quipu_type type = {.name = name, .schema = 3};
    static const uint64_t schemas[] = {3, 1, 2};
    for (size_t i = 0; i < 3; i++) {
        type.schema = schemas[i];
        cr_assert_eq(quipu_types_declare(types, &type, &err), QUIPU_OK);
    }
    name[0] = 'a';
    cr_assert_eq(quipu_types_declare(types, &type, &err), QUIPU_OK);
    name[0] = 'z';

    cr_assert_eq(quipu_types_count(types), 4);
    cr_assert_str_eq(quipu_types_at(types, 0)->name, "a.x");
    for (size_t i = 1; i < 4; i++) {
        cr_assert_str_eq(quipu_types_at(types, i)->name, "b.x");
        cr_assert_eq(quipu_types_at(types, i)->schema, i);
    }
    cr_assert_null(quipu_types_at(types, 4));
    cr_assert_eq(quipu_types_newest(types, quipu_slice_text("b.x")), 3);
    cr_assert_eq(quipu_types_newest(types, quipu_slice_text("a.x")), 2);
    cr_assert_eq(quipu_types_newest(types, quipu_slice_text("b")), 0);
    cr_assert_eq(quipu_types_newest(types, quipu_slice_text("c")), 0);
    cr_assert_null(quipu_types_find(types, quipu_slice_text("b.x"), 4));
}

Test(types_codec, merges_all_or_none)
{
    struct quipu_types *from = NULL;
    cr_assert_eq(quipu_types_new(QUIPU_TYPES_STRICT, &from, &err), QUIPU_OK);
    struct quipu_type type = {.name = "t.a", .schema = 1};
    cr_assert_eq(quipu_types_declare(from, &type, &err), QUIPU_OK);
    type.name = "t.e";
    cr_assert_eq(quipu_types_declare(from, &type, &err), QUIPU_OK);
    cr_assert_eq(declare((struct quipu_field){.kind = QUIPU_FIELD_TEXT}), QUIPU_OK);

    cr_assert_eq(quipu_types_merge(types, from, &err), QUIPU_EXISTS);
    cr_assert_eq(quipu_types_count(types), 1);

    quipu_types_free(types);
    setup();
    cr_assert_eq(quipu_types_merge(types, from, &err), QUIPU_OK);
    cr_assert_eq(quipu_types_merge(types, from, &err), QUIPU_OK);
    cr_assert_eq(quipu_types_count(types), 2);
    cr_assert_eq(quipu_types_rule(types), QUIPU_TYPES_LENIENT, "the rule stays");
    quipu_types_free(from);
}

/* ------------------------------------------------------------------ limits */

/* `depth` maps around a text, each the only member of the one before. */
static enum quipu_status declare_depth(size_t depth)
{
    struct quipu_field levels[32] = {{.name = "x", .kind = QUIPU_FIELD_TEXT}};
    for (size_t i = 1; i <= depth; i++) {
        levels[i] = (struct quipu_field){
            .name = "x", .kind = QUIPU_FIELD_MAP, .fields = &levels[i - 1], .field_count = 1};
    }
    levels[depth].name = NULL;
    return declare(levels[depth]);
}

Test(types_codec, holds_nesting_to_its_limit)
{
    cr_assert_eq(declare_depth(QUIPU_TYPE_DEPTH_MAX + 1), QUIPU_TOO_LARGE);
    cr_assert_eq(declare_depth(QUIPU_TYPE_DEPTH_MAX), QUIPU_OK, "%s", err.message);

    /* As deep as it may be, it is checked and comes back as it was. */
    char json[512] = "";
    for (size_t i = 0; i < QUIPU_TYPE_DEPTH_MAX; i++) {
        (void)strcat(json, "{\"x\":");
    }
    (void)strcat(json, "1");
    for (size_t i = 0; i < QUIPU_TYPE_DEPTH_MAX; i++) {
        (void)strcat(json, "}");
    }
    struct quipu_buf payload = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text(json), &payload, &err), QUIPU_OK);
    struct quipu_event event = {.type = "t.e", .payload = quipu_buf_slice(&payload)};
    cr_assert_eq(quipu_types_check(types, &event, &err), QUIPU_TYPE);
    cr_assert_not_null(strstr(err.message, "x.x.x: expected text, found uint"), "%s", err.message);
    quipu_buf_release(&payload);
    struct quipu_types *again = NULL;
    struct quipu_buf block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_types_encode(types, &block, &err), QUIPU_OK);
    cr_assert_eq(quipu_types_decode(quipu_buf_slice(&block), &again, &err), QUIPU_OK);
    quipu_types_free(again);
    quipu_buf_release(&block);
}

Test(types_codec, refuses_to_read_what_is_nested_too_deep)
{
    char json[1024] = "{\"v\":1,\"types\":[{\"type\":\"t.e\",\"schema\":1,\"payload\":";
    for (size_t i = 0; i < QUIPU_TYPE_DEPTH_MAX + 1; i++) {
        (void)strcat(json, "{\"list\":");
    }
    (void)strcat(json, "\"int\"");
    for (size_t i = 0; i < QUIPU_TYPE_DEPTH_MAX + 1; i++) {
        (void)strcat(json, "}");
    }
    (void)strcat(json, "}],\"strict\":false}");
    struct quipu_types *out = NULL;
    cr_assert_eq(decode_json(json, &out), QUIPU_TOO_LARGE);
    cr_assert_null(out);
}

static enum quipu_status declare_fields(size_t count)
{
    static struct quipu_field fields[QUIPU_TYPE_FIELDS_MAX + 1];
    static char names[QUIPU_TYPE_FIELDS_MAX + 1][8];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof names[i], "f%zu", i);
        fields[i] = (struct quipu_field){.name = names[i]};
    }
    return declare(
        (struct quipu_field){.kind = QUIPU_FIELD_MAP, .fields = fields, .field_count = count});
}

Test(types_codec, holds_fields_to_their_number)
{
    cr_assert_eq(declare_fields(QUIPU_TYPE_FIELDS_MAX + 1), QUIPU_TOO_LARGE);
    cr_assert_eq(declare_fields(QUIPU_TYPE_FIELDS_MAX), QUIPU_OK);
}

Test(types_codec, holds_names_of_fields_to_their_length)
{
    char name[QUIPU_FIELD_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof name);
    struct quipu_field field = {.name = name};
    struct quipu_field map = {.kind = QUIPU_FIELD_MAP, .fields = &field, .field_count = 1};
    name[QUIPU_FIELD_NAME_BYTES_MAX + 1] = 0;
    cr_assert_eq(declare(map), QUIPU_INVALID);
    name[QUIPU_FIELD_NAME_BYTES_MAX] = 0;
    cr_assert_eq(declare(map), QUIPU_OK);
}

Test(types_codec, holds_declarations_to_their_number)
{
    struct quipu_type type = {.name = "t.e"};
    for (type.schema = 1; type.schema <= QUIPU_TYPES_MAX; type.schema++) {
        cr_assert_eq(quipu_types_declare(types, &type, &err), QUIPU_OK);
    }
    cr_assert_eq(quipu_types_declare(types, &type, &err), QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_types_count(types), QUIPU_TYPES_MAX);
    type.schema = 7;
    cr_assert_eq(quipu_types_declare(types, &type, &err), QUIPU_OK, "it is there already");
}

Test(types_codec, holds_a_registry_to_its_bytes)
{
    static char names[400][QUIPU_FIELD_NAME_BYTES_MAX + 1];
    static struct quipu_field fields[400];
    for (size_t i = 0; i < 400; i++) {
        memset(names[i], 'x', QUIPU_FIELD_NAME_BYTES_MAX);
        (void)snprintf(names[i], sizeof names[i], "%03zu", i);
        names[i][3] = 'x';
        fields[i] = (struct quipu_field){.name = names[i]};
    }
    struct quipu_type type = {.name = "t.e",
                              .payload = {.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(fields)}};
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    for (type.schema = 1; status == QUIPU_OK && type.schema < 200; type.schema++) {
        cr_assert_eq(quipu_types_declare(types, &type, &err), QUIPU_OK);
        quipu_buf_reset(&block);
        status = quipu_types_encode(types, &block, &err);
        cr_assert_leq(block.len, QUIPU_TYPES_BYTES_MAX);
    }
    cr_assert_eq(status, QUIPU_TOO_LARGE);
    cr_assert_eq(block.len, 0, "the buffer is as it was");
    quipu_buf_release(&block);
    static uint8_t large[QUIPU_TYPES_BYTES_MAX + 1];
    struct quipu_types *out = NULL;
    cr_assert_eq(quipu_types_decode(quipu_slice(large, sizeof large), &out, &err), QUIPU_TOO_LARGE);
}

/* ------------------------------------------------------------------ the one form */

#define ONE(what)                                                                                  \
    "{\"v\":1,\"types\":[{\"type\":\"t.e\",\"schema\":1,\"payload\":" what "}],\"strict\":false}"

Test(types_codec, writes_what_it_reads)
{
    static const char *const good[] = {
        "{\"v\":1,\"types\":[],\"strict\":false}",
        "{\"v\":1,\"types\":[],\"strict\":true}",
        ONE("\"any\""),
        ONE("\"time_text\""),
        ONE("\"map\""),
        ONE("\"list\""),
        ONE("{\"map\":{}}"),
        ONE("{\"list\":\"uuid\"}"),
        ONE("{\"list\":{\"list\":\"list\"}}"),
        ONE("{\"map\":{\"a\":\"int\",\"b\":\"int?\",\"c\":{\"list?\":{\"map\":{\"d\":\"any?\"}}}}"
            "}"),
        ONE("{\"map\":{\"a\":\"list?\",\"b\":\"map?\",\"c\":{\"map?\":{}}},\"open\":true}"),
        ONE("{\"map\":{\"c\":{\"map?\":{\"x\":\"link\"},\"open\":true}}}"),
        "{\"v\":1,\"types\":[{\"type\":\"a\",\"schema\":2,\"payload\":\"any\",\"aggregate\":\"g\"},"
        "{"
        "\"type\":\"a\",\"schema\":10,\"payload\":\"any\"},{\"type\":\"b\",\"schema\":1,"
        "\"payload\":\"any\"}],\"strict\":true}",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct quipu_types *read = NULL;
        cr_assert_eq(decode_json(good[i], &read), QUIPU_OK, "%s: %s", good[i], err.message);
        /* DAG-JSON has its keys in another order, so compare what it stands for. */
        struct quipu_buf want = QUIPU_BUF_INIT;
        struct quipu_buf have = QUIPU_BUF_INIT;
        cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text(good[i]), &want, &err), QUIPU_OK);
        cr_assert_eq(quipu_types_encode(read, &have, &err), QUIPU_OK);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&want), quipu_buf_slice(&have)), "%s", good[i]);
        quipu_buf_release(&want);
        quipu_buf_release(&have);
        quipu_types_free(read);
    }
}

Test(types_codec, reads_nothing_else)
{
    static const struct {
        const char *json;
        enum quipu_status status;
    } bad[] = {
        {"null", QUIPU_CBOR_KIND},
        {"{}", QUIPU_CBOR_KIND},
        {"{\"v\":0,\"types\":[],\"strict\":false}", QUIPU_INVALID},
        {"{\"v\":2}", QUIPU_FORMAT_NEWER},
        {"{\"v\":1,\"types\":[]}", QUIPU_INVALID},
        {"{\"v\":1,\"types\":[],\"strict\":1}", QUIPU_INVALID},
        {"{\"v\":1,\"types\":{},\"strict\":false}", QUIPU_CBOR_KIND},
        {"{\"v\":1,\"types\":[],\"strict\":false,\"z\":0}", QUIPU_INVALID},
        {"{\"v\":1,\"types\":[{}],\"strict\":false}", QUIPU_INVALID},
        {ONE("\"texts\""), QUIPU_INVALID},
        {ONE("\"\""), QUIPU_INVALID},
        {ONE("\"?\""), QUIPU_INVALID},
        {ONE("\"text?\""), QUIPU_INVALID},
        {ONE("\"text??\""), QUIPU_INVALID},
        {ONE("7"), QUIPU_INVALID},
        {ONE("[]"), QUIPU_INVALID},
        {ONE("{}"), QUIPU_INVALID},
        {ONE("{\"text\":\"text\"}"), QUIPU_INVALID},
        {ONE("{\"list\":\"any\"}"), QUIPU_INVALID},
        {ONE("{\"list\":\"text?\"}"), QUIPU_INVALID},
        {ONE("{\"list\":{\"list?\":\"text\"}}"), QUIPU_INVALID},
        {ONE("{\"list?\":\"text\"}"), QUIPU_INVALID},
        {ONE("{\"list\":\"text\",\"open\":true}"), QUIPU_INVALID},
        {ONE("{\"map\":{\"a\":\"any\"},\"open\":false}"), QUIPU_INVALID},
        {ONE("{\"map\":{\"a\":\"any\"},\"open\":1}"), QUIPU_INVALID},
        {ONE("{\"map\":{\"a\":\"any\"},\"opes\":true}"), QUIPU_INVALID},
        {ONE("{\"map\":{},\"open\":true}"), QUIPU_INVALID},
        {ONE("{\"map\":[]}"), QUIPU_CBOR_KIND},
        {ONE("{\"map\":{\"\":\"any\"}}"), QUIPU_INVALID},
        {ONE("{\"map\":{\"a\\u0007\":\"any\"}}"), QUIPU_INVALID},
        {ONE("{\"map\":{\"a\":null}}"), QUIPU_INVALID},
        {"{\"v\":1,\"types\":[{\"type\":\"a\",\"schema\":1,\"payload\":\"any\"},{\"type\":\"a\","
         "\"schema\":1,\"payload\":\"any\"}],\"strict\":false}",
         QUIPU_INVALID},
        {"{\"v\":1,\"types\":[{\"type\":\"b\",\"schema\":1,\"payload\":\"any\"},{\"type\":\"a\","
         "\"schema\":1,\"payload\":\"any\"}],\"strict\":false}",
         QUIPU_INVALID},
        {"{\"v\":1,\"types\":[{\"type\":\"A\",\"schema\":1,\"payload\":\"any\"}],\"strict\":false}",
         QUIPU_INVALID},
        {"{\"v\":1,\"types\":[{\"type\":\"a\",\"schema\":0,\"payload\":\"any\"}],\"strict\":false}",
         QUIPU_INVALID},
        {"{\"v\":1,\"types\":[{\"type\":\"a\",\"schema\":1,\"payload\":\"any\",\"aggregate\":\"\"}]"
         ","
         "\"strict\":false}",
         QUIPU_INVALID},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct quipu_types *read = NULL;
        enum quipu_status status = decode_json(bad[i].json, &read);
        cr_assert_null(read, "%s", bad[i].json);
        cr_assert_eq(status, bad[i].status, "%s: %s: %s", bad[i].json, quipu_status_name(status),
                     err.message);
    }
}

Test(types_codec, makes_the_same_bytes_of_the_same_declarations)
{
    static const struct quipu_field any = {.kind = QUIPU_FIELD_ANY};
    static const struct quipu_field fields[] = {
        {.name = "longer", .kind = QUIPU_FIELD_LIST, .items = &any},
        {.name = "b", .kind = QUIPU_FIELD_MAP, .is_open = true, .fields = &any},
        {.name = "a", .kind = QUIPU_FIELD_UUID, .is_optional = true},
    };
    cr_assert_eq(declare((struct quipu_field){.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(fields)}),
                 QUIPU_OK);
    cr_assert_str_eq(as_json(types),
                     "{\"strict\":false,\"types\":[{\"payload\":{\"map\":{\"a\":\"uuid?\",\"b\":"
                     "\"map\",\"longer\":\"list\"}},\"schema\":1,\"type\":\"t.e\"}],\"v\":1}");
}
