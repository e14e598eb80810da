/*
 * Compressed core files, as systemd-coredump and people keep them: unpacked into a file without a name, whose pages of
 * zeros take no room. A core is read here and there, which no compressed stream allows.
 * Signal-safe: no.
 */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <lz4frame.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { PAGE = 4096, PIECE = 1 << 17 };

struct stream {
    int in;
    int out;
    int error; /* errno of a read or write that failed; 0: none */
    uint64_t done;
    uint8_t *from;
    uint8_t *to;
};

/* ---- Bytes in and out ---- */

/* 0 at the end, or after an error. */
static size_t fill(struct stream *stream)
{
    ssize_t n = 0;
    do
        n = read(stream->in, stream->from, PIECE);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        stream->error = errno;
    return n > 0 ? (size_t)n : 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static bool put_bytes(struct stream *stream, const uint8_t *bytes, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t n = pwrite(stream->out, bytes, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            stream->error = n < 0 ? errno : ENOSPC;
            return false;
        }
        bytes += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

/* What is zero is not written: the file reads as zeros there. */
static bool put(struct stream *stream, size_t size)
{
    size_t at = 0;
    while (at < size) {
        size_t here = PAGE - (size_t)((stream->done + at) % PAGE);
        if (here > size - at)
            here = size - at;
        if (!is_zero(stream->to + at, here) && !put_bytes(stream, stream->to + at, here, stream->done + at))
            return false;
        at += here;
    }
    stream->done += size;
    return true;
}

/* ---- The formats: true where the stream ended as it should ---- */

static bool unpack_zstd(struct stream *stream)
{
    ZSTD_DStream *state = ZSTD_createDStream();
    size_t left = 1; /* 0: a frame has ended, and another may follow */
    /* A core that was packed with --long=31 looks back 2 GB; by itself the library allows 128 MB. */
    int longest = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound;
    bool good = state != NULL && !ZSTD_isError(ZSTD_DCtx_setParameter(state, ZSTD_d_windowLogMax, longest));
    for (size_t size = 0; good && (size = fill(stream)) > 0;) {
        ZSTD_inBuffer in = {stream->from, size, 0};
        size_t written = PIECE;
        while (good && (in.pos < in.size || written == PIECE)) {
            ZSTD_outBuffer out = {stream->to, PIECE, 0};
            left = ZSTD_decompressStream(state, &out, &in);
            written = out.pos;
            good = put(stream, written) && !ZSTD_isError(left);
            if (left == 0 && in.pos == in.size)
                break;
        }
    }
    (void)ZSTD_freeDStream(state);
    return good && left == 0;
}

static bool unpack_lz4(struct stream *stream)
{
    LZ4F_dctx *state = NULL;
    size_t left = 1;
    bool good = !LZ4F_isError(LZ4F_createDecompressionContext(&state, LZ4F_VERSION));
    for (size_t size = 0; good && (size = fill(stream)) > 0;) {
        size_t at = 0;
        size_t written = PIECE;
        while (good && (at < size || written == PIECE)) {
            size_t taken = size - at;
            written = PIECE;
            left = LZ4F_decompress(state, stream->to, &written, stream->from + at, &taken, NULL);
            at += taken;
            good = put(stream, written) && !LZ4F_isError(left);
            if (left == 0 && at == size)
                break;
        }
    }
    (void)LZ4F_freeDecompressionContext(state);
    return good && left == 0;
}

static bool unpack_gzip(struct stream *stream)
{
    enum { GZIP_WINDOW = 15 + 16 };
    z_stream state = {0};
    int result = inflateInit2(&state, GZIP_WINDOW);
    bool good = result == Z_OK;
    for (size_t size = 0; good && (size = fill(stream)) > 0;) {
        state.next_in = stream->from;
        state.avail_in = (uInt)size;
        state.avail_out = 0;
        while (good && (state.avail_in > 0 || state.avail_out == 0)) {
            /* One file may follow another, as `cat` puts them together. */
            if (result == Z_STREAM_END && (state.avail_in == 0 || inflateReset(&state) != Z_OK))
                break;
            state.next_out = stream->to;
            state.avail_out = PIECE;
            result = inflate(&state, Z_NO_FLUSH);
            good = put(stream, PIECE - state.avail_out) &&
                   (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
        }
    }
    (void)inflateEnd(&state);
    return good && result == Z_STREAM_END;
}

static const struct format {
    const char *name;
    uint8_t magic[4];
    size_t magic_size;
    bool (*unpack)(struct stream *stream);
} formats[] = {
    {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, unpack_zstd},
    {"lz4", {0x04, 0x22, 0x4d, 0x18}, 4, unpack_lz4},
    {"gzip", {0x1f, 0x8b}, 2, unpack_gzip},
};

static const struct format *find_format(const pyunw_core *core)
{
    uint8_t head[4];
    if (!pyunw_core_bytes(core, core->fd, 0, head, sizeof head))
        return NULL;
    for (size_t n = 0; n < sizeof formats / sizeof formats[0]; n++) {
        if (memcmp(head, formats[n].magic, formats[n].magic_size) == 0)
            return &formats[n];
    }
    return NULL;
}

/* ---- The file that is unpacked to ---- */

static const char *temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder != NULL && *folder != '\0' ? folder : "/var/tmp";
}

static int open_temporary(const char *folder)
{
    char path[PATH_MAX];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    /* A file system that has no files without a name. */
    if (snprintf(path, sizeof path, "%s/pyunwind-core-XXXXXX", folder) >= (int)sizeof path)
        return -1;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

static int unpack(pyunw_core *core, const struct format *format, struct stream *stream,
                  const pyunw_core_options *options)
{
    const char *folder = temporary_folder();
    if (lseek(stream->in, 0, SEEK_SET) != 0)
        stream->error = errno;
    else
        core->is_cut = !format->unpack(stream);
    if (stream->error == 0 && ftruncate(stream->out, (off_t)stream->done) != 0)
        stream->error = errno;
    if (stream->error == 0)
        return PYUNW_OK;
    return pyunw_core_refuse(options, PYUNW_ERR_SYSTEM,
                             "%s could not be unpacked (%s) to a file in %s, where %" PRIu64
                             " bytes were done: %s. TMPDIR names a folder with more room",
                             core->path, format->name, folder, stream->done, strerror(stream->error));
}

int pyunw_core_unpack(pyunw_core *core, const pyunw_core_options *options)
{
    const struct format *format = find_format(core);
    if (format == NULL)
        return PYUNW_OK;
    const char *folder = temporary_folder();
    struct stream stream = {.in = core->fd, .out = open_temporary(folder)};
    if (stream.out < 0)
        return pyunw_core_refuse(options, PYUNW_ERR_SYSTEM,
                                 "%s is to be unpacked (%s) to a file in %s, where none can be made: %s. TMPDIR names "
                                 "another folder",
                                 core->path, format->name, folder, strerror(errno));
    stream.from = malloc(PIECE);
    stream.to = malloc(PIECE);
    int err = stream.from != NULL && stream.to != NULL
                  ? unpack(core, format, &stream, options)
                  : pyunw_core_refuse(options, PYUNW_ERR_SYSTEM, "no memory to unpack %s", core->path);
    free(stream.from);
    free(stream.to);
    close(core->fd);
    core->fd = stream.out;
    core->packed = format->name;
    core->size = stream.done;
    return err;
}
