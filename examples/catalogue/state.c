/*
 * The projection "catalogue": the current state of each aggregate, and rows that join them for what
 * a person would ask: who holds which key on which YubiKey, which certificates end when, who signed
 * what. An event whose payload does not fit the catalogue changes no state and leaves a row that
 * says so, rather than stopping the projection.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "catalogue.h"

#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/store.h"

#define ROW_MEMBERS_MAX 40

/* A row, or a map in it, under change. Slices are borrowed. */
struct row {
    struct row_member {
        struct quipu_slice key;
        struct quipu_slice item; /* DAG-CBOR, or the text itself */
        bool is_text;
    } members[ROW_MEMBERS_MAX]; /* in canonical order of keys */
    size_t count;
};

/* What the handlers below share. */
struct change {
    struct quipu_rows *rows;
    const struct quipu_envelope *envelope;
    struct quipu_slice id;
    struct row row;           /* of the aggregate */
    struct quipu_buf before;  /* storage of that row */
    struct quipu_buf key;     /* of the row that is being written */
    struct quipu_buf value;   /* the same */
    struct quipu_buf scratch; /* one map in a row */
};

/* ------------------------------------------------------------------ rows as members */

static void row_put(struct row *row, struct row_member member)
{
    size_t at = 0;
    while (at < row->count && quipu_dagcbor_key_compare(row->members[at].key, member.key) < 0) {
        at++;
    }
    bool is_there = at < row->count && quipu_slice_equal(row->members[at].key, member.key);
    if (!is_there && row->count == ROW_MEMBERS_MAX) {
        return; /* more than all fields of one aggregate: slots of a device that is none */
    }
    if (!is_there) {
        memmove(&row->members[at + 1], &row->members[at],
                (row->count - at) * sizeof row->members[0]);
        row->count++;
    }
    row->members[at] = member;
}

static void row_put_text(struct row *row, const char *key, struct quipu_slice text)
{
    row_put(row, (struct row_member){quipu_slice_text(key), text, true});
}

static void row_remove(struct row *row, const char *key)
{
    for (size_t i = 0; i < row->count; i++) {
        if (quipu_slice_equal(row->members[i].key, quipu_slice_text(key))) {
            row->count--;
            memmove(&row->members[i], &row->members[i + 1],
                    (row->count - i) * sizeof row->members[0]);
            return;
        }
    }
}

/* The item of a member; empty where there is none. */
static struct quipu_slice row_item(const struct row *row, const char *key)
{
    for (size_t i = 0; i < row->count; i++) {
        if (quipu_slice_equal(row->members[i].key, quipu_slice_text(key))) {
            return row->members[i].item;
        }
    }
    return quipu_slice(NULL, 0);
}

/* Lay each member of a map over the row; of a payload, those that the catalogue knows. */
static enum quipu_status row_overlay(struct row *row, struct quipu_slice map,
                                     const enum catalogue_type *type, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t pairs = 0;
    quipu_dagcbor_reader_init(&reader, map);
    enum quipu_status status = quipu_dagcbor_read_map(&reader, &pairs, err);
    for (uint64_t i = 0; i < pairs && status == QUIPU_OK; i++) {
        struct row_member member = {.is_text = false};
        status = quipu_dagcbor_read_text(&reader, &member.key, err);
        if (status == QUIPU_OK) {
            status = quipu_dagcbor_next_whole(&reader, &member.item, err);
        }
        if (status == QUIPU_OK && (type == NULL || catalogue_knows(*type, member.key))) {
            row_put(row, member);
        }
    }
    return status;
}

static enum quipu_status row_write(const struct row *row, struct quipu_buf *out,
                                   struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_buf_reset(out);
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, row->count);
    for (size_t i = 0; i < row->count; i++) {
        quipu_dagcbor_write_text(&writer, row->members[i].key);
        if (row->members[i].is_text) {
            quipu_dagcbor_write_text(&writer, row->members[i].item);
        } else {
            quipu_dagcbor_write_item(&writer, row->members[i].item);
        }
    }
    return quipu_dagcbor_writer_finish(&writer, err);
}

static struct quipu_slice text_of(struct quipu_slice item)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_slice text;
    quipu_dagcbor_reader_init(&reader, item);
    return quipu_dagcbor_read_text(&reader, &text, NULL) == QUIPU_OK ? text : quipu_slice(NULL, 0);
}

/* ------------------------------------------------------------------ rows in the table */

/* "kind/a/b" into change->key. */
static struct quipu_slice key_of(struct change *change, const char *kind, struct quipu_slice a,
                                 struct quipu_slice b)
{
    quipu_buf_reset(&change->key);
    quipu_buf_append_text(&change->key, kind);
    quipu_buf_append_byte(&change->key, '/');
    quipu_buf_append_slice(&change->key, a);
    quipu_buf_append_byte(&change->key, '/');
    quipu_buf_append_slice(&change->key, b);
    return quipu_buf_slice(&change->key);
}

/* A key of names at their greatest lengths would be longer than a row's may be: no such row. */
static enum quipu_status put(struct change *change, struct quipu_slice key, const struct row *row,
                             struct quipu_error *err)
{
    enum quipu_status status = row_write(row, &change->value, err);
    if (status != QUIPU_OK || key.len > QUIPU_TABLE_KEY_BYTES_MAX) {
        return status;
    }
    return quipu_rows_put(change->rows, key, quipu_buf_slice(&change->value), err);
}

static enum quipu_status forget(struct change *change, struct quipu_slice key,
                                struct quipu_error *err)
{
    if (key.len > QUIPU_TABLE_KEY_BYTES_MAX) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_rows_delete(change->rows, key, err);
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ what joins aggregates */

static enum quipu_status put_held(struct change *change, struct quipu_slice yubikey,
                                  struct quipu_slice slot, const char *state,
                                  struct quipu_error *err)
{
    struct row row = {.count = 0};
    row_put_text(&row, "key", change->id);
    row_put_text(&row, "holder", text_of(row_item(&change->row, "holder")));
    row_put_text(&row, "state", quipu_slice_text(state));
    return put(change, key_of(change, "held", yubikey, slot), &row, err);
}

static enum quipu_status key_revoked(struct change *change, struct quipu_error *err)
{
    struct quipu_slice yubikey = text_of(row_item(&change->row, "yubikey"));
    struct quipu_slice slot = text_of(row_item(&change->row, "slot"));
    return yubikey.len == 0 ? QUIPU_OK : put_held(change, yubikey, slot, "revoked", err);
}

/* The device remembers which key is in which slot. */
static enum quipu_status yubikey_provisioned(struct change *change,
                                             const struct catalogue_yubikey_provisioned *of,
                                             struct quipu_error *err)
{
    struct row slots = {.count = 0};
    struct quipu_slice before = row_item(&change->row, "slots");
    enum quipu_status status = before.len == 0 ? QUIPU_OK : row_overlay(&slots, before, NULL, err);
    row_put(&slots, (struct row_member){of->slot, of->key, true});
    if (status == QUIPU_OK) {
        status = row_write(&slots, &change->scratch, err);
    }
    row_put(&change->row, (struct row_member){quipu_slice_text("slots"),
                                              quipu_buf_slice(&change->scratch), false});
    row_remove(&change->row, "asked_by");
    row_remove(&change->row, "approved_by");
    return status;
}

static enum quipu_status yubikey_retired(struct change *change, struct quipu_error *err)
{
    struct row slots = {.count = 0};
    struct quipu_slice before = row_item(&change->row, "slots");
    enum quipu_status status = before.len == 0 ? QUIPU_OK : row_overlay(&slots, before, NULL, err);
    for (size_t i = 0; i < slots.count && status == QUIPU_OK; i++) {
        status = forget(change, key_of(change, "held", change->id, slots.members[i].key), err);
    }
    row_remove(&change->row, "slots");
    return status;
}

static struct quipu_slice expiry_key(struct change *change, int64_t not_after)
{
    char when[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(not_after, when);
    return key_of(change, "expires", quipu_slice_text(when), change->id);
}

/* The certificate is valid no more, or another one of its name takes its place. */
static enum quipu_status forget_expiry(struct change *change, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    int64_t not_after;
    quipu_dagcbor_reader_init(&reader, row_item(&change->row, "not_after"));
    if (quipu_dagcbor_read_int(&reader, &not_after, NULL) != QUIPU_OK) {
        return QUIPU_OK; /* there was none */
    }
    return forget(change, expiry_key(change, not_after), err);
}

static enum quipu_status certificate_issued(struct change *change,
                                            const struct catalogue_certificate_issued *of,
                                            struct quipu_error *err)
{
    struct row row = {.count = 0};
    row_put_text(&row, "key", of->key);
    row_put_text(&row, "issuer", of->issuer);
    row_put(&row, (struct row_member){quipu_slice_text("not_before"),
                                      row_item(&change->row, "not_before"), false});
    /* What was signed, and the signature, are in the log. */
    row_remove(&change->row, "signed_bytes");
    row_remove(&change->row, "signature");
    return put(change, expiry_key(change, of->not_after), &row, err);
}

static enum quipu_status put_signed(struct change *change, struct quipu_slice issuer,
                                    struct quipu_slice nkey, struct quipu_slice signed_by,
                                    struct quipu_error *err)
{
    struct row row = {.count = 0};
    row_put_text(&row, "kind", change->envelope->aggregate_type);
    row_put_text(&row, "nkey", nkey);
    row_put_text(&row, "signed_by", signed_by);
    return put(change, key_of(change, "signed", issuer, change->id), &row, err);
}

/* ------------------------------------------------------------------ one event */

/* The fields of the payload that become members of the aggregate's row; those of a request and an
 * approval are about the request. */
static enum quipu_status overlay(struct change *change, const struct catalogue_payload_of *payload,
                                 struct quipu_slice block, struct quipu_error *err)
{
    switch ((int)payload->type) {
    case CATALOGUE_YUBIKEY_PROVISION_REQUESTED:
        row_put_text(&change->row, "asked_by", payload->of.yubikey_provision_requested.by);
        return QUIPU_OK;
    case CATALOGUE_YUBIKEY_PROVISION_APPROVED:
        row_put_text(&change->row, "approved_by", payload->of.yubikey_provision_approved.by);
        return QUIPU_OK;
    case CATALOGUE_YUBIKEY_PROVISIONED:
        return yubikey_provisioned(change, &payload->of.yubikey_provisioned, err);
    default:
        return row_overlay(&change->row, block, &payload->type, err);
    }
}

static enum quipu_status join(struct change *change, const struct catalogue_payload_of *payload,
                              struct quipu_error *err)
{
    switch ((int)payload->type) {
    case CATALOGUE_KEY_PROVISIONED:
        return put_held(change, payload->of.key_provisioned.yubikey,
                        payload->of.key_provisioned.slot, "in use", err);
    case CATALOGUE_KEY_REVOKED:
        return key_revoked(change, err);
    case CATALOGUE_YUBIKEY_RETIRED:
        return yubikey_retired(change, err);
    case CATALOGUE_CERTIFICATE_ISSUED:
        return certificate_issued(change, &payload->of.certificate_issued, err);
    case CATALOGUE_NATS_ACCOUNT_CREATED:
        return put_signed(change, payload->of.nats_account_created.issuer,
                          payload->of.nats_account_created.nkey,
                          payload->of.nats_account_created.signed_by, err);
    case CATALOGUE_NATS_USER_CREATED:
        return put_signed(change, payload->of.nats_user_created.issuer,
                          payload->of.nats_user_created.nkey,
                          payload->of.nats_user_created.signed_by, err);
    default:
        return QUIPU_OK;
    }
}

static struct quipu_slice aggregate_key(struct change *change)
{
    quipu_buf_reset(&change->key);
    quipu_buf_append_slice(&change->key, change->envelope->aggregate_type);
    quipu_buf_append_byte(&change->key, '/');
    quipu_buf_append_slice(&change->key, change->id);
    return quipu_buf_slice(&change->key);
}

/* The aggregate's row as it was, in memory of our own: what the table lends dies with a put. */
static enum quipu_status load(struct change *change, struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status = quipu_rows_get(change->rows, aggregate_key(change), &value, err);
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_append_slice(&change->before, value);
    if (change->before.status != QUIPU_OK) {
        return quipu_error_set(err, change->before.status, "a row of %zu bytes", value.len);
    }
    return row_overlay(&change->row, quipu_buf_slice(&change->before), NULL, err);
}

static enum quipu_status change_rows(struct change *change,
                                     const struct catalogue_payload_of *payload,
                                     struct quipu_slice block, struct quipu_error *err)
{
    const struct catalogue_entry *entry = catalogue_entry(payload->type);
    enum quipu_status status = load(change, err);
    if (status == QUIPU_OK && strcmp(entry->aggregate_type, "certificate") == 0) {
        status = forget_expiry(change, err);
    }
    if (status == QUIPU_OK) {
        status = overlay(change, payload, block, err);
    }
    if (status == QUIPU_OK) {
        row_put_text(&change->row, "state", quipu_slice_text(entry->state));
        status = join(change, payload, err);
    }
    return status == QUIPU_OK ? put(change, aggregate_key(change), &change->row, err) : status;
}

static enum quipu_status put_unfit(struct change *change, const char *why, struct quipu_error *err)
{
    struct row row = {.count = 0};
    row_put_text(&row, "event_type", change->envelope->event_type);
    row_put_text(&row, "why", quipu_slice_text(why));
    return put(change, key_of(change, "unfit", change->envelope->aggregate_type, change->id), &row,
               err);
}

static enum quipu_status apply(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    const struct quipu_envelope *envelope = &event->envelope;
    const struct catalogue_entry *entry = catalogue_find(envelope->event_type);
    if (entry == NULL ||
        !quipu_slice_equal(envelope->aggregate_type, quipu_slice_text(entry->aggregate_type))) {
        return QUIPU_OK; /* not of this catalogue */
    }
    struct change change = {.rows = rows, .envelope = envelope, .id = envelope->aggregate_id};
    struct catalogue_payload_of payload;
    struct quipu_error unfit = {0};
    enum quipu_status status =
        catalogue_read(catalogue_type_of(entry), event->payload, &payload, &unfit);
    status = status == QUIPU_OK ? change_rows(&change, &payload, event->payload, err)
                                : put_unfit(&change, unfit.message, err);
    quipu_buf_release(&change.before);
    quipu_buf_release(&change.key);
    quipu_buf_release(&change.value);
    quipu_buf_release(&change.scratch);
    return status;
}

const struct quipu_projection catalogue_state = {
    .name = "catalogue",
    .version = 1,
    .apply = apply,
};
