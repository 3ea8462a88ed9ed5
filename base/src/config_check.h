/*
 * What config.c and config_check.c share: the line that says what a setting wants.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BASE_CONFIG_CHECK_H
#define QUIPU_BASE_CONFIG_CHECK_H

#include "quipu/config.h"

/* Say what the key wants, what was found, and how to write it. Secrets are not shown. Returns
 * QUIPU_INVALID. */
enum quipu_status quipu_config_fault(struct quipu_error *err, const struct quipu_config_key *key,
                                     const char *found);

/* Is the number in the key's range? `found` is how it was written. */
enum quipu_status quipu_config_check_number(const struct quipu_config_key *key, int64_t number,
                                            const char *found,
                                            struct quipu_error *err) QUIPU_MUST_CHECK;

/* Length, characters, and what the key's own text must look like. */
enum quipu_status quipu_config_check_text(const struct quipu_config_key *key, const char *text,
                                          struct quipu_error *err) QUIPU_MUST_CHECK;

/* The field's value: 0 for text; a truth value is 0 or 1, a word its number. */
int64_t quipu_config_number_of(const struct quipu_config *config,
                               const struct quipu_config_key *key);

/* The field's text; NULL for none, or where it is no text. */
const char *quipu_config_text_of(const struct quipu_config *config,
                                 const struct quipu_config_key *key);

#endif
