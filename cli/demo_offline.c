/*
 * The offline acts of the demo: what the engine refuses and what it recognises, the scrub, the
 * certificates checked from the log alone, the bundle over the air gap, and the comparison of
 * projections.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "demo.h"
#include "quipu/bundle.h"
#include "quipu/dagcbor.h"
#include "quipu/text.h"
#include "quipu/verify.h"

/* ------------------------------------------------------------------ refused and recognised */

/* Somebody who has read an older version of a device tries to retire it. */
static enum quipu_status conflict(struct demo *demo, struct quipu_error *err)
{
    struct quipu_error refusal = {0};
    struct quipu_buf payload = QUIPU_BUF_INIT;
    const struct catalogue_yubikey_retired retired = {.reason = quipu_slice_text("lost"),
                                                      .by = quipu_slice_text("elena")};
    struct quipu_event event = catalogue_event(CATALOGUE_YUBIKEY_RETIRED, "20460117");
    event.expected = quipu_expect_exact(2);
    enum quipu_status status = catalogue_write_yubikey_retired(&retired, &payload, err);
    if (status == QUIPU_OK) {
        event.payload = quipu_buf_slice(&payload);
        status = quipu_append(demo->engines[DEMO_CEREMONY], &event, NULL, &refusal);
        if (status != QUIPU_VERSION_CONFLICT) {
            status = quipu_error_set(err, QUIPU_CORRUPT,
                                     "an append with an old version was answered with %s",
                                     quipu_status_name(status));
        } else {
            demo_step(demo, "refused", "%s", refusal.message);
            status = QUIPU_OK;
        }
    }
    quipu_buf_release(&payload);
    return status;
}

/* What a retry after a lost answer sends: the same event, taken from the log here. */
struct retry {
    struct quipu_buf payload;
    struct quipu_uuid event_id;
    struct quipu_uuid correlation_id;
    uint64_t position;
};

static enum quipu_status copy_event(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    struct retry *retry = ctx;
    quipu_buf_append_slice(&retry->payload, event->payload);
    if (retry->payload.status != QUIPU_OK) {
        return quipu_error_set(err, retry->payload.status, "a payload of %zu bytes",
                               event->payload.len);
    }
    retry->event_id = event->envelope.event_id;
    retry->correlation_id = event->envelope.correlation_id;
    retry->position = event->position;
    return QUIPU_DONE;
}

static enum quipu_status duplicate(struct demo *demo, struct quipu_error *err)
{
    struct retry retry = {.payload = QUIPU_BUF_INIT};
    struct quipu_filter filter = {.aggregate_type = "certificate", .aggregate_id = "root-ca"};
    struct quipu_appended appended = {0};
    enum quipu_status status =
        quipu_each_event(demo->engines[DEMO_CEREMONY], &filter, copy_event, &retry, err);
    if (status == QUIPU_OK) {
        struct quipu_event event = catalogue_event(CATALOGUE_CERTIFICATE_ISSUED, "root-ca");
        event.event_id = retry.event_id;
        event.correlation_id = retry.correlation_id;
        event.payload = quipu_buf_slice(&retry.payload);
        status = quipu_append(demo->engines[DEMO_CEREMONY], &event, &appended, err);
    }
    if (status == QUIPU_OK && (!appended.was_duplicate || appended.position != retry.position)) {
        status = quipu_error_set(err, QUIPU_CORRUPT, "an event sent twice was not recognised");
    }
    if (status == QUIPU_OK) {
        demo_step(demo, "recognised",
                  "the same event sent again: a duplicate of position %" PRIu64 ", nothing added",
                  appended.position);
    }
    quipu_buf_release(&retry.payload);
    return status;
}

/* ------------------------------------------------------------------ verified */

static enum quipu_status verify(struct demo *demo, struct quipu_error *err)
{
    struct quipu_verify_report report;
    enum quipu_status status = quipu_verify(demo->engines[DEMO_CEREMONY], NULL, &report, err);
    if (status == QUIPU_OK) {
        char bytes[CLI_COUNT_BYTES];
        demo_step(demo, "verify", "%" PRIu64 " events, %" PRIu64 " chains, %s hashed again: intact",
                  report.events, report.aggregates, cli_bytes(report.block_bytes, bytes));
    }
    return status;
}

#define AUTHORITIES_MAX 8

/* Subjects met so far, with the public keys that their certificates give them. */
struct trust {
    struct {
        char subject[64];
        uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    } authorities[AUTHORITIES_MAX];
    size_t count;
    uint64_t checked;
};

static enum quipu_status get(struct quipu_slice map, const char *key, bool is_text,
                             struct quipu_slice *out, struct quipu_error *err)
{
    struct quipu_slice value;
    struct quipu_dagcbor_reader reader;
    enum quipu_status status = quipu_dagcbor_map_get(map, key, &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_dagcbor_reader_init(&reader, value);
    return is_text ? quipu_dagcbor_read_text(&reader, out, err)
                   : quipu_dagcbor_read_bytes(&reader, out, err);
}

static const uint8_t *authority_key(const struct trust *trust, struct quipu_slice subject)
{
    for (size_t i = 0; i < trust->count; i++) {
        if (quipu_slice_equal(subject, quipu_slice_text(trust->authorities[i].subject))) {
            return trust->authorities[i].public_key;
        }
    }
    return NULL;
}

/* The first certificate is the root and answers for itself; every other one needs an issuer that
 * stands before it. */
static enum quipu_status check_certificate(void *ctx, const struct quipu_event_view *event,
                                           struct quipu_error *err)
{
    struct trust *trust = ctx;
    struct quipu_slice block;
    struct quipu_slice signature;
    struct quipu_slice subject;
    struct quipu_slice issuer;
    struct quipu_slice public_key;
    enum quipu_status status = get(event->payload, "signed_bytes", false, &block, err);
    if (status == QUIPU_OK) {
        status = get(event->payload, "signature", false, &signature, err);
    }
    if (status == QUIPU_OK) {
        status = get(block, "subject", true, &subject, err);
    }
    if (status == QUIPU_OK) {
        status = get(block, "issuer", true, &issuer, err);
    }
    if (status == QUIPU_OK) {
        status = get(block, "public_key", false, &public_key, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (signature.len != QUIPU_SIGNATURE_BYTES || public_key.len != QUIPU_PUBLIC_KEY_BYTES ||
        subject.len >= sizeof trust->authorities[0].subject || trust->count == AUTHORITIES_MAX) {
        return quipu_error_set(err, QUIPU_CORRUPT, "position %" PRIu64 ": not a certificate",
                               event->position);
    }
    const uint8_t *issuer_key = trust->count == 0 ? public_key.data : authority_key(trust, issuer);
    if (issuer_key == NULL || !demo_signature_holds(signature.data, block, issuer_key)) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE,
                               "position %" PRIu64
                               ": the certificate of %.*s is not signed by %.*s",
                               event->position, QUIPU_SLICE_FMT(subject), QUIPU_SLICE_FMT(issuer));
    }
    memcpy(trust->authorities[trust->count].subject, subject.data, subject.len);
    trust->authorities[trust->count].subject[subject.len] = 0;
    memcpy(trust->authorities[trust->count].public_key, public_key.data, public_key.len);
    trust->count++;
    trust->checked++;
    return QUIPU_OK;
}

static enum quipu_status check_certificates(struct demo *demo, enum demo_store store,
                                            struct quipu_error *err)
{
    struct trust trust = {.count = 0};
    struct quipu_filter filter = {.event_type =
                                      catalogue_entry(CATALOGUE_CERTIFICATE_ISSUED)->event_type};
    enum quipu_status status =
        quipu_each_event(demo->engines[store], &filter, check_certificate, &trust, err);
    if (status == QUIPU_OK) {
        demo_step(demo, "certificates",
                  "%" PRIu64 " signatures hold, from the root down, read "
                  "from the log alone",
                  trust.checked);
    }
    return status;
}

/* ------------------------------------------------------------------ over the air gap */

static enum quipu_status carry(struct demo *demo, struct quipu_error *err)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    options.operator_name = "Dario Condori";
    options.reason = "demo";
    struct quipu_export_report exported;
    enum quipu_status status =
        quipu_export(demo->engines[DEMO_CEREMONY], demo->bundle, &options, &exported, err);
    if (status != QUIPU_OK) {
        return status;
    }
    char bytes[CLI_COUNT_BYTES];
    demo_step(demo, "export",
              "%" PRIu64 " events in one signed bundle, %s, sha256 %02x%02x%02x%02x…",
              exported.events, cli_bytes(exported.file_bytes, bytes), exported.file_sha256[0],
              exported.file_sha256[1], exported.file_sha256[2], exported.file_sha256[3]);

    char source[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_import_report first;
    struct quipu_import_report second;
    struct quipu_import_options import_options = QUIPU_IMPORT_OPTIONS_INIT;
    const char *trusted[] = {source};
    import_options.trusted = trusted;
    import_options.trusted_count = 1;
    status = quipu_identity_source(demo->engines[DEMO_CEREMONY], source, err);
    if (status == QUIPU_OK) {
        status =
            quipu_import(demo->engines[DEMO_VAULT], demo->bundle, &import_options, &first, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    demo_step(demo, "import",
              "signature of %.9s… holds; %" PRIu64 " events added to a second store",
              first.bundle.signer, first.events.added);
    status = quipu_import(demo->engines[DEMO_VAULT], demo->bundle, &import_options, &second, err);
    if (status == QUIPU_OK && (second.events.added != 0 || first.events.added != exported.events)) {
        status =
            quipu_error_set(err, QUIPU_CORRUPT,
                            "%" PRIu64 " exported, %" PRIu64 " added, then %" PRIu64 " added again",
                            exported.events, first.events.added, second.events.added);
    }
    if (status == QUIPU_OK) {
        demo_step(demo, "import", "the same bundle again: %" PRIu64 " added, %" PRIu64 " known",
                  second.events.added, second.events.known);
    }
    return status;
}

enum quipu_status demo_offline(struct demo *demo, struct quipu_error *err)
{
    enum quipu_status status = conflict(demo, err);
    if (status == QUIPU_OK) {
        status = duplicate(demo, err);
    }
    if (status == QUIPU_OK) {
        status = verify(demo, err);
    }
    if (status == QUIPU_OK) {
        status = carry(demo, err);
    }
    if (status == QUIPU_OK) {
        status = check_certificates(demo, DEMO_VAULT, err);
    }
    return status;
}

/* ------------------------------------------------------------------ compared */

/* One step that shows the rows of the catalogue below a prefix, each by its own words. */
static enum quipu_status show_rows(struct demo *demo, const char *name, const char *prefix,
                                   quipu_row_fn row, struct quipu_error *err)
{
    struct quipu_buf words = QUIPU_BUF_INIT;
    enum quipu_status status =
        quipu_projection_each_row(demo->engines[DEMO_CEREMONY], catalogue_state.name,
                                  quipu_slice_text(prefix), row, &words, err);
    if (status == QUIPU_OK) {
        demo_step(demo, name, "%.*s", QUIPU_SLICE_FMT(quipu_buf_slice(&words)));
    }
    quipu_buf_release(&words);
    return status;
}

static void put_comma(struct quipu_buf *words)
{
    if (words->len > 0) {
        quipu_buf_append_text(words, ", ");
    }
}

/* The part of a key behind its n-th '/'. */
static struct quipu_slice key_part(struct quipu_slice key, unsigned n)
{
    for (; n > 0 && key.len > 0; n--) {
        const uint8_t *slash = memchr(key.data, '/', key.len);
        size_t skip = slash == NULL ? key.len : (size_t)(slash - key.data) + 1;
        key = quipu_slice(key.data + skip, key.len - skip);
    }
    return key;
}

/* held/20460117/9c → "ada has ada-2026 on 20460117/9c" */
static enum quipu_status held_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                  struct quipu_error *err)
{
    struct quipu_buf *words = ctx;
    struct quipu_slice holder;
    struct quipu_slice held;
    enum quipu_status status = get(value, "holder", true, &holder, err);
    if (status == QUIPU_OK) {
        status = get(value, "key", true, &held, err);
    }
    if (status == QUIPU_OK) {
        put_comma(words);
        quipu_buf_printf(words, "%.*s has %.*s on %.*s", QUIPU_SLICE_FMT(holder),
                         QUIPU_SLICE_FMT(held), QUIPU_SLICE_FMT(key_part(key, 1)));
    }
    return status;
}

/* expires/2027-11-21T…Z/ada-2026 → "ada-2026 2027-11-21" */
static enum quipu_status expiry_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                    struct quipu_error *err)
{
    struct quipu_buf *words = ctx;
    struct quipu_slice when = key_part(key, 1);
    (void)value;
    (void)err;
    put_comma(words);
    quipu_buf_printf(words, "%.*s %.10s", QUIPU_SLICE_FMT(key_part(key, 2)),
                     (const char *)when.data);
    return QUIPU_OK;
}

/* signed/nats-operator/nats-account → "nats-account by nats-operator" */
static enum quipu_status signed_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                    struct quipu_error *err)
{
    struct quipu_buf *words = ctx;
    struct quipu_slice issuer = key_part(key, 1);
    struct quipu_slice id = key_part(key, 2);
    (void)value;
    (void)err;
    put_comma(words);
    quipu_buf_printf(words, "%.*s by %.*s", QUIPU_SLICE_FMT(id), (int)(issuer.len - id.len - 1),
                     (const char *)issuer.data);
    return QUIPU_OK;
}

/* What the events come to. */
static enum quipu_status show_state(struct demo *demo, struct quipu_error *err)
{
    struct quipu_replay_report report;
    enum quipu_status status = quipu_replay(demo->engines[DEMO_CEREMONY], &catalogue_state,
                                            QUIPU_REPLAY_CATCH_UP, &report, err);
    if (status == QUIPU_OK) {
        demo_step(demo, "catalogue",
                  "%" PRIu64 " rows of current state, such as these:", report.rows);
        status = show_rows(demo, "held", "held/", held_row, err);
    }
    if (status == QUIPU_OK) {
        status = show_rows(demo, "valid until", "expires/", expiry_row, err);
    }
    return status == QUIPU_OK ? show_rows(demo, "signed", "signed/", signed_row, err) : status;
}

enum quipu_status demo_compare(struct demo *demo, struct quipu_error *err)
{
    struct quipu_replay_report first = {0};
    unsigned stores = 0;
    for (int store = 0; store < DEMO_STORES; store++) {
        if (demo->engines[store] == NULL) {
            continue; /* the third one is there only where there is a server */
        }
        struct quipu_replay_report report;
        enum quipu_status status = quipu_replay(demo->engines[store], &catalogue_inventory,
                                                QUIPU_REPLAY_CATCH_UP, &report, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (stores == 0) {
            first = report;
        }
        if (memcmp(first.digest, report.digest, sizeof first.digest) != 0) {
            return quipu_error_set(err, QUIPU_CORRUPT,
                                   "the inventory of \"%s\" differs from \"%s\"",
                                   demo->paths[store], demo->paths[DEMO_CEREMONY]);
        }
        stores++;
    }
    struct quipu_buf digest = QUIPU_BUF_INIT;
    quipu_hex_append(&digest, quipu_slice(first.digest, sizeof first.digest));
    demo_step(demo, "replay", "inventory: %" PRIu64 " rows, the same in %u stores to the byte",
              first.rows, stores);
    demo_step(demo, "digest", "%.*s", QUIPU_SLICE_FMT(quipu_buf_slice(&digest)));
    quipu_buf_release(&digest);
    return show_state(demo, err);
}
