/*
 * One pass over a bundle: every rule of SPEC §9 held block by block, in bounded memory, and each
 * event handed on as soon as it is complete. Checking and importing are both this pass.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_BUNDLE_READER_H
#define QUIPU_AIRGAP_BUNDLE_READER_H

#include "quipu/bundle.h"
#include "signers_judge.h"

/* One event of the bundle, borrowed for the callback. */
struct quipu_bundle_event {
    uint64_t number; /* in the bundle, from 1 */
    uint64_t offset; /* of its envelope's section in the file */
    struct quipu_cid cid;
    struct quipu_slice envelope;
    struct quipu_slice payload;
};

typedef enum quipu_status (*quipu_bundle_event_fn)(void *ctx,
                                                   const struct quipu_bundle_event *event,
                                                   struct quipu_error *err);

/* What stands in front of the events. */
struct quipu_bundle_front {
    struct quipu_slice manifest; /* the block */
    struct quipu_slice checkpoint;
    struct quipu_slice source;
    const struct quipu_slice *signatures; /* binary SSHSIGs */
    size_t signature_count;
    const struct quipu_slice *signer_keys; /* in their wire form, one for each signature */
    uint64_t manifest_offset;              /* of the manifest's section: behind it nothing changes
                                              when somebody signs */
};

struct quipu_bundle_pass {
    const char *name;                  /* of the file, for messages */
    struct quipu_signer_policy policy; /* checked by the caller; zeroed: any signer */
    quipu_bundle_event_fn visit;       /* may be NULL; a failure of it ends the pass with it */
    void *ctx;
    /* Called once, when root, manifest and signatures hold; borrowed for the call. May be NULL. */
    enum quipu_status (*front)(void *ctx, const struct quipu_bundle_front *front,
                               struct quipu_error *err);
};

/* Open a bundle for reading. QUIPU_INVALID: not a regular file. QUIPU_NOT_FOUND, … */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_open(const char *path, int *fd,
                                                     struct quipu_error *err);

/* The same below an open folder. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_open_at(int folder, const char *base,
                                                        const char *name, int *fd,
                                                        struct quipu_error *err);

/* Do the first bytes of a file say that it is an age file? 64 of them are enough. */
bool quipu_bundle_is_age(struct quipu_slice first);

/* Read the whole file from its start. err's lines begin with pass->name. Statuses as
 * quipu_bundle_check, or what `visit` says. `report` is written on QUIPU_OK only. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_read(int fd, const struct quipu_bundle_pass *pass,
                                                     struct quipu_bundle_report *report,
                                                     struct quipu_error *err);

/* The same from a source, to its end. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_read_source(struct quipu_source source,
                                                            const struct quipu_bundle_pass *pass,
                                                            struct quipu_bundle_report *report,
                                                            struct quipu_error *err);

/* A bundle as it was given: a CAR, an age file with one inside, or a folder of volumes of either.
 * Zero-initialised may be closed. */
struct quipu_bundle_stream;

/* Open it and, where it is encrypted, its header with `secrets` (NULL: none). Statuses as
 * quipu_bundle_check_with. err's lines name the path. `*source` gives the CAR until close. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_stream_open(const char *path,
                                                            const struct quipu_age_secrets *secrets,
                                                            struct quipu_bundle_stream **out,
                                                            struct quipu_source *source,
                                                            struct quipu_error *err);
void quipu_bundle_stream_close(struct quipu_bundle_stream **stream);

/* Who must have signed, as the options say. Statuses as quipu_signer_policy_check. */
QUIPU_MUST_CHECK enum quipu_status
quipu_bundle_policy_of(const struct quipu_bundle_check_options *options,
                       struct quipu_signer_policy *policy, struct quipu_error *err);

/* One pass over a stream: open, read, hold what its volumes' index says against it, close. */
QUIPU_MUST_CHECK enum quipu_status quipu_bundle_read_path(const char *path,
                                                          const struct quipu_age_secrets *secrets,
                                                          const struct quipu_bundle_pass *pass,
                                                          struct quipu_bundle_report *report,
                                                          struct quipu_error *err);

#endif
