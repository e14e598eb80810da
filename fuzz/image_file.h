/*
 * An interpreter's memory as a file: what the fuzz targets that read one take as their input, and what snapshot.c
 * writes of a real process. Pages lie next to each other from IMAGE_BASE on, in the order in which they were met, and
 * the pointers in them are moved along; so a file is small, and the same bytes can be mapped at their own addresses.
 *
 *   0  minor (1)         of the version, 8 to 15
 *   1  flags (1)         enum image_flags
 *   2  choice (2)        what else a target chooses by
 *   4  version (4)       PY_VERSION_HEX
 *   8  runtime (4)       places in the image, as all that follow: bytes from IMAGE_BASE; 0: none
 *  12  code type (4)     PyCode_Type
 *  16  text type (4)     PyUnicode_Type
 *  20  object (4)        of any kind; a target asks for it as a thread state, as a value and as a namespace
 *  24  refuse (4)        number of the first read that is refused, from 1; 0: none is
 *  28  refuse count (2)  reads that are refused from there on, less 1
 *  30  pieces (2)
 *  32  place, size (4, 4) of each piece; ascending, without overlaps: others are left out
 *      the bytes of all pieces; what is missing at the end is 0
 *
 * Include from: fuzz.
 */
#ifndef PYUNW_FUZZ_IMAGE_FILE_H
#define PYUNW_FUZZ_IMAGE_FILE_H

#include "pyunwind.h"

#include <stdbool.h>

/* Nothing is mapped here of itself, under a sanitizer neither. */
#define IMAGE_BASE UINT64_C(0x200000000000)

enum { IMAGE_HEAD = 32, IMAGE_PIECES_MAX = 4096, IMAGE_BYTES_MAX = 1 << 22 };

enum image_flags {
    IMAGE_FREE_THREADED = 1,
    IMAGE_MAY_CHANGE = 2,     /* reported as the memory of a program that runs */
    IMAGE_CHANGES = 4,        /* every now and then another word stands there */
    IMAGE_ENDLESS = 8,        /* behind each piece words are made up: 0, small numbers, and places in the image */
    IMAGE_IN_SEGMENTS = 16,   /* read from segments, without a reader */
    IMAGE_READS_VERSION = 32, /* version 0: the image itself tells (3.13+) */
    IMAGE_TAKES_HINTS = 64,   /* its reader is told what will be read */
};

struct image_file {
    uint8_t minor;
    uint8_t flags;
    uint16_t choice;
    pyunw_addr object; /* 0: none */
    pyunw_image image; /* to be opened; its context is this structure */
    size_t piece_count;
    pyunw_segment *pieces;
    uint64_t size; /* bytes in all pieces */
    uint64_t reads;
    uint64_t refuse_first;
    uint64_t refuse_last;
    uint8_t *bytes; /* of all pieces */
};

/* False where the input is too short, or holds too much; nothing is to be freed then. */
bool image_file_decode(struct image_file *file, const uint8_t *data, size_t size);

void image_file_free(struct image_file *file);

/* Does a read tell the same whenever it is asked for? */
static inline bool image_file_is_steady(const struct image_file *file)
{
    return (file->flags & (IMAGE_MAY_CHANGE | IMAGE_CHANGES)) == 0 && file->refuse_last == 0;
}

/* Bytes that an image file takes whose pieces hold size bytes. */
static inline size_t image_file_size(size_t piece_count, size_t size)
{
    return IMAGE_HEAD + 8 * piece_count + size;
}

#endif
