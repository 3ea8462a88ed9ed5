/*
 * Figures for people, and JSON indented for them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <string.h>

#include "print.h"

/* print.c and json_line.c are linked here without the program. */
const struct cli_verb *const cli_verbs[] = {NULL};

Test(print, groups_digits_by_three)
{
    char out[CLI_COUNT_BYTES];

    cr_assert_str_eq(cli_count(0, out), "0");
    cr_assert_str_eq(cli_count(999, out), "999");
    cr_assert_str_eq(cli_count(3288, out), "3,288");
    cr_assert_str_eq(cli_count(100000, out), "100,000");
    cr_assert_str_eq(cli_count(UINT64_MAX, out), "18,446,744,073,709,551,615");
}

Test(print, counts_one_and_many)
{
    char out[CLI_COUNTED_BYTES];

    cr_assert_str_eq(cli_counted(0, "event", out), "0 events");
    cr_assert_str_eq(cli_counted(1, "event", out), "1 event");
    cr_assert_str_eq(cli_counted(3288, "dead letter", out), "3,288 dead letters");
}

Test(print, leaves_one_cure)
{
    struct quipu_error err;

    (void)quipu_error_set(&err, QUIPU_OFFLINE, "no server; start one; or not");
    struct quipu_error plain = cli_without_cure(&err);
    cr_assert_str_eq(plain.message, "no server");
    cr_assert_eq(plain.status, QUIPU_OFFLINE);
}

Test(print, says_our_cure_only_where_the_message_has_none)
{
    struct quipu_error err;

    (void)quipu_error_set(&err, QUIPU_CORRUPT, "damaged");
    cr_assert_str_eq(cli_cure_unless_said(&err, "restore it"), "restore it");
    (void)quipu_error_set(&err, QUIPU_CORRUPT, "damaged; repair it");
    cr_assert_null(cli_cure_unless_said(&err, "restore it"));
}

Test(print, scales_bytes)
{
    char out[CLI_COUNT_BYTES];

    cr_assert_str_eq(cli_bytes(999, out), "999 B");
    cr_assert_str_eq(cli_bytes(1000, out), "1.0 kB");
    cr_assert_str_eq(cli_bytes(999949, out), "999.9 kB");
    cr_assert_str_eq(cli_bytes(999999, out), "1.0 MB");
    cr_assert_str_eq(cli_bytes(5000000000000, out), "5.0 TB");
}

Test(print, scales_durations)
{
    char out[CLI_COUNT_BYTES];

    cr_assert_str_eq(cli_duration(999, out), "999 us");
    cr_assert_str_eq(cli_duration(1500, out), "1.5 ms");
    cr_assert_str_eq(cli_duration(2500000, out), "2.5 s");
}

static void indents(const char *json, const char *expected)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    cli_json_indent(quipu_slice_text(json), "  ", &out);
    quipu_buf_append_byte(&out, 0);
    cr_assert_str_eq((const char *)out.data, expected);
    quipu_buf_release(&out);
}

Test(json_indent, breaks_maps_and_lists)
{
    indents("7", "  7");
    indents("{}", "  {}");
    indents("{\"a\":[],\"b\":{}}", "  {\n    \"a\": [],\n    \"b\": {}\n  }");
    indents("[1,[2,3],{\"a\":4}]", "  [\n    1,\n    [\n      2,\n      3\n    ],\n"
                                   "    {\n      \"a\": 4\n    }\n  ]");
}

Test(json_indent, leaves_what_is_inside_strings)
{
    indents("{\"a,{\":\"\\\"[:\\\\\",\"b\":\"}\"}",
            "  {\n    \"a,{\": \"\\\"[:\\\\\",\n    \"b\": \"}\"\n  }");
}

Test(json_indent, escapes_control_characters_that_json_allows)
{
    indents("{\"a\":\"x\x7fy\xc2\x9bz\xc2\xa0\xc3\xa9\"}",
            "  {\n    \"a\": \"x\\u007fy\\u009bz\xc2\xa0\xc3\xa9\"\n  }");
    /* U+202E, U+200B, U+E0041: order turned, nothing shown, a tag. */
    indents("{\"a\":\"x\xe2\x80\xaey\xe2\x80\x8bz\xf3\xa0\x81\x81\"}",
            "  {\n    \"a\": \"x\\u202ey\\u200bz\\udb40\\udc41\"\n  }");
}

Test(json_line, escapes_control_characters_that_json_allows, .init = cr_redirect_stdout)
{
    struct cli_json json = {0};
    struct quipu_error err;
    cli_json_begin(&json);
    cli_json_text(&json, "a\xc2\x80", quipu_slice_text("\x7f\xc2\x9f\xc2\xa0\xc3\xa9\x1b"));
    cli_json_raw(&json, "b", quipu_slice_text("\"\xc2\x9b\""));
    cr_assert_eq(cli_json_end(&json, &err), QUIPU_OK);
    cli_put_json(quipu_slice_text("x\xc2"), stdout); /* never half of a letter as another one */
    (void)fflush(stdout);
    cli_json_release(&json);

    cr_assert_stdout_eq_str("{\"a\\u0080\":\"\\u007f\\u009f\xc2\xa0\xc3\xa9\\u001b\","
                            "\"b\":\"\\u009b\"}\nx\xc2");
}

Test(print, puts_nothing_that_drives_a_terminal, .init = cr_redirect_stdout)
{
    /* ESC, DEL, U+009B, bytes that are no UTF-8, half of a letter at the end; é and € are letters.
     */
    cli_put_plain(quipu_slice_text("a\x1b[b\x7f"
                                   "c\xc2\x9b"
                                   "d\x9b"
                                   "e\xc3\xa9\xe2\x82\xac\n"
                                   "f\xe2\x82"));
    (void)fflush(stdout);

    cr_assert_stdout_eq_str("a [b c d e\xc3\xa9\xe2\x82\xac f  ");
}

Test(print, puts_nothing_that_hides_or_turns_the_order, .init = cr_redirect_stdout)
{
    /* U+202E, U+2066, U+061C, U+200B, U+E0041; U+200D joins letters and stays. */
    cli_put_plain(quipu_slice_text("a\xe2\x80\xae"
                                   "b\xe2\x81\xa6"
                                   "c\xd8\x9c"
                                   "d\xe2\x80\x8b"
                                   "e\xf3\xa0\x81\x81"
                                   "f\xe2\x80\x8dg"));
    (void)fflush(stdout);

    cr_assert_stdout_eq_str("a b c d e f\xe2\x80\x8dg");
}

Test(print, a_line_that_quotes_others_stays_one_line, .init = cr_redirect_stdout)
{
    cli_say("wrote %s, %d", "x\n\x1b[31mintact: y", 7);
    (void)fflush(stdout);

    cr_assert_stdout_eq_str("wrote x  [31mintact: y, 7\n");
}

Test(print, a_note_stays_one_line, .init = cr_redirect_stderr)
{
    struct cli cli = {0};
    cli_note(&cli, "there is no store in \"%s\"", "x\nintact\xe2\x80\xae");
    (void)fflush(stderr);

    cr_assert_stderr_eq_str("there is no store in \"x intact \"\n");
}
