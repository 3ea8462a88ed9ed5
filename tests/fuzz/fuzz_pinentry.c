/*
 * What a pinentry says, answer after answer. Properties: it does not matter in which pieces it
 * comes, nor what stands behind an answer; data that is accepted, written as the protocol has it,
 * is accepted as the same; nothing is written beyond the room; an answer that ends well had its OK.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "passphrase_assuan.h"
#include "quipu/buf.h"

#define PIN_BYTES   300 /* less than a line, so that the limit is met */
#define ANSWERS_MAX 8
#define GUARD       0xa5

/* Gives at most `piece` bytes at once. */
struct pieces {
    struct quipu_slice rest;
    size_t piece;
};

static enum quipu_status pieces_read(void *ctx, void *into, size_t cap, size_t *got,
                                     struct quipu_error *err)
{
    struct pieces *pieces = ctx;
    size_t len = pieces->rest.len < cap ? pieces->rest.len : cap;
    (void)err;
    FUZZ_REQUIRE(cap > 0);
    len = len < pieces->piece ? len : pieces->piece;
    if (len > 0) {
        memcpy(into, pieces->rest.data, len);
    }
    pieces->rest = quipu_slice(pieces->rest.data + len, pieces->rest.len - len);
    *got = len;
    return QUIPU_OK;
}

struct verdict {
    enum quipu_status status;
    size_t len;
    size_t taken; /* bytes of the input, up to and with the answer */
    uint8_t pin[PIN_BYTES];
    char message[QUIPU_ERROR_MESSAGE_BYTES];
};

/* Asked with data allowed, without, and as for a setting, in turn. */
static enum quipu_status ask(struct assuan *assuan, size_t turn, struct assuan_pin *pin,
                             struct quipu_error *err)
{
    return turn % 3 == 0   ? assuan_answer(assuan, pin, err)
           : turn % 3 == 1 ? assuan_answer(assuan, NULL, err)
                           : assuan_skip(assuan, err);
}

/* How many answers there were; the last of them may have failed. */
static size_t talk(struct quipu_slice text, size_t piece, size_t first_turn,
                   struct verdict verdicts[ANSWERS_MAX])
{
    static uint8_t room[ASSUAN_ROOM_BYTES + 1];
    static uint8_t bytes[PIN_BYTES + 1];
    struct pieces pieces = {text, piece};
    struct assuan assuan = {.source = {pieces_read, &pieces}, .room = room};
    size_t count = 0;
    room[ASSUAN_ROOM_BYTES] = GUARD;
    bytes[PIN_BYTES] = GUARD;
    while (count < ANSWERS_MAX) {
        struct verdict *verdict = &verdicts[count];
        struct assuan_pin pin = {.bytes = bytes, .cap = PIN_BYTES};
        struct quipu_error err = {.message = ""};
        verdict->status = ask(&assuan, first_turn + count, &pin, &err);
        FUZZ_REQUIRE(pin.len <= PIN_BYTES && assuan.at <= assuan.end &&
                     assuan.end <= ASSUAN_ROOM_BYTES);
        FUZZ_REQUIRE(room[ASSUAN_ROOM_BYTES] == GUARD && bytes[PIN_BYTES] == GUARD);
        verdict->len = pin.len;
        verdict->taken = text.len - pieces.rest.len - (assuan.end - assuan.at);
        memcpy(verdict->pin, bytes, pin.len);
        memcpy(verdict->message, err.message, sizeof verdict->message);
        count++;
        if (verdict->status != QUIPU_OK) {
            FUZZ_REQUIRE(err.message[0] != 0 && err.status == verdict->status);
            FUZZ_REQUIRE(verdict->status == QUIPU_IO || verdict->status == QUIPU_STOPPED ||
                         verdict->status == QUIPU_TOO_LARGE);
            break;
        }
    }
    return count;
}

static void require_same(const struct verdict *a, const struct verdict *b)
{
    FUZZ_REQUIRE(a->status == b->status && a->len == b->len);
    FUZZ_REQUIRE(memcmp(a->pin, b->pin, a->len) == 0);
    FUZZ_REQUIRE(strcmp(a->message, b->message) == 0);
}

/* Its last line is OK, alone or with words; where a setting was offered, ERR. */
static void require_ended(struct quipu_slice answer, bool may_refuse)
{
    FUZZ_REQUIRE(answer.len > 0 && answer.data[answer.len - 1] == '\n');
    size_t at = answer.len - 1;
    while (at > 0 && answer.data[at - 1] != '\n') {
        at--;
    }
    size_t len = answer.len - 1 - at;
    const uint8_t *line = answer.data + at;
    bool is_ok = len >= 2 && memcmp(line, "OK", 2) == 0 && (len == 2 || line[2] == ' ');
    bool is_err = len >= 3 && memcmp(line, "ERR", 3) == 0 && (len == 3 || line[3] == ' ');
    FUZZ_REQUIRE(is_ok || (may_refuse && is_err));
}

/* The same data, each byte as '%' and two digits, twenty to a line. */
static void require_round_trip(const struct verdict *verdict)
{
    struct verdict again[ANSWERS_MAX];
    struct quipu_buf text = QUIPU_BUF_INIT;
    for (size_t i = 0; i < verdict->len; i++) {
        quipu_buf_append_text(&text, i % 20 == 0 ? (i == 0 ? "D " : "\nD ") : "");
        quipu_buf_printf(&text, i % 2 == 0 ? "%%%02X" : "%%%02x", verdict->pin[i]);
    }
    quipu_buf_append_text(&text, verdict->len == 0 ? "OK\n" : "\nOK\n");
    FUZZ_REQUIRE(text.status == QUIPU_OK);
    (void)talk(quipu_buf_slice(&text), SIZE_MAX, 0, again);
    require_same(verdict, &again[0]);
    quipu_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct verdict whole[ANSWERS_MAX];
    static struct verdict pieces[ANSWERS_MAX];
    struct quipu_slice text = quipu_slice(data, size);
    for (size_t turn = 0; turn < 3; turn++) {
        size_t from = 0;
        size_t count = talk(text, SIZE_MAX, turn, whole);
        FUZZ_REQUIRE(talk(text, 1 + size % 7, turn, pieces) == count);
        for (size_t i = 0; i < count; i++) {
            require_same(&whole[i], &pieces[i]);
            if (whole[i].status != QUIPU_OK) {
                break;
            }
            FUZZ_REQUIRE(whole[i].taken == pieces[i].taken && whole[i].taken > from);
            require_ended(quipu_slice(data + from, whole[i].taken - from), (turn + i) % 3 == 2);
            if ((turn + i) % 3 == 0) {
                require_round_trip(&whole[i]);
            }
            from = whole[i].taken;
        }
    }
    return 0;
}
