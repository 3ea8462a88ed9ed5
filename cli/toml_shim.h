/*
 * TOML as a walk over keys, for C: the only way in which the program sees libtomlplusplus, which is
 * C++. toml_shim.cc stands behind it, or toml_shim_none.c in a build without.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_TOML_SHIM_H
#define QUIPU_CLI_TOML_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cli_toml_kind {
    CLI_TOML_TABLE,
    CLI_TOML_TEXT,
    CLI_TOML_INTEGER,
    CLI_TOML_BOOL,
    CLI_TOML_FLOAT,
    CLI_TOML_DATE, /* or a time, or both */
    CLI_TOML_LIST,
};

/* A place in the file, both from 1. */
struct cli_toml_place {
    uint32_t line;
    uint32_t column;
};

/* One key with its value; borrowed for the call. */
struct cli_toml_item {
    const char *path; /* dotted, such as "nats.tls.ca_cert"; what is no bare key stands in quotes */
    enum cli_toml_kind kind;
    const char *text; /* of CLI_TOML_TEXT, NUL-terminated */
    size_t text_len;  /* it may hold NULs of its own */
    int64_t integer;
    bool truth;
    struct cli_toml_place key;
    struct cli_toml_place value;
};

/* Called for each key, in no order that matters. True for a table: go into it. */
typedef bool (*cli_toml_visit)(void *ctx, const struct cli_toml_item *item);

enum cli_toml_result { CLI_TOML_OK, CLI_TOML_SYNTAX, CLI_TOML_MEMORY, CLI_TOML_NOT_BUILT };

/* What is wrong with the text, and where. */
struct cli_toml_fault {
    struct cli_toml_place place;
    char line[256];
};

/* Parse all of the text, then visit its keys. `fault` is filled in for CLI_TOML_SYNTAX. */
enum cli_toml_result cli_toml_read(const char *text, size_t len, cli_toml_visit visit, void *ctx,
                                   struct cli_toml_fault *fault);

#ifdef __cplusplus
}
#endif

#endif
