/*
 * base256emoji: one emoji a byte, by a table. A curiosity of the multibase table that its vectors
 * hold, and yet read in a time that does not depend on what the text holds: whoever sends the text
 * chooses its base.
 *
 * Specification: multiformats/multibase rfcs/Base256Emoji.md.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "multibase_parts.h"

#define EMOJI_BYTES_MAX 4 /* of UTF-8 */

/* Code point of each byte value. */
static const uint32_t EMOJI[256] = {
    0x1F680, 0x1FA90, 0x2604,  0x1F6F0, 0x1F30C, 0x1F311, 0x1F312, 0x1F313, 0x1F314, 0x1F315,
    0x1F316, 0x1F317, 0x1F318, 0x1F30D, 0x1F30F, 0x1F30E, 0x1F409, 0x2600,  0x1F4BB, 0x1F5A5,
    0x1F4BE, 0x1F4BF, 0x1F602, 0x2764,  0x1F60D, 0x1F923, 0x1F60A, 0x1F64F, 0x1F495, 0x1F62D,
    0x1F618, 0x1F44D, 0x1F605, 0x1F44F, 0x1F601, 0x1F525, 0x1F970, 0x1F494, 0x1F496, 0x1F499,
    0x1F622, 0x1F914, 0x1F606, 0x1F644, 0x1F4AA, 0x1F609, 0x263A,  0x1F44C, 0x1F917, 0x1F49C,
    0x1F614, 0x1F60E, 0x1F607, 0x1F339, 0x1F926, 0x1F389, 0x1F49E, 0x270C,  0x2728,  0x1F937,
    0x1F631, 0x1F60C, 0x1F338, 0x1F64C, 0x1F60B, 0x1F497, 0x1F49A, 0x1F60F, 0x1F49B, 0x1F642,
    0x1F493, 0x1F929, 0x1F604, 0x1F600, 0x1F5A4, 0x1F603, 0x1F4AF, 0x1F648, 0x1F447, 0x1F3B6,
    0x1F612, 0x1F92D, 0x2763,  0x1F61C, 0x1F48B, 0x1F440, 0x1F62A, 0x1F611, 0x1F4A5, 0x1F64B,
    0x1F61E, 0x1F629, 0x1F621, 0x1F92A, 0x1F44A, 0x1F973, 0x1F625, 0x1F924, 0x1F449, 0x1F483,
    0x1F633, 0x270B,  0x1F61A, 0x1F61D, 0x1F634, 0x1F31F, 0x1F62C, 0x1F643, 0x1F340, 0x1F337,
    0x1F63B, 0x1F613, 0x2B50,  0x2705,  0x1F97A, 0x1F308, 0x1F608, 0x1F918, 0x1F4A6, 0x2714,
    0x1F623, 0x1F3C3, 0x1F490, 0x2639,  0x1F38A, 0x1F498, 0x1F620, 0x261D,  0x1F615, 0x1F33A,
    0x1F382, 0x1F33B, 0x1F610, 0x1F595, 0x1F49D, 0x1F64A, 0x1F639, 0x1F5E3, 0x1F4AB, 0x1F480,
    0x1F451, 0x1F3B5, 0x1F91E, 0x1F61B, 0x1F534, 0x1F624, 0x1F33C, 0x1F62B, 0x26BD,  0x1F919,
    0x2615,  0x1F3C6, 0x1F92B, 0x1F448, 0x1F62E, 0x1F646, 0x1F37B, 0x1F343, 0x1F436, 0x1F481,
    0x1F632, 0x1F33F, 0x1F9E1, 0x1F381, 0x26A1,  0x1F31E, 0x1F388, 0x274C,  0x270A,  0x1F44B,
    0x1F630, 0x1F928, 0x1F636, 0x1F91D, 0x1F6B6, 0x1F4B0, 0x1F353, 0x1F4A2, 0x1F91F, 0x1F641,
    0x1F6A8, 0x1F4A8, 0x1F92C, 0x2708,  0x1F380, 0x1F37A, 0x1F913, 0x1F619, 0x1F49F, 0x1F331,
    0x1F616, 0x1F476, 0x1F974, 0x25B6,  0x27A1,  0x2753,  0x1F48E, 0x1F4B8, 0x2B07,  0x1F628,
    0x1F31A, 0x1F98B, 0x1F637, 0x1F57A, 0x26A0,  0x1F645, 0x1F61F, 0x1F635, 0x1F44E, 0x1F932,
    0x1F920, 0x1F927, 0x1F4CC, 0x1F535, 0x1F485, 0x1F9D0, 0x1F43E, 0x1F352, 0x1F617, 0x1F911,
    0x1F30A, 0x1F92F, 0x1F437, 0x260E,  0x1F4A7, 0x1F62F, 0x1F486, 0x1F446, 0x1F3A4, 0x1F647,
    0x1F351, 0x2744,  0x1F334, 0x1F4A3, 0x1F438, 0x1F48C, 0x1F4CD, 0x1F940, 0x1F922, 0x1F445,
    0x1F4A1, 0x1F4A9, 0x1F450, 0x1F4F8, 0x1F47B, 0x1F910, 0x1F92E, 0x1F3BC, 0x1F975, 0x1F6A9,
    0x1F34E, 0x1F34A, 0x1F47C, 0x1F48D, 0x1F4E3, 0x1F942,
};

/* The byte values in the order of their code points. */
static const uint8_t BY_CODE[256] = {
    193, 17,  2,   223, 150, 127, 123, 46,  204, 164, 148, 113, 183, 168, 101, 57,  119, 58,  231,
    167, 195, 82,  23,  194, 198, 112, 115, 220, 4,   13,  15,  14,  5,   6,   7,   8,   9,   10,
    11,  12,  200, 165, 105, 189, 232, 109, 62,  53,  129, 131, 146, 161, 108, 157, 251, 250, 230,
    217, 176, 185, 156, 184, 163, 130, 166, 55,  124, 228, 141, 79,  247, 121, 151, 16,  158, 222,
    234, 216, 85,  239, 227, 78,  153, 98,  94,  169, 47,  31,  208, 33,  242, 140, 191, 244, 252,
    139, 159, 99,  214, 226, 84,  235, 253, 196, 122, 70,  37,  28,  38,  65,  125, 39,  66,  68,
    49,  134, 56,  188, 240, 177, 233, 88,  118, 224, 181, 241, 44,  138, 76,  175, 197, 18,  20,
    21,  212, 236, 254, 243, 35,  144, 213, 203, 133, 74,  19,  137, 73,  34,  22,  75,  72,  32,
    42,  52,  116, 45,  26,  64,  61,  24,  51,  67,  132, 87,  80,  111, 50,  128, 190, 218, 30,
    187, 102, 143, 83,  103, 90,  206, 126, 92,  40,  120, 145, 96,  199, 91,  86,  147, 106, 29,
    154, 225, 170, 60,  160, 100, 104, 207, 172, 202, 136, 110, 179, 69,  107, 43,  205, 155, 229,
    77,  135, 89,  63,  27,  0,   180, 249, 174, 3,   245, 219, 186, 41,  48,  117, 149, 173, 142,
    178, 210, 238, 25,  97,  54,  211, 171, 71,  93,  152, 182, 81,  246, 221, 209, 59,  237, 255,
    36,  95,  192, 248, 114, 201, 215, 162, 1,
};

/* UTF-8 of a code point of the table: all are three or four bytes long. */
static size_t put(uint8_t *into, uint32_t code)
{
    if (code < 0x10000) {
        into[0] = (uint8_t)(0xe0 | code >> 12);
        into[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        into[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    into[0] = (uint8_t)(0xf0 | code >> 18);
    into[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    into[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    into[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

enum quipu_status multibase_emoji_encode(struct quipu_slice bytes, struct quipu_buf *out)
{
    if (bytes.len > SIZE_MAX / EMOJI_BYTES_MAX) {
        return QUIPU_TOO_LARGE;
    }
    uint8_t *into = quipu_buf_reserve(out, bytes.len * EMOJI_BYTES_MAX);
    if (into == NULL) {
        return out->status;
    }
    size_t at = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        at += put(into + at, EMOJI[bytes.data[i]]);
    }
    out->len += at;
    return QUIPU_OK;
}

/* The index in BY_CODE of the first code point that is not below `code`; the last index where there
 * is none. */
static unsigned lowest_from(uint32_t code)
{
    unsigned low = 0;
    unsigned high = 255;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (EMOJI[BY_CODE[middle]] < code) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Length of the emoji that `text` begins with, its byte value in `*value`; 0 where it is none. */
static size_t take(struct quipu_slice text, uint8_t *value)
{
    size_t len = text.data[0] >= 0xf0 ? 4 : 3;
    if (text.len < len) {
        return 0;
    }
    uint32_t code = text.data[0] & (len == 4 ? 0x07u : 0x0fu);
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | (text.data[i] & 0x3fu);
    }
    uint8_t found = BY_CODE[lowest_from(code)];
    /* Compared as bytes, so that no bit which the code point above leaves out makes a second text
     * for the same byte. */
    uint8_t utf8[EMOJI_BYTES_MAX];
    if (put(utf8, EMOJI[found]) != len || memcmp(utf8, text.data, len) != 0) {
        return 0;
    }
    *value = found;
    return len;
}

enum quipu_status multibase_emoji_decode(struct quipu_slice text, struct quipu_buf *out,
                                         struct multibase_fault *fault)
{
    uint8_t *into = quipu_buf_reserve(out, text.len / 3);
    if (into == NULL) {
        return out->status;
    }
    size_t count = 0;
    for (size_t at = 0; at < text.len;) {
        size_t len = take(quipu_slice(text.data + at, text.len - at), &into[count]);
        if (len == 0) {
            *fault = (struct multibase_fault){at, "character that is not of this base"};
            return QUIPU_MULTIBASE;
        }
        at += len;
        count++;
    }
    out->len += count;
    return QUIPU_OK;
}
