/*
 * A locale whose decimal point is a comma, made for the test: no machine need have one installed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TEST_COMMA_LOCALE_H
#define QUIPU_TEST_COMMA_LOCALE_H

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "temp_dir.h"

/* Switch the process to it; false where localedef or its sources are not here. */
static inline bool comma_locale_set(const struct temp_dir *dir)
{
    char command[3 * TEMP_DIR_BYTES];
    (void)snprintf(command, sizeof command,
                   "localedef -c -i de_DE -f UTF-8 '%s/comma' >'%s/log' 2>&1", dir->path,
                   dir->path);
    bool is_made = system(command) >= 0 && setenv("LOCPATH", dir->path, 1) == 0 &&
                   setlocale(LC_ALL, "comma") != NULL;
    return is_made && strcmp(localeconv()->decimal_point, ",") == 0;
}

#endif
