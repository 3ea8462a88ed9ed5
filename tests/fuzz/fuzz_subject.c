/*
 * Subjects. Properties: a template that passes the check becomes exactly the text that replacing
 * its variables one by one gives, below the literal part that the stream is told of; what is cut
 * off ends with a NUL; and whether one pattern covers another, or meets it, is what trying every
 * subject says.
 *
 * The first byte chooses: '*' two patterns, made of the bytes behind it; else a template, a prefix
 * and an event's texts, a line each.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "fuzz.h"
#include "subject.h"
#include "subject_template.h"

#define LINES      5
#define LINE_BYTES 400

/* ------------------------------------------------------------------ templates */

/* Line by line, NUL-terminated; what is missing is empty. */
static void split(const uint8_t *data, size_t size, char lines[LINES][LINE_BYTES])
{
    size_t line = 0;
    size_t len = 0;
    memset(lines, 0, LINES * LINE_BYTES);
    for (size_t i = 0; i < size && line < LINES; i++) {
        if (data[i] == '\n') {
            line++;
            len = 0;
        } else if (len < LINE_BYTES - 1) {
            lines[line][len++] = (char)data[i];
        }
    }
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* Tokens of letters with dots between them: what a prefix and an event's texts are. */
static bool is_literal(const char *text)
{
    char before = '.';
    for (; *text != 0; text++) {
        if (!is_letter(*text) && !(*text == '.' && before != '.')) {
            return false;
        }
        before = *text;
    }
    return before != '.';
}

/* The template with its variables replaced, by searching for them in the whole text. */
static void replace(const char *text, char lines[LINES][LINE_BYTES], struct quipu_buf *out)
{
    static const char *const names[] = {"{prefix}", "{aggregate_type}", "{event_type}",
                                        "{event_id}"};
    while (*text != 0) {
        size_t found = 0;
        while (found < 4 && strncmp(text, names[found], strlen(names[found])) != 0) {
            found++;
        }
        if (found == 4) {
            quipu_buf_append_byte(out, (uint8_t)*text++);
        } else {
            quipu_buf_append_text(out, lines[found + 1]);
            text += strlen(names[found]);
        }
    }
    quipu_buf_append_byte(out, 0);
    FUZZ_REQUIRE(out->status == QUIPU_OK);
}

static void template(const uint8_t *data, size_t size)
{
    static char lines[LINES][LINE_BYTES];
    static char subject[LINES * LINE_BYTES];
    char made[SUBJECT_TEMPLATE_BYTES];
    char literal[QUIPU_SUBJECT_LITERAL_MAX + 1];
    char wide[QUIPU_SUBJECT_LITERAL_MAX + 3];
    char small[24];
    struct quipu_error err = {.offset = 0};
    split(data, size, lines);
    if (!is_literal(lines[1]) || strlen(lines[1]) > QUIPU_SUBJECT_LITERAL_MAX) {
        return; /* the prefix was checked before */
    }
    enum quipu_status status = quipu_subject_template_make(lines[0], lines[1], made, literal, &err);
    FUZZ_REQUIRE(status == quipu_subject_template_check(lines[0], lines[1], NULL));
    if (status != QUIPU_OK) {
        FUZZ_REQUIRE(status == QUIPU_INVALID && err.status == status);
        return;
    }
    size_t len = strlen(literal);
    FUZZ_REQUIRE(is_literal(literal) && strncmp(made, literal, len) == 0);
    FUZZ_REQUIRE(made[len] == '.' && made[len + 1] == '{');
    if (!is_literal(lines[2]) || !is_literal(lines[3]) || !is_literal(lines[4])) {
        return; /* what an event may hold was checked when it was made */
    }
    struct subject_values values = {lines[2], lines[3], lines[4]};
    struct quipu_buf expected = QUIPU_BUF_INIT;
    replace(lines[0], lines, &expected);
    quipu_subject_template_fill(made, &values, subject, sizeof subject);
    FUZZ_REQUIRE(strcmp(subject, (const char *)expected.data) == 0);
    FUZZ_REQUIRE(is_literal(subject));
    (void)snprintf(wide, sizeof wide, "%s.>", literal);
    FUZZ_REQUIRE(quipu_subject_covers(wide, subject) && quipu_subjects_meet(wide, subject));
    memset(small, 'x', sizeof small);
    quipu_subject_template_fill(made, &values, small, sizeof small);
    FUZZ_REQUIRE(memchr(small, 0, sizeof small) != NULL);
    FUZZ_REQUIRE(strncmp(subject, small, strlen(small)) == 0);
    quipu_buf_release(&expected);
}

/* ------------------------------------------------------------------ patterns */

#define TOKENS_MAX  3 /* of a pattern; a subject that is tried has one more */
#define LETTERS     3 /* "a" and "b" stand in patterns, "c" for whatever does not */
#define SUBJECT_MAX (TOKENS_MAX + 1)

struct pattern {
    char tokens[TOKENS_MAX];
    size_t count;
    char text[2 * TOKENS_MAX];
};

static struct pattern pattern_of(uint8_t byte)
{
    static const char letters[] = "ab*>";
    struct pattern made = {.count = 1 + (byte >> 6) % TOKENS_MAX};
    for (size_t i = 0; i < made.count; i++) {
        char token = letters[byte >> (2 * i) & 3];
        if (token == '>') {
            made.count = i + 1; /* it is the last one */
        }
        made.tokens[i] = token;
        made.text[2 * i] = token;
        made.text[2 * i + 1] = '.';
    }
    made.text[2 * made.count - 1] = 0;
    return made;
}

static bool matches(const struct pattern *pattern, const char *subject, size_t len)
{
    for (size_t i = 0; i < pattern->count; i++) {
        if (i >= len) {
            return false;
        }
        if (pattern->tokens[i] == '>') {
            return true;
        }
        if (pattern->tokens[i] != '*' && pattern->tokens[i] != subject[i]) {
            return false;
        }
    }
    return pattern->count == len;
}

static void patterns(uint8_t first, uint8_t second)
{
    struct pattern a = pattern_of(first);
    struct pattern b = pattern_of(second);
    bool covers = true;
    bool meet = false;
    for (size_t len = 1; len <= SUBJECT_MAX; len++) {
        size_t count = 1;
        for (size_t i = 0; i < len; i++) {
            count *= LETTERS;
        }
        for (size_t number = 0; number < count; number++) {
            char subject[SUBJECT_MAX];
            size_t rest = number;
            for (size_t i = 0; i < len; i++) {
                subject[i] = (char)('a' + (char)(rest % LETTERS));
                rest /= LETTERS;
            }
            bool is_a = matches(&a, subject, len);
            bool is_b = matches(&b, subject, len);
            covers = covers && (is_a || !is_b);
            meet = meet || (is_a && is_b);
        }
    }
    FUZZ_REQUIRE(quipu_subject_covers(a.text, b.text) == covers);
    FUZZ_REQUIRE(quipu_subjects_meet(a.text, b.text) == meet);
    FUZZ_REQUIRE(quipu_subjects_meet(b.text, a.text) == meet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] != '*') {
        template(data, size);
        return 0;
    }
    for (size_t i = 1; i + 1 < size && i < 16; i += 2) {
        patterns(data[i], data[i + 1]);
    }
    return 0;
}
