/*
 * The part of `quipu export` that writes a bundle.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_EXPORT_BUNDLE_H
#define QUIPU_CLI_EXPORT_BUNDLE_H

#include "cli.h"
#include "passphrase.h"

struct cli_json;

/** Options of a bundle, as the command line gives them. */
struct cli_export_bundle {
    const char *operator_name;
    const char *reason;
    bool is_since_last;
    struct cli_texts recipients;
    struct cli_number passphrase_fd;
    bool asks_passphrase;
    struct cli_number key_passphrase_fd;
    const char *pinentry;
    bool is_armored;
    const char *volume_size;
    const char *unpack;
};

#define CLI_EXPORT_BUNDLE_OPTIONS(values, member)                                                  \
    {"operator", CLI_TEXT, offsetof(struct values, member.operator_name), "NAME",                  \
     "who exports, for the manifest (else offline.operator)"},                                     \
        {"reason", CLI_TEXT, offsetof(struct values, member.reason), "TEXT",                       \
         "why, for the manifest"},                                                                 \
        {"since-last", CLI_FLAG, offsetof(struct values, member.is_since_last), NULL,              \
         "what has come in since the last whole bundle"},                                          \
        {"recipient", CLI_TEXTS, offsetof(struct values, member.recipients), "age1…",              \
         "encrypt to this age recipient (may be given several times)"},                            \
        {"passphrase-fd", CLI_NUMBER, offsetof(struct values, member.passphrase_fd), "N",          \
         "encrypt to the passphrase that this descriptor gives"},                                  \
        {"passphrase", CLI_FLAG, offsetof(struct values, member.asks_passphrase), NULL,            \
         "encrypt to a passphrase, and ask for it"},                                               \
        CLI_KEY_PASSPHRASE_OPTION(values, member.key_passphrase_fd),                               \
        CLI_PINENTRY_OPTION(values, member.pinentry),                                              \
        {"armor", CLI_FLAG, offsetof(struct values, member.is_armored), NULL,                      \
         "write the encrypted file as text"},                                                      \
        {"volume-size", CLI_TEXT, offsetof(struct values, member.volume_size), "SIZE",             \
         "make FILE a folder of volumes of this size, such as 4G or 650M"},                        \
    {                                                                                              \
        "unpack", CLI_TEXT, offsetof(struct values, member.unpack), "DIR",                         \
            "write the auditor's folder beside it"                                                 \
    }

/** What a bundle is written into, as the options say: encrypted or not, one file or volumes. */
struct cli_export_cover {
    struct quipu_age_recipient recipients[CLI_TEXTS_MAX];
    struct quipu_age_write_options encryption;
    struct quipu_age_secrets *secrets;
    bool is_encrypted;
    uint64_t volume_bytes;
};

/** Read the options; then ask for the passphrase, where one is asked for. `cover` must stay where
 * it is, and is released in any case. Return 0, or the exit code after they have said what is
 * wrong. */
int cli_export_cover(const struct cli *cli, const struct cli_export_bundle *values,
                     struct cli_export_cover *cover);
int cli_export_cover_ask(const struct cli *cli, const struct cli_export_bundle *values,
                         struct cli_export_cover *cover);
void cli_export_cover_release(struct cli_export_cover *cover);

/** Open the store's key where it is wrapped, as these options say. Returns 0 or the exit code. */
int cli_export_unlock(const struct cli *cli, const struct cli_export_bundle *values);

/** Write the bundle and say what it is. Returns the exit code. */
int cli_export_bundle(const struct cli *cli, const struct cli_export_bundle *values,
                      const struct quipu_filter *filter, const char *path);

/** Two lines, or one: "sha256 <hex>" and the same as words. */
void cli_say_digest(const char *what, struct quipu_slice digest);

/** The same words as the member "spoken". */
void cli_json_spoken(struct cli_json *json, struct quipu_slice digest);

#endif
