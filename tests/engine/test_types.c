/*
 * Declared event types: what fits, what does not and what is then said; at appending, and in the
 * store.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine_kit.h"
#include "fork_kit.h"
#include "quipu/types.h"
#include "tables.h"

static struct kit kit;
static struct quipu_types *types;

static void setup(void)
{
    kit_open(&kit);
    kit_assert_ok(&kit, quipu_types_new(QUIPU_TYPES_LENIENT, &types, &kit.err));
}

static void teardown(void)
{
    quipu_types_free(types);
    kit_close(&kit);
}

TestSuite(types, .init = setup, .fini = teardown);

/* The kit's engine again, with the registry. */
static void engine_with_types(void)
{
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    options.types = types;
    quipu_engine_close(&kit.engine);
    kit_assert_ok(&kit, quipu_engine_open(kit.store, &options, &kit.engine, &kit.err));
}

static void declare(const struct quipu_type *type)
{
    kit_assert_ok(&kit, quipu_types_declare(types, type, &kit.err));
}

/* A type "t.e" whose payload is this. */
static void declare_payload(struct quipu_field payload)
{
    struct quipu_type type = {.name = "t.e", .schema = 1, .payload = payload};
    declare(&type);
}

static enum quipu_status check_json(const char *json)
{
    struct quipu_event event = {
        .type = "t.e", .aggregate = {"thing", "a"}, .payload = kit_block(&kit, json)};
    return quipu_types_check(types, &event, &kit.err);
}

static void refuses(const char *json, const char *line)
{
    cr_assert_eq(check_json(json), QUIPU_TYPE, "%s", json);
    cr_assert_str_eq(kit.err.message, line);
    cr_assert_eq(kit.err.status, QUIPU_TYPE);
}

#define LINK    "{\"/\":\"bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy\"}"
#define BYTES16 "{\"/\":{\"bytes\":\"AAAAAAAAAAAAAAAAAAAAAA\"}}"
#define BYTES1  "{\"/\":{\"bytes\":\"AA\"}}"

/* ------------------------------------------------------------------ kinds */

/* Values of every kind, in the order of the columns below. */
static const char *const values[] = {
    "null",
    "\"plain\"",
    "\"01890a5d-ac96-774b-bcce-b302099a8057\"",
    "\"2026-11-21T16:00:00Z\"",
    BYTES1,
    BYTES16,
    "7",
    "-7",
    "18446744073709551615",
    "true",
    "1.5",
    LINK,
    "[1]",
    "{\"a\":1}",
};

static const struct {
    enum quipu_field_kind kind;
    const char *fits; /* for each value: '+' fits, '-' does not */
} kinds[] = {
    {QUIPU_FIELD_ANY, "++++++++++++++"},   {QUIPU_FIELD_TEXT, "-+++----------"},
    {QUIPU_FIELD_BYTES, "----++--------"}, {QUIPU_FIELD_INT, "------+++-----"},
    {QUIPU_FIELD_UINT, "------+-+-----"},  {QUIPU_FIELD_BOOL, "---------+----"},
    {QUIPU_FIELD_FLOAT, "----------+---"}, {QUIPU_FIELD_LINK, "-----------+--"},
    {QUIPU_FIELD_UUID, "-----+--------"},  {QUIPU_FIELD_UUID_TEXT, "--+-----------"},
    {QUIPU_FIELD_TIME, "------++------"},  {QUIPU_FIELD_TIME_TEXT, "---+----------"},
    {QUIPU_FIELD_LIST, "------------+-"},  {QUIPU_FIELD_MAP, "-------------+"},
};

Test(types, tells_every_kind_from_every_other)
{
    cr_assert_eq(sizeof kinds / sizeof kinds[0], QUIPU_FIELD_MAP + 1);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct quipu_type type = {
            .name = "t.e", .schema = 1 + k, .payload = {.kind = kinds[k].kind}};
        declare(&type);
        cr_assert_eq(strlen(kinds[k].fits), sizeof values / sizeof values[0]);
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            struct quipu_event event = {.type = "t.e",
                                        .aggregate = {"thing", "a"},
                                        .schema = 1 + k,
                                        .payload = kit_block(&kit, values[v])};
            enum quipu_status expected = kinds[k].fits[v] == '+' ? QUIPU_OK : QUIPU_TYPE;
            cr_assert_eq(quipu_types_check(types, &event, &kit.err), expected, "%s as %s",
                         values[v], quipu_field_kind_text(kinds[k].kind));
        }
    }
}

Test(types, names_the_kind_that_was_found)
{
    declare_payload((struct quipu_field){.kind = QUIPU_FIELD_UUID});
    refuses("\"x\"", "t.e schema 1: payload: expected uuid, found text");
    refuses("-1", "t.e schema 1: payload: expected uuid, found a negative int");
    refuses("[]", "t.e schema 1: payload: expected uuid, found list");
    refuses("{}", "t.e schema 1: payload: expected uuid, found map");
    refuses("null", "t.e schema 1: payload: expected uuid, found null");
    refuses("1.5", "t.e schema 1: payload: expected uuid, found float");
    refuses("false", "t.e schema 1: payload: expected uuid, found bool");
    refuses(LINK, "t.e schema 1: payload: expected uuid, found link");
    refuses(BYTES1, "t.e schema 1: payload: expected uuid, found bytes, but not 16");
}

/* ------------------------------------------------------------------ fields */

static const struct quipu_field owner_fields[] = {
    {.name = "serial", .kind = QUIPU_FIELD_UINT},
    {.name = "name", .kind = QUIPU_FIELD_TEXT, .is_optional = true},
};
static const struct quipu_field owner = {.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(owner_fields)};
/* Not in canonical order on purpose. */
static const struct quipu_field key_fields[] = {
    {.name = "owners", .kind = QUIPU_FIELD_LIST, .items = &owner},
    {.name = "algorithm", .kind = QUIPU_FIELD_TEXT},
    {.name = "made", .kind = QUIPU_FIELD_TIME_TEXT, .is_optional = true},
    {.name = "more",
     .kind = QUIPU_FIELD_MAP,
     .is_optional = true,
     .is_open = true,
     QUIPU_FIELDS(owner_fields)},
    {.name = "tags", .kind = QUIPU_FIELD_LIST, .is_optional = true},
};
static const struct quipu_field key_payload = {.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(key_fields)};

Test(types, takes_what_fits)
{
    declare_payload(key_payload);
    static const char *const good[] = {
        "{\"algorithm\":\"a\",\"owners\":[]}",
        "{\"algorithm\":\"a\",\"owners\":[{\"serial\":1},{\"name\":\"n\",\"serial\":2}]}",
        "{\"algorithm\":\"a\",\"owners\":[],\"made\":\"2026-11-21T16:00:00Z\"}",
        "{\"algorithm\":\"a\",\"owners\":[],\"tags\":[1,\"x\",[[]],{\"any\":{}}]}",
        "{\"algorithm\":\"a\",\"owners\":[],\"more\":{\"serial\":1,\"zz\":[null],\"a\":{\"b\":1}}}",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert_eq(check_json(good[i]), QUIPU_OK, "%s: %s", good[i], kit.err.message);
    }
}

Test(types, names_path_and_both_kinds)
{
    declare_payload(key_payload);
    refuses("{\"algorithm\":1,\"owners\":[]}",
            "t.e schema 1: algorithm: expected text, found uint");
    refuses("{\"algorithm\":\"a\"}", "t.e schema 1: owners: expected list, found nothing");
    refuses("{\"owners\":[]}", "t.e schema 1: algorithm: expected text, found nothing");
    refuses("{}", "t.e schema 1: owners: expected list, found nothing");
    refuses("{\"algorithm\":\"a\",\"owners\":{}}",
            "t.e schema 1: owners: expected list, found map");
    refuses("{\"algorithm\":\"a\",\"owners\":[1]}",
            "t.e schema 1: owners[0]: expected map, found uint");
    refuses("{\"algorithm\":\"a\",\"owners\":[{\"serial\":1},{\"serial\":\"x\"}]}",
            "t.e schema 1: owners[1].serial: expected uint, found text");
    refuses("{\"algorithm\":\"a\",\"owners\":[{\"serial\":1},{}]}",
            "t.e schema 1: owners[1].serial: expected uint, found nothing");
    refuses("{\"algorithm\":\"a\",\"owners\":[{\"serial\":1,\"zz\":0}]}",
            "t.e schema 1: owners[0].zz: expected no such field, found one");
    refuses("{\"algorithm\":\"a\",\"extra\":1,\"owners\":[]}",
            "t.e schema 1: extra: expected no such field, found one");
    refuses("{\"algorithm\":\"a\",\"made\":\"today\",\"owners\":[]}",
            "t.e schema 1: made: expected time_text, found text that is no RFC 3339");
    refuses("{\"algorithm\":\"a\",\"more\":{\"name\":1,\"serial\":1},\"owners\":[]}",
            "t.e schema 1: more.name: expected text, found uint");
    refuses("{\"algorithm\":\"a\",\"more\":{\"zz\":1},\"owners\":[]}",
            "t.e schema 1: more.serial: expected uint, found nothing");
    refuses("{\"algorithm\":\"a\",\"made\":null,\"owners\":[]}",
            "t.e schema 1: made: expected time_text, found null");
    refuses("[]", "t.e schema 1: payload: expected map, found list");
}

Test(types, tells_an_empty_map_from_any_map)
{
    static const struct quipu_field nothing[1];
    declare_payload((struct quipu_field){.kind = QUIPU_FIELD_MAP, .fields = nothing});
    cr_assert_eq(check_json("{}"), QUIPU_OK);
    refuses("{\"a\":1}", "t.e schema 1: a: expected no such field, found one");
}

Test(types, never_shows_what_would_break_the_line)
{
    declare_payload(key_payload);
    char json[1200];
    char name[1001];
    memset(name, 'x', 1000);
    name[1000] = 0;
    (void)snprintf(json, sizeof json, "{\"%s\":1}", name);
    refuses("{\"a\\nb\":1,\"owners\":[]}",
            "t.e schema 1: (a key): expected no such field, found one");
    cr_assert_eq(check_json(json), QUIPU_TYPE);
    /* Its required members come before it in order. */
    cr_assert_lt(strlen(kit.err.message), 200);
}

Test(types, refuses_a_payload_that_is_not_dag_cbor)
{
    declare_payload((struct quipu_field){.kind = QUIPU_FIELD_ANY});
    struct quipu_event event = {.type = "t.e", .aggregate = {"thing", "a"}};
    static const uint8_t two[] = {0x01, 0x02};
    event.payload = quipu_slice(two, 2);
    cr_assert_eq(quipu_types_check(types, &event, &kit.err), QUIPU_CBOR_TRAILING);
    event.payload = quipu_slice(two, 0);
    cr_assert_eq(quipu_types_check(types, &event, &kit.err), QUIPU_CBOR_TRUNCATED);
}

/* ------------------------------------------------------------------ events */

Test(types, holds_an_event_to_its_type_of_aggregate)
{
    struct quipu_type type = {.name = "t.e", .schema = 1, .aggregate_type = "key"};
    declare(&type);
    refuses("1", "t.e schema 1: expected an aggregate of type key, found thing");
    struct quipu_event event = {
        .type = "t.e", .aggregate = {"key", "a"}, .payload = kit_block(&kit, "1")};
    cr_assert_eq(quipu_types_check(types, &event, &kit.err), QUIPU_OK);
}

Test(types, lets_what_is_not_declared_pass_unless_it_is_strict)
{
    static const struct quipu_type second = {.name = "thing.changed", .schema = 2};
    declare(&second);
    engine_with_types();
    struct quipu_event event = kit_event(&kit, "a", 1);
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_OK);

    quipu_types_rule_set(types, QUIPU_TYPES_STRICT);
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_TYPE);
    cr_assert_str_eq(kit.err.message,
                     "thing.changed schema 1 is not declared; the newest that is, is 2");
    event.schema = 3;
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_TYPE);
    event.type = "thing.other";
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_TYPE);
    cr_assert_str_eq(kit.err.message, "the event type thing.other is not declared, and only "
                                      "declared ones may be appended");
    event.type = "thing.changed";
    event.schema = 2;
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_OK);
    kit_assert_sound(&kit, 2);
}

static const struct quipu_field n_fields[] = {{.name = "n", .kind = QUIPU_FIELD_UINT}};
static const struct quipu_type thing_changed = {
    .name = "thing.changed",
    .schema = 1,
    .aggregate_type = "thing",
    .payload = {.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(n_fields)},
};

Test(types, writes_nothing_of_a_call_with_an_event_that_does_not_fit)
{
    declare(&thing_changed);
    engine_with_types();
    struct quipu_event events[3] = {kit_event(&kit, "a", 1), kit_event(&kit, "a", -2),
                                    kit_event(&kit, "a", 3)};
    size_t failed = 77;

    cr_assert_eq(quipu_append_batch(kit.engine, events, 3, NULL, &failed, &kit.err), QUIPU_TYPE);

    cr_assert_eq(failed, 1);
    cr_assert_str_eq(kit.err.message,
                     "events[1]: thing.changed schema 1: n: expected uint, found a negative int");
    kit_assert_sound(&kit, 0);
    events[1] = events[0];
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, 3, NULL, &failed, &kit.err));
}

Test(types, never_refuses_what_another_store_recorded)
{
    kit_append(&kit, "a", -1);
    struct kit_foreign foreign;
    kit_foreign_copy(&kit, 1, &foreign);
    struct kit other;
    kit_open(&other);
    declare(&thing_changed);
    quipu_types_rule_set(types, QUIPU_TYPES_STRICT);
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    options.types = types;
    quipu_engine_close(&other.engine);
    kit_assert_ok(&other, quipu_engine_open(other.store, &options, &other.engine, &other.err));

    struct quipu_ingest *ingest = NULL;
    enum quipu_ingest_outcome outcome = QUIPU_INGEST_QUARANTINED;
    kit_assert_ok(&other,
                  quipu_ingest_begin(other.engine, QUIPU_INGEST_STRICT, &ingest, &other.err));
    kit_assert_ok(&other, quipu_ingest_event(ingest, &foreign.foreign, &outcome, &other.err));
    kit_assert_ok(&other, quipu_ingest_commit(&ingest, NULL, &other.err));
    cr_assert_eq(outcome, QUIPU_INGEST_ADDED);

    kit_assert_sound(&other, 1);
    kit_foreign_release(&foreign);
    kit_close(&other);
}

/* ------------------------------------------------------------------ in the store */

Test(types, are_kept_in_the_store_and_found_after_reopening)
{
    struct quipu_types *loaded = NULL;
    cr_assert_eq(quipu_types_load(kit.store, &loaded, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_types_forget(kit.store, &kit.err), QUIPU_NOT_FOUND);
    declare(&thing_changed);
    quipu_types_rule_set(types, QUIPU_TYPES_STRICT);
    kit_assert_ok(&kit, quipu_types_save(kit.store, types, &kit.err));
    kit_reopen(&kit);

    kit_assert_ok(&kit, quipu_types_load(kit.store, &loaded, &kit.err));

    cr_assert_eq(quipu_types_count(loaded), 1);
    cr_assert_eq(quipu_types_rule(loaded), QUIPU_TYPES_STRICT);
    const struct quipu_type *type = quipu_types_find(loaded, quipu_slice_text("thing.changed"), 1);
    cr_assert_not_null(type);
    cr_assert_str_eq(type->aggregate_type, "thing");
    cr_assert_str_eq(type->payload.fields[0].name, "n");
    quipu_types_free(loaded);
    kit_assert_ok(&kit, quipu_types_forget(kit.store, &kit.err));
    cr_assert_eq(quipu_types_load(kit.store, &loaded, &kit.err), QUIPU_NOT_FOUND);
}

static void row_put(struct quipu_slice value)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(
        &kit, quipu_txn_table_put(txn, TABLE_TYPES, quipu_slice_text("types"), value, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
}

Test(types, of_a_damaged_row_are_refused)
{
    struct quipu_types *loaded = NULL;
    row_put(quipu_slice_text("no registry"));
    cr_assert_eq(quipu_types_load(kit.store, &loaded, &kit.err), QUIPU_CORRUPT);
    cr_assert_eq(kit.err.status, QUIPU_CORRUPT);
    cr_assert_not_null(strstr(kit.err.message, "the store's event types"));
    row_put(kit_block(&kit, "{\"v\":2,\"what\":1}"));
    cr_assert_eq(quipu_types_load(kit.store, &loaded, &kit.err), QUIPU_FORMAT_NEWER);
    cr_assert_null(loaded);
}

static void save_and_die(void *ctx)
{
    (void)ctx;
    struct quipu_store *store = NULL;
    if (quipu_store_open(kit.path, NULL, &store, NULL) == QUIPU_OK) {
        /* A kill ends it here; a failure is not told. */
        _exit(quipu_types_save(store, types, NULL) == QUIPU_OK ? 3 : 4);
    }
}

Test(types, are_kept_whole_or_not_at_all)
{
    declare(&thing_changed);
    kit_shut(&kit);
    int how = kit_run_child("engine.types.before_commit:kill", save_and_die, NULL);
    cr_assert_eq(how & 0x7f, 9, "killed by the failpoint");
    kit_reopen(&kit);
    struct quipu_types *loaded = NULL;
    cr_assert_eq(quipu_types_load(kit.store, &loaded, &kit.err), QUIPU_NOT_FOUND);
}

/* ------------------------------------------------------------------ what the store keeps binds all
 */

static enum quipu_status append_event(struct quipu_engine *engine, const struct quipu_event *event)
{
    return quipu_append(engine, event, NULL, &kit.err);
}

/* As another process would. */
static void save(enum quipu_types_rule rule)
{
    quipu_types_rule_set(types, rule);
    kit_assert_ok(&kit, quipu_types_save(kit.store, types, &kit.err));
}

Test(types, of_the_store_bind_an_engine_that_was_given_none)
{
    declare(&thing_changed);
    struct quipu_event misfit = kit_event(&kit, "a", -1);
    struct quipu_event other = kit_event(&kit, "a", 1);
    other.type = "thing.renamed";
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(append_event(kit.engine, &misfit), QUIPU_OK, "nothing is declared");
        save(QUIPU_TYPES_LENIENT);
        /* It was checked against what was seen before; what is there now counts. */
        cr_assert_eq(append_event(kit.engine, &misfit), QUIPU_TYPE);
        cr_assert_str_eq(kit.err.message,
                         "thing.changed schema 1: n: expected uint, found a negative int");
        cr_assert_eq(append_event(kit.engine, &other), QUIPU_OK);
        save(QUIPU_TYPES_STRICT);
        cr_assert_eq(append_event(kit.engine, &other), QUIPU_TYPE);
        save(QUIPU_TYPES_LENIENT);
        cr_assert_eq(append_event(kit.engine, &other), QUIPU_OK, "loosened again");
        kit_assert_ok(&kit, quipu_types_forget(kit.store, &kit.err));
    }
    cr_assert_eq(append_event(kit.engine, &misfit), QUIPU_OK);
    kit_assert_sound(&kit, 7);
}

Test(types, of_the_store_give_way_to_those_of_the_options)
{
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    struct quipu_engine *engine = NULL;
    struct quipu_types *none = NULL;
    struct quipu_event misfit = kit_event(&kit, "a", -1);
    declare(&thing_changed);
    save(QUIPU_TYPES_STRICT);

    options.ignores_stored_types = true;
    kit_assert_ok(&kit, quipu_engine_open(kit.store, &options, &engine, &kit.err));
    cr_assert_eq(append_event(engine, &misfit), QUIPU_OK);
    quipu_engine_close(&engine);
    kit_assert_ok(&kit, quipu_types_new(QUIPU_TYPES_LENIENT, &none, &kit.err));
    options = (struct quipu_engine_options)QUIPU_ENGINE_OPTIONS_INIT;
    options.types = none;
    kit_assert_ok(&kit, quipu_engine_open(kit.store, &options, &engine, &kit.err));
    cr_assert_eq(append_event(engine, &misfit), QUIPU_OK);
    quipu_engine_close(&engine);
    quipu_types_free(none);

    cr_assert_eq(append_event(kit.engine, &misfit), QUIPU_TYPE, "the kit's engine has none");
    kit_assert_sound(&kit, 2);
}

Test(types, of_a_damaged_row_let_nothing_in_and_the_cure_is_said)
{
    row_put(quipu_slice_text("no registry"));
    struct quipu_event event = kit_event(&kit, "a", 1);
    cr_assert_eq(append_event(kit.engine, &event), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(kit.err.message, "quipu types import --replace"), "%s",
                       kit.err.message);
    declare(&thing_changed);
    save(QUIPU_TYPES_LENIENT);
    cr_assert_eq(append_event(kit.engine, &event), QUIPU_OK);
    kit_assert_sound(&kit, 1);
}

Test(types, leave_a_retry_the_answer_that_it_had_before_they_were_tightened)
{
    struct quipu_event events[2] = {kit_event(&kit, "a", -1), kit_event(&kit, "a", -2)};
    struct quipu_appended first;
    struct quipu_appended again;
    size_t failed = 77;
    events[0].event_id = kit_uuid(1);
    kit_assert_ok(&kit, quipu_append(kit.engine, &events[0], &first, &kit.err));
    declare(&thing_changed);
    save(QUIPU_TYPES_STRICT);

    kit_assert_ok(&kit, quipu_append(kit.engine, &events[0], &again, &kit.err));

    cr_assert(again.was_duplicate);
    cr_assert_eq(again.position, first.position);
    cr_assert(quipu_cid_equal(&again.cid, &first.cid));
    /* Beside one that is new, the call fails for the new one. */
    cr_assert_eq(quipu_append_batch(kit.engine, events, 2, NULL, &failed, &kit.err), QUIPU_TYPE);
    cr_assert_eq(failed, 1);
    cr_assert_not_null(strstr(kit.err.message, "events[1]: thing.changed"), "%s", kit.err.message);
    /* The same id with another content, which does not fit either, is refused for that. */
    events[0].payload = events[1].payload;
    cr_assert_eq(append_event(kit.engine, &events[0]), QUIPU_TYPE);
    events[0].payload = kit_block(&kit, "{\"n\":2}");
    cr_assert_eq(append_event(kit.engine, &events[0]), QUIPU_EVENT_ID_CONFLICT);
    kit_assert_sound(&kit, 1);
}

Test(types, bind_a_merge_as_they_bind_an_append)
{
    struct kit other;
    struct quipu_merged merged;
    kit_open(&other);
    other.random_state = 77; /* ids of its own */
    kit_append(&kit, "x", 1);
    fork_kit_take_all(&other, &kit);
    kit_append(&kit, "x", 2);
    kit_append(&other, "x", 3);
    fork_kit_take_all(&kit, &other);
    declare(&thing_changed);
    save(QUIPU_TYPES_STRICT);
    struct quipu_event event = kit_event(&kit, "x", -1);
    event.event_id = kit_uuid(1);

    cr_assert_eq(quipu_merge(kit.engine, &event, &merged, &kit.err), QUIPU_TYPE);
    kit_assert_ok(&kit, quipu_types_forget(kit.store, &kit.err));
    kit_assert_ok(&kit, quipu_merge(kit.engine, &event, &merged, &kit.err));
    save(QUIPU_TYPES_STRICT);
    kit_assert_ok(&kit, quipu_merge(kit.engine, &event, &merged, &kit.err));

    cr_assert(merged.event.was_duplicate);
    kit_assert_sound(&kit, 4);
    kit_close(&other);
}
