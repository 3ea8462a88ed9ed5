/*
 * quipu-cidcheck: runs conformance vectors of CIDs, DAG-CBOR and CARs through quipu, so that anyone
 * can hold any suite against it. Reads JSON lines {"op": …, "hex" | "str" | "file": …} on stdin and
 * prints one JSON line for each; with --check it holds the result against the line's own
 * expectations and prints totals instead. It judges nothing itself: every verdict is the library's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cidcheck.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/text.h"

#define EXIT_BAD_LINES 1
#define EXIT_USAGE     2
#define EXIT_DIFFERS   3

#define MULTIHASH_BLAKE3 0x1e
#define BYTE_ORDER_MARK  "\xef\xbb\xbf"

static const char USAGE[] =
    "usage: quipu-cidcheck [--files DIR] [--check] < LINES.jsonl\n"
    "\n"
    "Each input line is {\"op\": OP, \"hex\" | \"str\" | \"file\": …}; OP is one of dagcbor,\n"
    "dagcbor-encode-reject, cid-parse, cid-bytes, cid-syntax-loose, multibase, multibase-decode,\n"
    "multihash, varint, car, dagjson. \"profile\": \"dasl\" asks for that profile's verdict.\n"
    "\n"
    "  --files DIR  where \"file\" is looked for, and then in DIR/car where it is a bare name\n"
    "               (default: the current folder); an absolute \"file\" is taken as it is\n"
    "  --check      compare with \"expect\", \"cid\", \"hex\", \"value\", \"cids\" of each line;\n"
    "               print differences on stderr and totals on stdout\n"
    "\n"
    "Exit: 0 done, 1 a line was not JSON or not usable, 2 usage, 3 --check found a difference\n";

static const struct {
    const char *name;
    cidcheck_op *run;
} OPERATIONS[] = {
    {"dagcbor", cidcheck_dagcbor},
    {"dagcbor-encode-reject", cidcheck_encode_reject},
    {"cid-parse", cidcheck_cid_parse},
    {"cid-bytes", cidcheck_cid_bytes},
    {"cid-syntax-loose", cidcheck_cid_syntax},
    {"multibase", cidcheck_multibase},
    {"multibase-decode", cidcheck_multibase},
    {"multihash", cidcheck_multihash},
    {"varint", cidcheck_varint},
    {"car", cidcheck_car},
    {"dagjson", cidcheck_dagjson},
};

void cidcheck_judge_profiles(struct cidcheck_verdict *verdict, const struct quipu_cid_view *view,
                             uint64_t offset)
{
    struct quipu_cid cid;
    struct quipu_error err = {.message = ""};
    enum quipu_status status = quipu_cid_from_view(view, &cid, &err);
    verdict->event = verdict->event != QUIPU_OK ? verdict->event : status;
    /* DASL's CIDs are ours, and "Big DASL" ones with BLAKE3 besides. */
    bool is_big = view->version == 1 && view->hash == MULTIHASH_BLAKE3 &&
                  view->digest.len == QUIPU_SHA256_BYTES &&
                  (view->codec == QUIPU_CODEC_RAW || view->codec == QUIPU_CODEC_DAG_CBOR);
    status = is_big ? QUIPU_OK : status;
    if (verdict->dasl == QUIPU_OK && status != QUIPU_OK) {
        verdict->dasl = status;
        verdict->err = err;
        verdict->err.offset = offset;
    }
}

void cidcheck_unusable(struct cidcheck_verdict *verdict, const char *what)
{
    verdict->is_usable = false;
    (void)quipu_error_set(&verdict->err, QUIPU_INVALID, "%s", what);
}

void cidcheck_put_text(struct cidcheck_verdict *verdict, const char *key, struct quipu_slice text)
{
    (void)json_object_set_new(verdict->json, key, json_stringn((const char *)text.data, text.len));
}

void cidcheck_put_hex(struct cidcheck_verdict *verdict, const char *key, struct quipu_slice bytes)
{
    struct quipu_buf hex = QUIPU_BUF_INIT;
    quipu_hex_append(&hex, bytes);
    quipu_buf_append_byte(&hex, 0);
    if (hex.status == QUIPU_OK) {
        (void)json_object_set_new(verdict->json, key, json_string((const char *)hex.data));
    }
    quipu_buf_release(&hex);
}

json_t *cidcheck_cid_json(const struct quipu_cid_view *view)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    quipu_cid_view_format(view, &text);
    json_t *json = text.status == QUIPU_OK ? json_stringn((const char *)text.data, text.len) : NULL;
    quipu_buf_release(&text);
    return json;
}

void cidcheck_put_cid(struct cidcheck_verdict *verdict, const char *key,
                      const struct quipu_cid_view *view)
{
    (void)json_object_set_new(verdict->json, key, cidcheck_cid_json(view));
}

/* The bytes of "hex" go into `storage`. */
static bool take_input(json_t *line, const char *files_dir, struct quipu_buf *storage,
                       struct cidcheck_input *out, struct cidcheck_verdict *verdict)
{
    *out = (struct cidcheck_input){.line = line, .files_dir = files_dir};
    out->op = json_string_value(json_object_get(line, "op"));
    if (out->op == NULL) {
        cidcheck_unusable(verdict, "the line has no \"op\"");
        return false;
    }
    const json_t *hex = json_object_get(line, "hex");
    if (json_is_string(hex)) {
        struct quipu_slice digits = quipu_slice(json_string_value(hex), json_string_length(hex));
        if (quipu_hex_decode(storage, digits) != QUIPU_OK) {
            cidcheck_unusable(verdict, "\"hex\" is not hexadecimal");
            return false;
        }
        out->bytes = quipu_buf_slice(storage);
        out->has_bytes = true;
    }
    const json_t *text = json_object_get(line, "str");
    if (json_is_string(text)) {
        out->text = quipu_slice(json_string_value(text), json_string_length(text));
        out->has_text = true;
    }
    const char *profile = json_string_value(json_object_get(line, "profile"));
    out->is_dasl = profile != NULL && strcmp(profile, "dasl") == 0;
    return true;
}

static void run_operation(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof OPERATIONS[0]; i++) {
        if (strcmp(OPERATIONS[i].name, input->op) == 0) {
            OPERATIONS[i].run(input, verdict);
            return;
        }
    }
    cidcheck_unusable(verdict, "the line's \"op\" is not known");
}

static const char *accept_or_reject(enum quipu_status status)
{
    return status == QUIPU_OK ? "accept" : "reject";
}

/* Nothing was read to judge: this machine failed and not the input. */
static bool is_no_verdict(enum quipu_status status)
{
    return status == QUIPU_IO || status == QUIPU_NO_MEMORY || status == QUIPU_NO_SPACE ||
           status == QUIPU_NOT_FOUND || status == QUIPU_PERMISSION;
}

/* Put the status, and the place and the reason of a refusal. */
static void put_result(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    json_t *json = verdict->json;
    if (!verdict->is_usable || is_no_verdict(verdict->status)) {
        (void)json_object_set_new(json, "result", json_string("error"));
        (void)json_object_set_new(json, "message", json_string(verdict->err.message));
        return;
    }
    enum quipu_status status = verdict->status;
    if (verdict->has_profiles) {
        (void)json_object_set_new(json, "generic", json_string(accept_or_reject(verdict->status)));
        enum quipu_status event = status != QUIPU_OK ? status : verdict->event;
        (void)json_object_set_new(json, "event", json_string(accept_or_reject(event)));
        status = status == QUIPU_OK && input->is_dasl ? verdict->dasl : status;
    }
    (void)json_object_set_new(json, "result", json_string(accept_or_reject(status)));
    (void)json_object_set_new(json, "code", json_string(quipu_status_name(status)));
    (void)json_object_set_new(json, "number", json_integer((json_int_t)status));
    if (status == QUIPU_OK) {
        return;
    }
    if (verdict->err.offset != QUIPU_ERROR_NO_OFFSET) {
        (void)json_object_set_new(json, "offset", json_integer((json_int_t)verdict->err.offset));
    }
    json_t *message = json_string(verdict->err.message);
    (void)json_object_set_new(json, "message",
                              message != NULL ? message : json_string(quipu_status_text(status)));
}

/* The output line for one input line; NULL where out of memory. */
static json_t *answer(json_t *line, const char *files_dir)
{
    struct cidcheck_verdict verdict = {.is_usable = true, .json = json_object()};
    verdict.err.offset = QUIPU_ERROR_NO_OFFSET;
    struct cidcheck_input input;
    struct quipu_buf storage = QUIPU_BUF_INIT;
    (void)json_object_set(verdict.json, "name", json_object_get(line, "name"));
    if (take_input(line, files_dir, &storage, &input, &verdict)) {
        run_operation(&input, &verdict);
    }
    put_result(&input, &verdict);
    quipu_buf_release(&storage);
    return verdict.json;
}

struct totals {
    unsigned long lines;
    unsigned long bad;
    unsigned long outcomes[CIDCHECK_OUTCOMES];
};

static void print_json(const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    if (text == NULL) {
        (void)fputs("{\"result\":\"error\",\"message\":\"out of memory\"}\n", stdout);
        return;
    }
    (void)puts(text);
    free(text);
}

/* How many bytes a number takes that `text` begins with; 0 where it begins with none. */
static size_t number_span(const char *text)
{
    bool is_number = (*text >= '0' && *text <= '9') || *text == '-';
    return is_number ? strspn(text, "+-.0123456789eE") : 0;
}

/* Does JSON's reader refuse the number at `text`, because it fits neither int64 nor double? */
static bool is_out_of_range(const char *text, size_t len)
{
    errno = 0;
    if (strcspn(text, ".eE") >= len) {
        (void)strtoll(text, NULL, 10);
        return errno == ERANGE;
    }
    return isinf(strtod(text, NULL)) != 0;
}

/* Copy a line, with each number that is out of range as a string: an expectation of one is compared
 * as a string, and in a field that is not known it is of no interest. `text` ends with a NUL. */
static void quote_numbers(const char *text, size_t len, struct quipu_buf *out)
{
    bool is_string = false;
    for (size_t at = 0; at < len;) {
        size_t span = is_string ? 0 : number_span(text + at);
        if (span > 0) {
            const char *quote = is_out_of_range(text + at, span) ? "\"" : "";
            quipu_buf_append_text(out, quote);
            quipu_buf_append(out, text + at, span);
            quipu_buf_append_text(out, quote);
            at += span;
            continue;
        }
        bool is_escape = is_string && text[at] == '\\' && at + 1 < len;
        is_string = text[at] == '"' ? !is_string : is_string;
        quipu_buf_append(out, text + at, is_escape ? 2 : 1);
        at += is_escape ? 2 : 1;
    }
}

/* The line as JSON, or NULL with the reason in `error`. */
static json_t *load_line(const char *text, size_t len, json_error_t *error)
{
    static const size_t FLAGS = JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;
    json_t *line = json_loadb(text, len, FLAGS, error);
    if (line != NULL || json_error_code(error) != json_error_numeric_overflow) {
        return line;
    }
    struct quipu_buf quoted = QUIPU_BUF_INIT;
    quote_numbers(text, len, &quoted);
    if (quoted.status == QUIPU_OK) {
        line = json_loadb((const char *)quoted.data, quoted.len, FLAGS, error);
    }
    quipu_buf_release(&quoted);
    return line;
}

static void take_line(const char *text, size_t len, const char *files_dir, bool is_check,
                      struct totals *totals)
{
    json_error_t error;
    json_t *line = load_line(text, len, &error);
    json_t *output;
    if (json_is_object(line)) {
        output = answer(line, files_dir);
    } else {
        output = json_pack("{s:s, s:s, s:i}", "result", "error", "message",
                           line == NULL ? error.text : "the line is no JSON object", "line",
                           (int)(totals->lines % INT32_MAX));
    }
    const char *result = json_string_value(json_object_get(output, "result"));
    bool is_bad = result == NULL || strcmp(result, "error") == 0;
    totals->bad += is_bad;
    if (!is_check || is_bad) {
        print_json(output);
    }
    if (is_check && !is_bad) {
        totals->outcomes[cidcheck_compare(line, output)]++;
    }
    json_decref(output);
    json_decref(line);
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"files", required_argument, NULL, 'f'},
        {"check", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *files_dir = ".";
    bool is_check = false;
    for (int c; (c = getopt_long(argc, argv, "h", OPTIONS, NULL)) != -1;) {
        if (c == 'f') {
            files_dir = optarg;
        } else if (c == 'c') {
            is_check = true;
        } else {
            (void)fputs(USAGE, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fputs(USAGE, stderr);
        return EXIT_USAGE;
    }
    /* Each answer at once: a program on the other end may wait for it before it asks on. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    struct totals totals = {0};
    char *text = NULL;
    size_t cap = 0;
    for (ssize_t len; (len = getline(&text, &cap, stdin)) >= 0;) {
        totals.lines++;
        if (strspn(text, " \t\r\n") == (size_t)len) {
            continue;
        }
        /* A byte order mark before the first line is no part of it. */
        size_t skip = totals.lines == 1 && strncmp(text, BYTE_ORDER_MARK, 3) == 0 ? 3 : 0;
        take_line(text + skip, (size_t)len - skip, files_dir, is_check, &totals);
    }
    free(text);
    if (is_check) {
        (void)printf("%lu as expected, %lu known differences, %lu not applicable, %lu failed, "
                     "%lu not usable\n",
                     totals.outcomes[CIDCHECK_AS_EXPECTED], totals.outcomes[CIDCHECK_KNOWN],
                     totals.outcomes[CIDCHECK_NOT_APPLICABLE], totals.outcomes[CIDCHECK_FAILED],
                     totals.bad);
    }
    if (totals.outcomes[CIDCHECK_FAILED] > 0) {
        return EXIT_DIFFERS;
    }
    return totals.bad > 0 ? EXIT_BAD_LINES : 0;
}
