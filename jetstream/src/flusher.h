/*
 * One flush in progress, as its files share it: collect (flush_collect.c) → send and answers
 * (flush_send.c, flush_questions.c) → record (flush_record.c), driven by the loop in flusher.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_FLUSHER_H
#define QUIPU_FLUSHER_H

#include "backoff.h"
#include "connection.h"
#include "event_message.h"
#include "flush_window.h"
#include "held.h"
#include "payload_store.h"
#include "quipu/buf.h"
#include "quipu/jetstream.h"
#include "streams.h"

#define FLUSH_LINE_BYTES QUIPU_ERROR_MESSAGE_BYTES

/* Kinds of tokens beside those of the window's parts: the request for the chunk that was there
 * before ours, and the one whether there is a meta (QUIPU_DEDUP_WINDOW). */
#define FLUSH_COMPARE FLUSH_PARTS
#define FLUSH_ASK     (FLUSH_PARTS + 1)
/* One for each round of FLUSH_LOOK. */
#define FLUSH_LOOK_0 (FLUSH_PARTS + 2)
#define FLUSH_KINDS  (FLUSH_LOOK_0 + FLUSH_LOOK_ROUNDS)

/* Payloads known to be in the bucket as they should be; a later one takes an earlier one's place.
 */
#define FLUSH_GOOD_PAYLOADS 256

/* Where a message lies among the bytes that were sent, and since when. */
struct flush_mark {
    uint64_t end;
    int64_t sent_us;
};

/* How many bytes may be under way: flush_pace.c. */
struct flush_pace {
    uint64_t sent;
    uint64_t answered; /* everything up to here is answered or given up */
    uint64_t allowance;
};

/* What an admitted event consists of: copied, because no transaction stays open while we wait for
 * the network. */
struct flush_item {
    struct quipu_cid payload_cid;
    struct event_texts texts;
    struct payload_names names;
    struct quipu_buf envelope;
    struct quipu_buf payload;
    struct quipu_buf meta;
    bool is_chained;         /* the payload does not fit into one message */
    uint64_t chunk_sequence; /* the chunk was stored now, under this; 0: not known */
    bool has_meta_existed;   /* the server had a meta */
    int64_t stored_unix_us;  /* of an event that was there; an ack does not say it: 0 */
    struct flush_mark marks[FLUSH_KINDS];
    /* Why it is refused or in conflict, where it is. */
    enum quipu_status reason;
    char line[FLUSH_LINE_BYTES];
};

/* An event that is put aside before it is ever sent. */
struct flush_burial {
    uint64_t position;
    enum quipu_status reason;
    char line[FLUSH_LINE_BYTES];
};

/* Events that settled in the last second or two. */
struct flush_rate {
    int64_t since_us;
    uint64_t since_done;
    uint64_t per_second;
};

struct flusher {
    struct quipu_engine *engine;
    struct quipu_nats *nats;
    struct quipu_flush_options options; /* complete: no zeros for defaults */
    struct quipu_flush_report report;

    struct flush_window window;
    struct flush_slot *slots;
    struct flush_item *items; /* of ticket t: items[t % window.capacity] */
    size_t bytes_in_flight;
    int64_t server_bytes_max; /* of one message */
    struct stream_facts stream;
    struct stream_facts bucket;
    bool is_recalled;      /* both are what was said a moment ago */
    uint64_t first_stream; /* their first messages at the begin */
    uint64_t first_bucket;
    uint64_t base;  /* whatever is stored now gets a sequence above this one */
    uint64_t reach; /* as in receipt_stream.h */
    size_t chunk_bytes_max;
    struct flush_pace pace;
    struct quipu_cid good_payloads[FLUSH_GOOD_PAYLOADS];

    uint64_t after; /* the outbox has been read up to here */
    bool is_at_end; /* and there was nothing behind it */
    struct held_aggregates held;
    struct flush_burial *burials;
    size_t burial_count;

    struct quipu_ack *acks; /* not yet recorded */
    size_t ack_count;
    int64_t recorded_us;
    int64_t shown_us; /* progress was last called */
    uint64_t done;
    uint64_t total;
    uint64_t known_payloads; /* long ones that were there before us */
    struct flush_rate rate;
    bool is_reconnecting;
    bool has_replies; /* that were there and have not been taken yet */
    bool is_wary;     /* an answer could not be read: flush_questions.c */

    struct backoff backoff;
    int64_t began_us;
    struct quipu_flush_history history; /* of this store: flush_figures.c */
    bool has_history;
    struct quipu_flush_report told; /* as far as `history` counts it in */

    int64_t heard_us;   /* when the server last said anything, or had nothing to say */
    int64_t doubted_us; /* when the streams were last looked after in mid-flush */
    /* The first thing that ends the flush; `is_draining`: once what is in flight is answered. */
    enum quipu_status status;
    bool is_draining;
    struct quipu_error err;     /* of `status` */
    struct quipu_error trouble; /* of whatever went wrong last */
};

static inline bool flusher_looks(const struct flusher *flusher)
{
    return flusher->options.dedup == QUIPU_DEDUP_WINDOW;
}

static inline struct flush_item *flusher_item(const struct flusher *flusher, uint64_t ticket)
{
    return &flusher->items[ticket % flusher->window.capacity];
}

/* End the flush with this failure, whose line is in flusher->trouble. The first one counts. Returns
 * `status`. */
enum quipu_status quipu_flusher_end(struct flusher *flusher, enum quipu_status status);

/* Make sure of the connection, fill in flusher->stream and ->bucket, and see that a flush can use
 * them. @retval as quipu_event_stream_facts, and what the store says */
enum quipu_status quipu_flusher_facts(struct flusher *flusher,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

/* Hold the stream, as far as its figures show, against the receipts; before the first message.
 * @retval QUIPU_DRIFT, and what the store says */
enum quipu_status quipu_flusher_hold(struct flusher *flusher,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* In mid-flush: ask for stream and bucket anew. They must be the ones that the flush began with and
 * hold what is recorded. The line is in flusher->trouble.
 * @retval QUIPU_DRIFT  they are not, or do not, and as quipu_event_stream_facts */
enum quipu_status quipu_flusher_verify(struct flusher *flusher) QUIPU_MUST_CHECK;

/* The same at the end of a flush that took long enough for things to happen meanwhile, and before
 * its last receipts are recorded. */
void quipu_flusher_verify_end(struct flusher *flusher);

/* At the end of a flush that has sent something: stream and bucket, where they have a limit behind
 * which they refuse what is new, must still have what they had. What they have not is told, and is
 * for a reconciliation to repair. */
void quipu_flusher_check_drops(struct flusher *flusher);

/* The flush has ended: what was found may hold for the next one, if all went well. */
void quipu_flusher_facts_keep(struct flusher *flusher);

/* Admit as many pending events as there is room for. Where one is damaged, what is in flight is
 * still answered before the flush ends (is_draining). */
void quipu_flusher_collect(struct flusher *flusher);

/* Publish a message of this event's; its answer comes with `kind`. @retval as quipu_nats_publish */
enum quipu_status quipu_flusher_publish(struct flusher *flusher, uint64_t ticket, uint8_t kind,
                                        const struct nats_outgoing *message) QUIPU_MUST_CHECK;

/* Hand an answer to the window; a stale one changes nothing. */
void quipu_flusher_answer(struct flusher *flusher, uint64_t ticket, enum flush_part part,
                          enum flush_answer what, uint64_t sequence);

/* The same for chunk and meta, with what follows from it. @retval as quipu_payload_settle */
enum quipu_status quipu_flusher_answer_payload(struct flusher *flusher, uint64_t ticket,
                                               enum flush_part part, enum flush_answer what,
                                               uint64_t sequence) QUIPU_MUST_CHECK;

/* Why the event is refused, for its dead letter. */
void quipu_flusher_refuse(struct flush_item *item, enum quipu_status reason, const char *line);

/* What lies in the bucket under the payload's CID is not that payload: an envelope that names it
 * must not go out. */
void quipu_flusher_refuse_payload(struct flusher *flusher, uint64_t ticket, enum flush_part part,
                                  const char *line);

/* Where it is noted that this payload is in the bucket as it should be. */
struct quipu_cid *quipu_flusher_good_place(struct flusher *flusher, const struct quipu_cid *cid);

bool quipu_flusher_is_chunk_up(const struct flusher *flusher, uint64_t ticket);

/* @retval as quipu_nats_publish */
enum quipu_status quipu_flusher_publish_chunk(struct flusher *flusher,
                                              uint64_t ticket) QUIPU_MUST_CHECK;
enum quipu_status quipu_flusher_publish_meta(struct flusher *flusher,
                                             uint64_t ticket) QUIPU_MUST_CHECK;

/* Ask what lies on the event's subject (kind FLUSH_CHECK, or FLUSH_LOOK_0 and following); whether
 * its payload has a meta; what the chunk is that was there before ours, unless that need not be
 * known. @retval as quipu_nats_publish */
enum quipu_status quipu_flusher_ask_event(struct flusher *flusher, uint64_t ticket,
                                          uint8_t kind) QUIPU_MUST_CHECK;
enum quipu_status quipu_flusher_ask_meta(struct flusher *flusher, uint64_t ticket) QUIPU_MUST_CHECK;
enum quipu_status quipu_flusher_compare_chunk(struct flusher *flusher, uint64_t ticket,
                                              uint64_t sequence) QUIPU_MUST_CHECK;

/* The reply to one of these questions. @retval as quipu_flusher_answer_payload, and as
 * quipu_nats_publish */
enum quipu_status quipu_flusher_take_answer(struct flusher *flusher, const struct nats_token *token,
                                            natsMsg *msg) QUIPU_MUST_CHECK;

void quipu_pace_begin(struct flush_pace *pace);
/* May something be sent now? */
bool quipu_pace_allows(const struct flush_pace *pace);
/* An answer has come to what is marked so; the answer is expected within answer_us. */
void quipu_pace_answered(struct flush_pace *pace, const struct flush_mark *mark, int64_t answer_us,
                         int64_t now_us);
/* What is under way is not waited for any more: a deadline has run out. */
void quipu_pace_expired(struct flush_pace *pace);

/* Release what an item holds, once its event is settled. */
void quipu_flusher_item_done(struct flusher *flusher, uint64_t ticket);

/* Send all that the window has ready. @retval QUIPU_OFFLINE  the connection is lost */
enum quipu_status quipu_flusher_send(struct flusher *flusher) QUIPU_MUST_CHECK;

/* Take replies, waiting up to wait_us for the first, and no more at once than leaves the server
 * something to do meanwhile. @retval QUIPU_OFFLINE */
enum quipu_status quipu_flusher_receive(struct flusher *flusher, int64_t wait_us) QUIPU_MUST_CHECK;

/* Why an event behind the dead letter at `position` is not sent. */
void quipu_flusher_held_line(const struct quipu_envelope *envelope, uint64_t position,
                             char line[FLUSH_LINE_BYTES]);

/* Turn settled events into acks to record and dead letters. */
void quipu_flusher_settle(struct flusher *flusher);

/* Record acks: where enough have come together, or `is_final`. */
void quipu_flusher_record(struct flusher *flusher, bool is_final);

/* Count what this flush has done so far into the store's row; for quipu_outbox_acknowledge_with,
 * `ctx` the flusher. */
enum quipu_status quipu_flusher_figures_write(void *ctx, struct quipu_txn *txn,
                                              struct quipu_error *err) QUIPU_MUST_CHECK;

/* The same in a transaction of its own, where something is not counted in yet. Figures are no
 * reason to fail a flush. */
void quipu_flusher_figures_end(struct flusher *flusher);

/* Acks that are recorded together: a commit costs a sync, in which nothing is sent. What a crash
 * loses of them is found in the stream by the next flush. */
#define FLUSH_RECORD_AT 4096

#endif
