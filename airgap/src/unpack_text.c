/*
 * The texts of the auditor's folder. Pure: never reads or writes a file.
 *
 * Every line of VERIFY.txt that begins with "$ " is a command; a test runs them as they stand.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "unpack_text.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "quipu/text.h"

static void append_base64(struct quipu_slice bytes, int variant, struct quipu_buf *out)
{
    size_t cap = sodium_base64_encoded_len(bytes.len, variant);
    char *into = (char *)quipu_buf_reserve(out, cap);
    if (into != NULL) {
        (void)sodium_bin2base64(into, cap, bytes.data, bytes.len, variant);
        out->len += cap - 1; /* without the NUL */
    }
}

void quipu_unpack_principal(struct quipu_slice key, char out[QUIPU_UNPACK_PRINCIPAL_BYTES])
{
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_buf text;
    if (quipu_ssh_key_ed25519(key, public_key)) {
        quipu_nkey_format('U', public_key, out);
        return;
    }
    quipu_sha256(key, digest);
    quipu_buf_init_fixed(&text, out, QUIPU_UNPACK_PRINCIPAL_BYTES);
    quipu_buf_append_text(&text, "key-");
    quipu_hex_append(&text, quipu_slice(digest, 16));
    quipu_buf_append_byte(&text, 0);
}

void quipu_unpack_bytes(struct quipu_slice bytes, struct quipu_buf *out)
{
    quipu_buf_append_text(out, "{\"/\":{\"bytes\":\"");
    append_base64(bytes, sodium_base64_VARIANT_ORIGINAL_NO_PADDING, out);
    quipu_buf_append_text(out, "\"}}");
}

/* ------------------------------------------------------------------ VERIFY.txt */

static void write_facts(const struct quipu_bundle_report *report, struct quipu_buf *out)
{
    char manifest[QUIPU_CID_TEXT_BYTES];
    char time[QUIPU_RFC3339_BYTES];
    struct quipu_slice digest = quipu_slice(report->file_sha256, sizeof report->file_sha256);
    quipu_cid_format(&report->manifest, manifest);
    quipu_rfc3339_format(report->created_unix_us, time);
    quipu_buf_printf(out, "How to check this folder without quipu\n\n");
    quipu_buf_printf(out,
                     "bundle      %" PRIu64 "\nmade        %s\nsource      %s\n"
                     "events      %" PRIu64 "\nmanifest    %s\nlog         %" PRIu64 " events\n",
                     report->number, time, report->source, report->events, manifest,
                     report->log_size);
    quipu_buf_append_text(out, "events.car  ");
    quipu_hex_append(out, digest);
    quipu_buf_append_text(out, "\n            ");
    quipu_digest_words(digest, out);
    quipu_buf_append_text(
        out, "\n\nCompare source and digest (in either form) with what the maker told you by "
             "another way: on paper,\nor by voice. Lines that begin with $ are commands; run them "
             "in this folder.\n\n");
}

/* ssh-keygen knows hardware keys since 8.2. */
static bool has_sk(const struct quipu_bundle_report *report)
{
    for (size_t i = 0; i < report->signatures; i++) {
        enum quipu_ssh_key_type type = report->signers[i].type;
        if (type == QUIPU_SSH_KEY_SK_ED25519 || type == QUIPU_SSH_KEY_SK_ECDSA_P256) {
            return true;
        }
    }
    return false;
}

static void write_signatures(const struct quipu_unpack_facts *facts, struct quipu_buf *out)
{
    const struct quipu_bundle_report *report = facts->report;
    quipu_buf_printf(
        out,
        "2. The manifest is signed by these keys (allowed_signers; signer-N.pub are the same "
        "keys). Who they\n   belong to is for you to know: compare them with what you were "
        "given. Needs ssh-keygen (OpenSSH %s).\n\n",
        has_sk(report) ? "8.2" : "8.1");
    for (size_t i = 0; i < facts->signers; i++) {
        const struct quipu_signer *signer = &report->signers[i];
        quipu_buf_printf(out, "   signer-%zu.pub  %s  %s%s\n", i + 1,
                         quipu_ssh_key_type_name(signer->type), signer->fingerprint,
                         signer->is_source ? "  (the source)" : "");
    }
    quipu_buf_append_byte(out, '\n');
    for (size_t i = 0; i < facts->signers; i++) {
        quipu_buf_printf(out,
                         "$ ssh-keygen -Y verify -f allowed_signers -I %s -n %s "
                         "-s signature-%zu.sig < manifest.cbor\n",
                         facts->principals[i], QUIPU_BUNDLE_NAMESPACE, i + 1);
    }
}

/* Hash every block of the CAR again; the manifest must be the one that is signed, and name every
 * envelope, each of which names its payload. */
static void write_blocks(const struct quipu_bundle_report *report, struct quipu_buf *out)
{
    char manifest[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&report->manifest, manifest);
    quipu_buf_append_text(
        out, "\n3. Every block of events.car hashes to its CID, the manifest in it is the signed "
             "one, and every event\n   that it names is there with its payload. Needs Node.js with "
             "@ipld/car and @ipld/dag-cbor.\n\n");
    quipu_buf_append_text(
        out,
        "$ node --input-type=module -e \"import { createReadStream, readFileSync } from "
        "'node:fs'; import { CarBlockIterator } from '@ipld/car'; import { decode } from "
        "'@ipld/dag-cbor'; import { createHash } from 'node:crypto'; const blocks = new Map(); "
        "const car = await CarBlockIterator.fromIterable(createReadStream('events.car')); for "
        "await (const { cid, bytes } of car) { const digest = createHash('sha256').update(bytes)"
        ".digest(); if (cid.multihash.code !== 18 || Buffer.compare(digest, "
        "Buffer.from(cid.multihash.digest)) !== 0) throw new Error('block ' + cid); "
        "blocks.set(String(cid), bytes); } const [root] = await car.getRoots(); const link = "
        "String(decode(blocks.get(String(root))).manifest); const signed = blocks.get(link); if "
        "(link !== '");
    quipu_buf_append_text(out, manifest);
    quipu_buf_append_text(
        out,
        "' || Buffer.compare(signed, readFileSync('manifest.cbor')) !== 0) throw new "
        "Error('manifest'); const { events } = decode(signed); let count = 0; const lists = "
        "events.map((cid) => decode(blocks.get(String(cid)))); const links = lists.flatMap((item, "
        "i) => Array.isArray(item) ? item : [events[i]]); for (const cid of links) { const "
        "{ payload } = decode(blocks.get(String(cid))); if (blocks.has(String(payload)) === false) "
        "throw "
        "new Error('payload of ' + cid); count += 1; } console.log(count + ' events verified');\""
        "\n");
}

void quipu_unpack_instructions(const struct quipu_unpack_facts *facts, struct quipu_buf *out)
{
    write_facts(facts->report, out);
    quipu_buf_append_text(out, "1. No file of this folder was changed since it was unpacked.\n\n"
                               "$ sha256sum --check --strict SHA256SUMS\n\n");
    write_signatures(facts, out);
    write_blocks(facts->report, out);
    quipu_buf_append_text(
        out, "\n4. Only where the bundle came encrypted, as one file: it holds these very bytes. "
             "Set IDENTITY to the\n   file with your age identity and BUNDLE to the encrypted "
             "file. Needs age.\n\n$ if [ -n \"${BUNDLE:-}\" ]; then age --decrypt --identity "
             "\"$IDENTITY\" \"$BUNDLE\" | cmp - events.car; fi\n\n");
    quipu_buf_append_text(
        out, "events.ndjson shows every event for reading: cid, envelope and payload as DAG-JSON. "
             "checkpoint is a\nsigned note (c2sp.org/tlog-checkpoint) about all that the source "
             "had recorded; checkpoint.vkey is the\nverifier key that tools for signed notes "
             "take.\n");
}
