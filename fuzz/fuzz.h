/*
 * What every fuzz target is made of: one function that takes any bytes, and what it requires of the code that it calls.
 * Include from: fuzz.
 */
#ifndef PYUNW_FUZZ_FUZZ_H
#define PYUNW_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target. libFuzzer, AFL++ and replay.c call it; it returns 0, or ends the process where something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libFuzzer's own mutation, there where libFuzzer is linked. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* Say what does not hold, and abort: to the fuzzer that is a crash, and the input is kept. */
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

#define REQUIRE(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

/* The bytes of an input that are not used yet. */
struct input {
    const uint8_t *at;
    size_t left;
};

/* The next bytes as a number, least significant first; 0 in the place of what is missing. */
uint64_t take_number(struct input *input, size_t size);

/* Strict UTF-8 (RFC 3629). */
bool is_utf8(const char *text, size_t size);

/* A text in a buffer: as long as is said, ended by a NUL behind it, UTF-8. */
void require_text(const char *buffer, size_t room, size_t length);

/* The input as a file without a name: its descriptor, which the target closes. */
int file_of(const void *bytes, size_t size);

/* A file of size bytes that cannot grow, for what is written: one for the whole process, empty again with each call. */
int output_begin(size_t size);

/* What was written to it: the bytes, good until output_begin(), and their count. */
const char *output_bytes(size_t *size);

#endif
