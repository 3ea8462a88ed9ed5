/*
 * Names and texts of the statuses, and the translation of errno: the one table for the C library.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/status.h"

const char *quipu_status_name(enum quipu_status status)
{
    switch (status) {
#define STATUS_NAME(name, number, text)                                                            \
    case QUIPU_##name:                                                                             \
        return #name;
        QUIPU_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    }
    return "UNKNOWN";
}

const char *quipu_status_text(enum quipu_status status)
{
    switch (status) {
#define STATUS_TEXT(name, number, text)                                                            \
    case QUIPU_##name:                                                                             \
        return text;
        QUIPU_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}
