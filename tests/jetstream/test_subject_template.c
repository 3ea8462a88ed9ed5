/*
 * Templates of subjects: the prefix goes in once, each event's own texts for its message, and what
 * the stream is told to take is what stands in front of the first variable.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "connection.h"
#include "event_message.h"
#include "subject_template.h"

#define ID "018f2b1c-0000-7000-8000-000000000001"

Test(subject_template, fills_in_the_prefix_once_and_the_event_each_time)
{
    static const struct {
        const char *text, *made, *literal, *subject;
    } rows[] = {
        {QUIPU_SUBJECT_TEMPLATE_DEFAULT, "cim.keys.{aggregate_type}.{event_type}.{event_id}",
         "cim.keys", "cim.keys.key.key.generated." ID},
        {"cim.graph.{aggregate_type}.events.{event_type}.{event_id}",
         "cim.graph.{aggregate_type}.events.{event_type}.{event_id}", "cim.graph",
         "cim.graph.key.events.key.generated." ID},
        {"{prefix}.{event_id}", "cim.keys.{event_id}", "cim.keys", "cim.keys." ID},
        {"a.{prefix}.b.{event_id}", "a.cim.keys.b.{event_id}", "a.cim.keys.b", "a.cim.keys.b." ID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char made[SUBJECT_TEMPLATE_BYTES];
        char literal[QUIPU_SUBJECT_LITERAL_MAX + 1];
        char subject[EVENT_SUBJECT_BYTES];
        struct quipu_error err = {0};
        cr_assert_eq(quipu_subject_template_make(rows[i].text, "cim.keys", made, literal, &err),
                     QUIPU_OK, "%s", err.message);
        cr_assert_str_eq(made, rows[i].made);
        cr_assert_str_eq(literal, rows[i].literal);
        const struct subject_values values = {"key", "key.generated", ID};
        quipu_subject_template_fill(made, &values, subject, sizeof subject);
        cr_assert_str_eq(subject, rows[i].subject);
    }
}

Test(subject_template, the_longest_of_everything_fits)
{
    char prefix[QUIPU_SUBJECT_LITERAL_MAX + 1];
    char aggregate_type[QUIPU_AGGREGATE_TYPE_BYTES_MAX + 1];
    char event_type[QUIPU_EVENT_TYPE_BYTES_MAX + 1];
    char made[SUBJECT_TEMPLATE_BYTES];
    char literal[QUIPU_SUBJECT_LITERAL_MAX + 1];
    char subject[EVENT_SUBJECT_BYTES];
    memset(prefix, 'p', sizeof prefix - 1);
    memset(aggregate_type, 'a', sizeof aggregate_type - 1);
    memset(event_type, 'e', sizeof event_type - 1);
    prefix[sizeof prefix - 1] = 0;
    aggregate_type[sizeof aggregate_type - 1] = 0;
    event_type[sizeof event_type - 1] = 0;

    cr_assert_eq(
        quipu_subject_template_make(QUIPU_SUBJECT_TEMPLATE_DEFAULT, prefix, made, literal, NULL),
        QUIPU_OK);
    const struct subject_values values = {aggregate_type, event_type, ID};
    quipu_subject_template_fill(made, &values, subject, sizeof subject);

    cr_assert_eq(strlen(subject),
                 strlen(prefix) + strlen(aggregate_type) + strlen(event_type) + strlen(ID) + 3);
    cr_assert_str_eq(strrchr(subject, '.') + 1, ID);
    cr_assert_str_eq(literal, prefix);
}

Test(subject_template, refuses_what_would_not_end_with_the_event_id)
{
    char made[SUBJECT_TEMPLATE_BYTES] = "before";
    char literal[QUIPU_SUBJECT_LITERAL_MAX + 1] = "before";
    struct quipu_error err = {0};

    cr_assert_eq(quipu_subject_template_make("{prefix}.{event_type}", "a", made, literal, &err),
                 QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "{event_id} is the last token"));
    cr_assert_str_eq(made, "before");
    cr_assert_str_eq(literal, "before");
}

Test(subject_template, a_connection_refuses_a_bad_one_before_it_connects)
{
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_nats *nats = NULL;
    struct quipu_error err = {0};
    options.url = "nats://127.0.0.1:1";
    options.subject_template = "{prefix}.{aggregate_id}.{event_id}";

    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "subject template"), "%s", err.message);
    cr_assert_null(nats);
}
