/*
 * The index of a bundle in volumes: what is written is read, and nothing else is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "quipu/buf.h"
#include "volume_index.h"

#define DIGEST  "abababababababababababababababababababababababababababababababab"
#define CAPITAL "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"
#define SOURCE  "UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static struct quipu_buf text;
static struct quipu_volume_index written;

/* An index of two volumes, and its text. */
static void set_up(void)
{
    static struct quipu_volume_entry entries[2];
    for (size_t i = 0; i < 2; i++) {
        memset(entries[i].sha256, 0xab, sizeof entries[i].sha256);
        entries[i].name = quipu_slice_text(i == 0 ? "out.car.001" : "out.car.002");
    }
    written = (struct quipu_volume_index){
        .source = SOURCE,
        .number = 7,
        .manifest = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("manifest")),
        .bytes = 70000,
        .entries = entries,
        .count = 2,
    };
    memset(written.sha256, 0xab, sizeof written.sha256);
    text = (struct quipu_buf)QUIPU_BUF_INIT;
    quipu_volume_index_write(&written, &text);
    cr_assert_eq(text.status, QUIPU_OK);
}

static void tear_down(void)
{
    quipu_buf_release(&text);
}

TestSuite(volume_index, .init = set_up, .fini = tear_down);

Test(volume_index, is_read_as_it_was_written)
{
    struct quipu_volume_index read;
    struct quipu_error err;
    cr_assert_eq(quipu_volume_index_parse(quipu_buf_slice(&text), &read, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_str_eq(read.source, SOURCE);
    cr_assert_eq(read.number, 7u);
    cr_assert(quipu_cid_equal(&read.manifest, &written.manifest));
    cr_assert_eq(read.bytes, 70000u);
    cr_assert_arr_eq(read.sha256, written.sha256, sizeof read.sha256);
    cr_assert_eq(read.count, 2u);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(quipu_slice_equal(read.entries[i].name, written.entries[i].name));
        cr_assert_arr_eq(read.entries[i].sha256, written.entries[i].sha256, 32);
    }
    quipu_volume_index_release(&read);
}

static const struct {
    const char *what;
    const char *from; /* in the text, the last of them */
    const char *to;
    enum quipu_status status;
} changes[] = {
    {"another format", "volumes 1\n", "volumes 2\n", QUIPU_FORMAT_NEWER},
    {"no format", "# quipu", "# qipu", QUIPU_BUNDLE},
    {"a source that is too short", "source UA", "source A", QUIPU_BUNDLE},
    {"a number with a zero in front", "bundle 7", "bundle 07", QUIPU_BUNDLE},
    {"a number that is none", "bundle 7", "bundle seven", QUIPU_BUNDLE},
    {"no number", "bundle 7", "bundle ", QUIPU_BUNDLE},
    {"a number over 64 bits", "bytes 70000", "bytes 18446744073709551616", QUIPU_BUNDLE},
    {"a CID that is none", "manifest bafy", "manifest bafx", QUIPU_BUNDLE},
    {"a digest in capitals", "# sha256 " DIGEST, "# sha256 " CAPITAL, QUIPU_BUNDLE},
    {"a volume's digest in capitals", DIGEST "  out", CAPITAL "  out", QUIPU_BUNDLE},
    {"one space", DIGEST "  out", DIGEST " out", QUIPU_BUNDLE},
    {"volumes of two names", "out.car.002", "Out.car.002", QUIPU_BUNDLE},
    {"volumes of names of two lengths", "out.car.002", "xout.car.002", QUIPU_BUNDLE},
    {"a number that is missing", "out.car.002", "out.car.003", QUIPU_BUNDLE},
    {"a folder in a name", "out.car.001", "o/t.car.001", QUIPU_BUNDLE},
    {"a name that sha256sum would escape", "out.car.001", "o\\t.car.001", QUIPU_BUNDLE},
    {"a name of nothing", "out.car.001\n", ".001\n", QUIPU_BUNDLE},
    {"something behind", ".002\n", ".002\n# more\n", QUIPU_BUNDLE},
    {"a line without its end", ".002\n", ".002", QUIPU_BUNDLE},
};

Test(volume_index, that_is_otherwise_written_is_none)
{
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct quipu_volume_index read;
        struct quipu_error err;
        struct quipu_buf changed = QUIPU_BUF_INIT;
        struct quipu_slice from = quipu_slice_text(changes[i].from);
        size_t at = text.len - from.len;
        while (at > 0 && memcmp(text.data + at, from.data, from.len) != 0) {
            at--;
        }
        cr_assert_eq(memcmp(text.data + at, from.data, from.len), 0, "%s", changes[i].what);
        quipu_buf_append(&changed, text.data, at);
        quipu_buf_append_text(&changed, changes[i].to);
        quipu_buf_append(&changed, text.data + at + from.len, text.len - at - from.len);
        cr_assert_eq(quipu_volume_index_parse(quipu_buf_slice(&changed), &read, &err),
                     changes[i].status, "%s", changes[i].what);
        cr_assert_eq(err.status, changes[i].status);
        quipu_buf_release(&changed);
    }
}

Test(volume_index, of_no_volume_or_of_too_many_is_none)
{
    struct quipu_volume_index read;
    struct quipu_buf head = QUIPU_BUF_INIT;
    written.count = 0;
    quipu_volume_index_write(&written, &head);
    cr_assert_eq(quipu_volume_index_parse(quipu_buf_slice(&head), &read, NULL), QUIPU_BUNDLE);
    for (unsigned i = 1; i <= QUIPU_BUNDLE_VOLUMES_MAX; i++) {
        quipu_buf_printf(&head, DIGEST "  a.%03u\n", i);
    }
    cr_assert_eq(quipu_volume_index_parse(quipu_buf_slice(&head), &read, NULL), QUIPU_OK);
    cr_assert_eq(read.count, QUIPU_BUNDLE_VOLUMES_MAX);
    quipu_volume_index_release(&read);
    quipu_buf_printf(&head, DIGEST "  a.%03u\n", QUIPU_BUNDLE_VOLUMES_MAX + 1);
    cr_assert_eq(quipu_volume_index_parse(quipu_buf_slice(&head), &read, NULL), QUIPU_BUNDLE);
    quipu_buf_release(&head);
}
