/*
 * quipu-cidcheck: reading a whole CAR, from "hex" or from "file", and telling what is in it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cidcheck.h"
#include "quipu/car.h"

static json_t *roots_json(const struct quipu_car_reader *reader)
{
    json_t *roots = json_array();
    for (size_t i = 0; i < quipu_car_root_count(reader); i++) {
        (void)json_array_append_new(roots, cidcheck_cid_json(quipu_car_root(reader, i)));
    }
    return roots;
}

static enum quipu_status read_blocks(struct quipu_car_reader *reader,
                                     struct cidcheck_verdict *verdict, json_t *cids)
{
    json_int_t verified = 0;
    for (;;) {
        struct quipu_car_block block;
        enum quipu_status status = quipu_car_next(reader, &block, &verdict->err);
        if (status == QUIPU_DONE) {
            break;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        verified += block.is_verified;
        (void)json_array_append_new(cids, cidcheck_cid_json(&block.cid));
    }
    (void)json_object_set_new(verdict->json, "verified", json_integer(verified));
    (void)json_object_set_new(verdict->json, "missing",
                              json_integer((json_int_t)quipu_car_roots_missing(reader)));
    return QUIPU_OK;
}

static void read_car(struct quipu_source source, struct cidcheck_verdict *verdict)
{
    struct quipu_car_reader *reader = NULL;
    verdict->status = quipu_car_reader_open(source, NULL, &reader, &verdict->err);
    if (verdict->status != QUIPU_OK) {
        return;
    }
    json_t *cids = json_array();
    (void)json_object_set_new(verdict->json, "roots", roots_json(reader));
    verdict->status = read_blocks(reader, verdict, cids);
    (void)json_object_set_new(verdict->json, "ncids",
                              json_integer((json_int_t)json_array_size(cids)));
    (void)json_object_set_new(verdict->json, "cids", cids);
    quipu_car_reader_close(&reader);
}

static int open_below(const char *dir, const char *between, const char *file)
{
    struct quipu_buf path = QUIPU_BUF_INIT;
    quipu_buf_printf(&path, "%s/%s%s", dir, between, file);
    quipu_buf_append_byte(&path, 0);
    int fd = -1;
    errno = ENOMEM;
    if (path.status == QUIPU_OK) {
        fd = open((const char *)path.data, O_RDONLY | O_CLOEXEC);
    }
    int number = errno;
    quipu_buf_release(&path);
    errno = number;
    return fd;
}

/* An absolute name as it is, any other below `dir`; a bare one also where the vectors keep their
 * CARs. -1 with errno. */
static int open_file(const char *dir, const char *file)
{
    if (file[0] == '/') {
        return open(file, O_RDONLY | O_CLOEXEC);
    }
    int fd = open_below(dir, "", file);
    if (fd < 0 && errno == ENOENT && strchr(file, '/') == NULL) {
        fd = open_below(dir, "car/", file);
    }
    return fd;
}

void cidcheck_car(const struct cidcheck_input *input, struct cidcheck_verdict *verdict)
{
    if (input->has_bytes) {
        struct quipu_slice rest = input->bytes;
        read_car(quipu_source_slice(&rest), verdict);
        return;
    }
    const char *file = json_string_value(json_object_get(input->line, "file"));
    if (file == NULL) {
        cidcheck_unusable(verdict, "car needs \"hex\" or \"file\"");
        return;
    }
    int fd = open_file(input->files_dir, file);
    if (fd < 0) {
        verdict->is_usable = false;
        (void)quipu_error_errno(&verdict->err, errno, "open %s", file);
    } else {
        read_car(quipu_source_fd(&fd), verdict);
        (void)close(fd);
    }
}
