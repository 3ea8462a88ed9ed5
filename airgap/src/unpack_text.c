/*
 * The texts of the auditor's folder. Pure: never reads or writes a file.
 *
 * Every line of VERIFY.txt that begins with "$ " is a command, or goes on with one; a test runs
 * them as they stand, and another holds them against the operator's page.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "unpack_text.h"

#include <inttypes.h>
#include <string.h>

#include "quipu/text.h"

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
        out,
        "\n\nLines that begin with $ are commands; run them in this folder. Nothing vouches for "
        "this page: who could\nchange a file here could change the page too. The commands are the "
        "same for every bundle; where that\nmatters, take them from docs/AIRGAP.md (sections 5 and "
        "11) of "
        "a quipu that you have from elsewhere. And set\nSOURCE to the source of the bundle as its "
        "maker told you by another way (on paper, by voice):\n\n    export SOURCE=U...\n\n"
        "$ : \"${SOURCE:?is the source that you were told}\"\n\n");
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

/* The key of an NKey text is written as OpenSSH has it: no file of the folder is asked for it. */
static void write_source(const struct quipu_unpack_facts *facts, struct quipu_buf *out)
{
    size_t own = 0;
    while (own + 1 < facts->signers && !facts->report->signers[own].is_source) {
        own++;
    }
    quipu_buf_append_text(
        out,
        "2. manifest.cbor was signed by the key of that SOURCE, which the first lines make out "
        "of its text. Needs\n   ssh-keygen (OpenSSH 8.1) and coreutils.\n\n"
        "$ told=$(mktemp)\n"
        "$ { printf 'source ssh-ed25519 '\n"
        "$   { printf '\\000\\000\\000\\013ssh-ed25519\\000\\000\\000 '\n"
        "$     printf %s \"$SOURCE\" | base32 --decode | tail -c +2 | head -c 32; } |\n"
        "$     base64 -w 0; echo; } >\"$told\"\n");
    quipu_buf_printf(out,
                     "$ ssh-keygen -Y verify -f \"$told\" -I source -n %s -s signature-%zu.sig "
                     "<manifest.cbor\n$ rm \"$told\"\n",
                     QUIPU_BUNDLE_NAMESPACE, own + 1);
}

static void write_signatures(const struct quipu_unpack_facts *facts, struct quipu_buf *out)
{
    const struct quipu_bundle_report *report = facts->report;
    quipu_buf_printf(
        out,
        "\n3. manifest.cbor was signed by these keys (allowed_signers; signer-N.pub are the same "
        "keys). Whose they\n   are nothing here can tell: hold them against a file of allowed "
        "signers that you have from elsewhere.\n   Needs ssh-keygen (OpenSSH %s).\n\n",
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
                         "-s signature-%zu.sig <manifest.cbor\n",
                         facts->principals[i], QUIPU_BUNDLE_NAMESPACE, i + 1);
    }
}

/* Binds every file but this page and the sums to the manifest, and the manifest to SOURCE. */
static const char *const program[] = {
    /* clang-format off */
    "node --input-type=module - <<'END'",
    "import { createHash } from 'node:crypto';",
    "import { createReadStream, readFileSync, readdirSync } from 'node:fs';",
    "import { CarBlockIterator } from '@ipld/car';",
    "import { decode } from '@ipld/dag-cbor';",
    "",
    "const must = (holds, what) => { if (!holds) throw new Error(what); };",
    "const sha256 = (bytes) => createHash('sha256').update(bytes).digest();",
    "const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;",
    "const text = (name) => readFileSync(name, 'utf8');",
    "",
    "// Every block hashes to its CID; what links name is there, and nothing else.",
    "const blocks = new Map(), twice = new Set(), used = new Set();",
    "const car = await CarBlockIterator.fromIterable(createReadStream('events.car'));",
    "for await (const { cid, bytes } of car) {",
    "  const name = String(cid);",
    "  must(cid.multihash.code === 18 && same(cid.multihash.digest, sha256(bytes)), `block ${name}`);",
    "  if (blocks.has(name)) twice.add(name);",
    "  blocks.set(name, bytes);",
    "}",
    "const take = (cid, isPayload) => { // a payload may be that of several events",
    "  const name = String(cid);",
    "  must(blocks.has(name), `block ${name} is missing`);",
    "  must(isPayload || !(used.has(name) || twice.has(name)), `block ${name} is there twice`);",
    "  used.add(name);",
    "  return blocks.get(name);",
    "};",
    "",
    "// A value as canonical DAG-JSON. JavaScript has one type of number: 1.0 and 1 are the same here.",
    "const json = (v) => {",
    "  if (typeof v === 'string') return JSON.stringify(v);",
    "  if (typeof v === 'number') return Object.is(v, -0) ? '-0' : String(v);",
    "  if (v === null || typeof v !== 'object') return String(v);",
    "  if (v instanceof Uint8Array) return `{\"/\":{\"bytes\":\"${base64(v).replace(/=+$/, '')}\"}}`;",
    "  if (Array.isArray(v)) return `[${v.map(json)}]`;",
    "  if (!isMap(v)) return `{\"/\":\"${v}\"}`; // a link",
    "  return `{${keysOf(v).map((key) => `${JSON.stringify(key)}:${json(v[key])}`)}}`;",
    "};",
    "const isMap = (v) =>",
    "  v !== null && typeof v === 'object' && Object.getPrototypeOf(v) === Object.prototype;",
    "const keysOf = (v) => Object.keys(v).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));",
    "const base64 = (bytes) => Buffer.from(bytes).toString('base64');",
    "const plain = (t) => t.replace(/(\"[^\"\\\\]*(?:\\\\.[^\"\\\\]*)*\")|\\.0(?=[,}\\]])/g, '$1');",
    "const shows = (t, v) => t === json(v) || plain(t) === plain(json(v));",
    "",
    "// Can DAG-JSON carry it? Not more than 128 levels, nor what would read as a link or as bytes: a map",
    "// whose first key is \"/\" with a text, or with a map whose first key is \"bytes\" with a text.",
    "const firstAt = (v, key) => (isMap(v) && keysOf(v)[0] === key ? v[key] : null);",
    "const isTaken = (v) =>",
    "  [firstAt(v, '/'), firstAt(firstAt(v, '/'), 'bytes')].some((x) => typeof x === 'string');",
    "const carries = (v, levels = 128) => !(Array.isArray(v) || isMap(v)) ||",
    "  (levels > 0 && !isTaken(v) && Object.values(v).every((item) => carries(item, levels - 1)));",
    "",
    "// Root, manifest, and the source that was told.",
    "const [root, ...more] = await car.getRoots();",
    "const { manifest: link, signatures } = decode(take(root));",
    "const manifest = take(link);",
    "const { source, events, log } = decode(manifest);",
    "must(more.length === 0 && same(manifest, readFileSync('manifest.cbor')), 'manifest.cbor');",
    "const said = text('manifest.json');",
    "must(said.endsWith('\\n') && shows(said.slice(0, -1), decode(manifest)), 'manifest.json');",
    "must(source === process.env.SOURCE, `the source is ${source}, not ${process.env.SOURCE}`);",
    "must(same(log.checkpoint, readFileSync('checkpoint')), 'checkpoint');",
    "log.proof.forEach((cid) => take(cid));",
    "",
    "// Signatures and keys of this folder are those of the bundle.",
    "const bits = (t) => [...t].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c));",
    "const keyOf = (t) => Buffer.from(bits(t).map((n) => n.toString(2).padStart(5, '0')).join('')",
    "  .match(/.{8}/g).slice(1, 33).map((b) => parseInt(b, 2))); // of \"U…\"",
    "const note = Buffer.concat([Buffer.of(1), keyOf(source)]);",
    "const id = sha256(Buffer.concat([Buffer.from(`quipu/${source}\\n`), note])).toString('hex', 0, 4);",
    "must(text('checkpoint.vkey') === `quipu/${source}+${id}+${base64(note)}\\n`, 'checkpoint.vkey');",
    "const allowed = text('allowed_signers').split('\\n');",
    "signatures.map((bytes) => Buffer.from(bytes)).forEach((bytes, i) => {",
    "  const key = bytes.subarray(14, 14 + bytes.readUInt32BE(10));",
    "  const type = key.toString('utf8', 4, 4 + key.readUInt32BE(0));",
    "  const line = `${type} ${base64(key)}`;",
    "  const who = allowed[i].split(' ')[0];",
    "  const armor = text(`signature-${i + 1}.sig`).replace(/-----[A-Z ]+-----|\\n/g, '');",
    "  must(armor === base64(bytes), `signature-${i + 1}.sig`);",
    "  must(text(`signer-${i + 1}.pub`) === `${line}\\n`, `signer-${i + 1}.pub`);",
    "  must(allowed[i] === `${who} namespaces=\"quipu-bundle@v1\" ${line}`, 'allowed_signers');",
    "  must(type === 'ssh-ed25519' ? same(keyOf(who), key.subarray(19))",
    "    : who === `key-${sha256(key).toString('hex', 0, 16)}`, 'allowed_signers');",
    "});",
    "must(allowed.length === signatures.length + 1, 'allowed_signers');",
    "must(readdirSync('.').filter((name) => /^sign(er|ature)-/.test(name)).length ===",
    "     2 * signatures.length, 'signatures that the bundle does not hold');",
    "",
    "// Each event is there with its payload, and events.ndjson shows just these, in this order.",
    "async function* lines(name) {",
    "  let rest = Buffer.alloc(0);",
    "  for await (const chunk of createReadStream(name)) {",
    "    rest = Buffer.concat([rest, chunk]);",
    "    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {",
    "      yield rest.toString('utf8', 0, end);",
    "      rest = rest.subarray(end + 1);",
    "    }",
    "  }",
    "  must(rest.length === 0, `${name} ends within a line`);",
    "}",
    "const shown = lines('events.ndjson');",
    "let count = 0;",
    "for (const first of events) {",
    "  const block = decode(take(first));",
    "  for (const cid of Array.isArray(block) ? block : [first]) {",
    "    const envelope = Array.isArray(block) ? decode(take(cid)) : block;",
    "    const payload_bytes = take(envelope.payload, true);",
    "    const payload = envelope.payload.code === 113 ? decode(payload_bytes) : payload_bytes;",
    "    const envelope_bytes = blocks.get(String(cid));",
    "    const form = [{ cid, envelope, payload }, { cid, envelope, payload_bytes },",
    "      { cid, envelope_bytes, payload }, { cid, envelope_bytes, payload_bytes }].find((f) => carries(f));",
    "    const { value } = await shown.next();",
    "    must(value !== undefined && shows(value, form), `events.ndjson: ${cid}`);",
    "    count += 1;",
    "  }",
    "}",
    "must((await shown.next()).done, 'events.ndjson has more lines');",
    "must(used.size === blocks.size, 'events.car has blocks that nothing names');",
    "console.log(`${count} events verified`);",
    "END",
    /* clang-format on */
};

static void write_blocks(struct quipu_buf *out)
{
    quipu_buf_append_text(
        out,
        "\n4. The events are those that the manifest names: every block of events.car hashes to "
        "its CID, none is\n   missing, and there is none that nothing names; the signed manifest "
        "is manifest.cbor, its source is\n   SOURCE, and its signatures and keys are those of 2 "
        "and "
        "3; events.ndjson, manifest.json, checkpoint\n   and checkpoint.vkey show just what "
        "events.car holds. Needs Node.js with @ipld/car and @ipld/dag-cbor.\n   Without this step "
        "nothing has looked into events.car, and events.ndjson is for reading only: not checked.\n"
        "\n");
    for (size_t i = 0; i < sizeof program / sizeof program[0]; i++) {
        quipu_buf_printf(out, "$ %s\n", program[i]);
    }
}

void quipu_unpack_instructions(const struct quipu_unpack_facts *facts, struct quipu_buf *out)
{
    write_facts(facts->report, out);
    quipu_buf_append_text(
        out, "1. No file was damaged on its way. (Who changes one on purpose can write SHA256SUMS "
             "anew: 2 to 4 are\n   for that.)\n\n$ sha256sum --check --strict SHA256SUMS\n\n");
    write_source(facts, out);
    write_signatures(facts, out);
    write_blocks(out);
    quipu_buf_append_text(
        out, "\n5. Only where the bundle came encrypted, as one file: it holds these very bytes. "
             "Set IDENTITY to the\n   file with your age identity and BUNDLE to the encrypted "
             "file. Needs age.\n\n$ if [ -n \"${BUNDLE:-}\" ]; then age --decrypt --identity "
             "\"$IDENTITY\" \"$BUNDLE\" | cmp - events.car; fi\n\n");
    quipu_buf_append_text(
        out,
        "Not checked here: the place of the events in the source's log, and that the log has only "
        "grown; `quipu\nverify events.car` does. checkpoint is a signed note "
        "(c2sp.org/tlog-checkpoint) about all that the source\nhad recorded, checkpoint.vkey the "
        "verifier key that tools for signed notes take.\n\nevents.ndjson shows every event for "
        "reading: cid, envelope and payload as DAG-JSON. What that cannot carry\nstands as bytes, "
        "under envelope_bytes and payload_bytes.\n");
}
