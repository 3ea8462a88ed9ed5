/*
 * quipu-cidcheck --check: an output line against what the input line expects. Differences that are
 * decisions and not defects are listed here by what they are about, each with its reason.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cidcheck.h"

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text == NULL ? "" : text;
}

/* dasl-testing refuses negative zero; the DAG-CBOR specification does not, and a float must come
 * back as it went in. */
static bool is_negative_zero(const json_t *line)
{
    return strcmp(text_of(line, "suite"), "dasl-testing") == 0 &&
           strncmp(text_of(line, "op"), "dagcbor", strlen("dagcbor")) == 0 &&
           strstr(text_of(line, "hex"), "fb8000000000000000") != NULL;
}

/* A suite that goes to the depth limit of its own decoder: refusing cleanly is allowed. */
static bool is_depth_limit(const json_t *line, const json_t *output)
{
    return strcmp(text_of(line, "limit"), "depth") == 0 &&
           strcmp(text_of(output, "code"), "CBOR_DEPTH") == 0;
}

static enum cidcheck_outcome differs(const json_t *line, const json_t *output, const char *what)
{
    char *told = json_dumps(output, JSON_COMPACT);
    (void)fprintf(stderr, "differs in %s: %s / %s: %.400s\n", what, text_of(line, "suite"),
                  text_of(line, "name"), told == NULL ? "" : told);
    free(told);
    return CIDCHECK_FAILED;
}

/* Does the output have the value that the line expects under `key`, where it expects one? */
static bool is_same(const json_t *line, const json_t *output, const char *key)
{
    const json_t *expected = json_object_get(line, key);
    if (expected == NULL || json_is_null(expected)) {
        return true;
    }
    return json_equal(expected, json_object_get(output, key)) != 0;
}

enum cidcheck_outcome cidcheck_compare(const json_t *line, const json_t *output)
{
    const char *expect = text_of(line, "expect");
    const char *result = text_of(output, "result");
    const char *op = text_of(line, "op");
    if (strcmp(expect, "n/a") == 0) {
        /* Made for another profile, or a CARv2, which must never pass for a CARv1. */
        bool is_misread = strcmp(op, "car") == 0 && strcmp(result, "accept") == 0;
        return is_misread ? differs(line, output, "result") : CIDCHECK_NOT_APPLICABLE;
    }
    if (strcmp(expect, result) != 0) {
        if (is_negative_zero(line) || is_depth_limit(line, output)) {
            return CIDCHECK_KNOWN;
        }
        return differs(line, output, "result");
    }
    if (strcmp(result, "reject") == 0) {
        /* A code that is not success, on every refusal. */
        return json_integer_value(json_object_get(output, "number")) >= 10
                   ? CIDCHECK_AS_EXPECTED
                   : differs(line, output, "code");
    }
    static const char *const KEYS[] = {"cid", "hex", "value", "ncids", "cids", "roots"};
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++) {
        if (!is_same(line, output, KEYS[i])) {
            return differs(line, output, KEYS[i]);
        }
    }
    /* The suite's own text is canonical where encoding is asked for as well. */
    if (strcmp(op, "multibase") == 0 &&
        (!is_same(line, output, "str") || !is_same(line, output, "base"))) {
        return differs(line, output, "str");
    }
    return CIDCHECK_AS_EXPECTED;
}
