/*
 * What the files of quipu-cidcheck share: one input line, and what we say about it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CIDCHECK_H
#define QUIPU_CIDCHECK_H

#include <jansson.h>

#include "quipu/buf.h"
#include "quipu/cid.h"
#include "quipu/error.h"

/* An input line, taken apart; everything borrowed from `line`. */
struct cidcheck_input {
    json_t *line;
    const char *op;
    struct quipu_slice bytes; /* of "hex" */
    struct quipu_slice text;  /* of "str" */
    bool has_bytes;
    bool has_text;
    bool is_dasl;          /* asks for the verdict of the DASL profile */
    const char *files_dir; /* where "file" is looked for */
};

/* The verdict; `json` is the output line, which an operation adds its values to. */
struct cidcheck_verdict {
    enum quipu_status status; /* of the generic profile */
    /* Of quipu's event profile and of DASL's, where an operation on CIDs knows them. */
    enum quipu_status event;
    enum quipu_status dasl;
    bool has_profiles;
    bool is_usable; /* false: the line does not say what to do */
    struct quipu_error err;
    json_t *json;
};

/* One operation of the vectors. */
typedef void cidcheck_op(const struct cidcheck_input *input, struct cidcheck_verdict *verdict);

cidcheck_op cidcheck_dagcbor;
cidcheck_op cidcheck_encode_reject;
cidcheck_op cidcheck_cid_parse;
cidcheck_op cidcheck_cid_bytes;
cidcheck_op cidcheck_cid_syntax;
cidcheck_op cidcheck_multibase;
cidcheck_op cidcheck_multihash;
cidcheck_op cidcheck_varint;
cidcheck_op cidcheck_car;
cidcheck_op cidcheck_dagjson;

/* Note what the profiles say of this CID, where the generic one took it. A verdict that was made
 * before stays. `offset` is where the CID stands in the input. */
void cidcheck_judge_profiles(struct cidcheck_verdict *verdict, const struct quipu_cid_view *view,
                             uint64_t offset);

/* Note that the line lacks what the operation needs. */
void cidcheck_unusable(struct cidcheck_verdict *verdict, const char *what);

/* Put a value into the output line. */
void cidcheck_put_text(struct cidcheck_verdict *verdict, const char *key, struct quipu_slice text);
void cidcheck_put_hex(struct cidcheck_verdict *verdict, const char *key, struct quipu_slice bytes);
void cidcheck_put_cid(struct cidcheck_verdict *verdict, const char *key,
                      const struct quipu_cid_view *view);
/* Canonical text of a CID as a JSON string. */
json_t *cidcheck_cid_json(const struct quipu_cid_view *view);

/* Hold `output` against the expectations in `line`: 0 as expected, 1 a known difference, 2 not
 * applicable to us, 3 a failure, told on stderr. */
enum cidcheck_outcome {
    CIDCHECK_AS_EXPECTED,
    CIDCHECK_KNOWN,
    CIDCHECK_NOT_APPLICABLE,
    CIDCHECK_FAILED,
    CIDCHECK_OUTCOMES
};
enum cidcheck_outcome cidcheck_compare(const json_t *line, const json_t *output);

#endif
