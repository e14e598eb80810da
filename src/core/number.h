/*
 * Integers and floats as decimal text, exactly as repr() writes them.
 * Pure: numbers in, text out. Never touches the target.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_NUMBER_H
#define PYUNW_CORE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Non-negative, least significant word first. Room for whatever comes up when a double is turned into decimal digits
 * (below 2^1084), and for integers of 38 digits of CPython's (30 bits each).
 */
enum { BIG_WORDS = 36, BIG_DIGITS = 38, DIGIT_BITS = 30 };
struct big {
    uint32_t count; /* words in use: the last of them is not 0 */
    uint32_t words[BIG_WORDS];
};

/* number = number * factor + summand; what does not fit is lost. */
void pyunw_big_multiply_add(struct big *number, uint32_t factor, uint32_t summand);

/* Decimal text with a NUL; number is used up. The length. */
enum { BIG_TEXT_SIZE = 352 };
size_t pyunw_big_to_text(struct big *number, char text[BIG_TEXT_SIZE]);

/* As float.__repr__(): the shortest text that reads back as the same number. The length. */
enum { FLOAT_TEXT_SIZE = 32 };
size_t pyunw_float_to_text(uint64_t bits, char text[FLOAT_TEXT_SIZE]);

#endif
