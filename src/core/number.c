/*
 * Integers and floats as decimal text: long arithmetic in a bounded space.
 * Signal-safe: yes.
 */
#include "number.h"

#include <stdbool.h>
#include <string.h>

/* ---- Long arithmetic ---- */

static void trim(struct big *number)
{
    while (number->count > 0 && number->words[number->count - 1] == 0)
        number->count--;
}

void pyunw_big_multiply_add(struct big *number, uint32_t factor, uint32_t summand)
{
    uint64_t carry = summand;
    for (uint32_t n = 0; n < number->count; n++) {
        carry += (uint64_t)number->words[n] * factor;
        number->words[n] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0 && number->count < BIG_WORDS)
        number->words[number->count++] = (uint32_t)carry;
}

/* The remainder. */
static uint32_t divide(struct big *number, uint32_t divisor)
{
    uint64_t rest = 0;
    for (uint32_t n = number->count; n-- > 0;) {
        rest = rest << 32 | number->words[n];
        number->words[n] = (uint32_t)(rest / divisor);
        rest %= divisor;
    }
    trim(number);
    return (uint32_t)rest;
}

static void set(struct big *number, uint64_t value, uint32_t shift)
{
    number->count = 0;
    for (uint32_t n = 0; n < shift / 32 && n < BIG_WORDS; n++)
        number->words[number->count++] = 0;
    uint64_t low = (value & UINT32_MAX) << shift % 32;
    uint64_t high = (value >> 32) << shift % 32;
    high += low >> 32;
    const uint32_t words[] = {(uint32_t)low, (uint32_t)high, (uint32_t)(high >> 32)};
    for (size_t n = 0; n < sizeof words / sizeof words[0] && number->count < BIG_WORDS; n++)
        number->words[number->count++] = words[n];
    trim(number);
}

/* Less than, equal to or greater than 0, as a is than b. */
static int compare(const struct big *a, const struct big *b)
{
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (uint32_t n = a->count; n-- > 0;) {
        if (a->words[n] != b->words[n])
            return a->words[n] < b->words[n] ? -1 : 1;
    }
    return 0;
}

static void add(struct big *to, const struct big *summand)
{
    uint64_t carry = 0;
    uint32_t count = to->count > summand->count ? to->count : summand->count;
    for (uint32_t n = 0; n < count; n++) {
        carry += n < to->count ? to->words[n] : 0;
        carry += n < summand->count ? summand->words[n] : 0;
        to->words[n] = (uint32_t)carry;
        carry >>= 32;
    }
    to->count = count;
    if (carry != 0 && count < BIG_WORDS)
        to->words[to->count++] = (uint32_t)carry;
}

/* from is at least as large. */
static void subtract(struct big *from, const struct big *number)
{
    uint64_t borrow = 0;
    for (uint32_t n = 0; n < from->count; n++) {
        uint64_t taken = (n < number->count ? number->words[n] : 0) + borrow;
        borrow = from->words[n] < taken ? 1 : 0;
        from->words[n] = (uint32_t)(from->words[n] - taken);
    }
    trim(from);
}

static void multiply_by_power_of_ten(struct big *number, uint32_t power)
{
    for (; power >= 9; power -= 9)
        pyunw_big_multiply_add(number, 1000000000, 0);
    for (; power > 0; power--)
        pyunw_big_multiply_add(number, 10, 0);
}

/* ---- Integers ---- */

size_t pyunw_big_to_text(struct big *number, char text[BIG_TEXT_SIZE])
{
    size_t first = BIG_TEXT_SIZE - 1;
    text[first] = '\0';
    do {
        uint32_t nine = divide(number, 1000000000);
        for (int n = 0; n < 9 && first > 0 && (number->count > 0 || nine > 0 || first == BIG_TEXT_SIZE - 1); n++) {
            text[--first] = (char)('0' + nine % 10);
            nine /= 10;
        }
    } while (number->count > 0 && first > 0);
    size_t length = BIG_TEXT_SIZE - 1 - first;
    for (size_t n = 0; n <= length; n++)
        text[n] = text[first + n];
    return length;
}

/* ---- Floats ---- */

enum { FRACTION_BITS = 52, EXPONENT_BIAS = 1075, DIGITS_MAX = 17 };

/*
 * Steele and White's algorithm with the numbers of "How to Print Floating-Point Numbers Accurately": the value is
 * rest / scale, and whatever is nearer to it than below (downwards) or above (upwards) reads back as the same double.
 */
struct fraction {
    struct big rest;
    struct big scale;
    struct big below;
    struct big sum;   /* for a moment */
    bool twice_above; /* above is twice below: of a power of two */
    bool inclusive;   /* a boundary itself reads back as this double, whose last bit is 0 */
};

static void begin(struct fraction *fraction, uint64_t mantissa, int32_t exponent, bool twice_above)
{
    uint32_t extra = twice_above ? 2 : 1;
    uint32_t up = exponent > 0 ? (uint32_t)exponent : 0;
    uint32_t down = exponent < 0 ? (uint32_t)-exponent : 0;
    set(&fraction->rest, mantissa, up + extra);
    set(&fraction->scale, 1, down + extra);
    set(&fraction->below, 1, up);
    fraction->twice_above = twice_above;
    fraction->inclusive = (mantissa & 1) == 0;
}

/* Is rest + above beyond scale, so that the digit is to be one higher? */
static bool reaches_up(struct fraction *fraction)
{
    fraction->sum = fraction->rest;
    add(&fraction->sum, &fraction->below);
    if (fraction->twice_above)
        add(&fraction->sum, &fraction->below);
    int order = compare(&fraction->sum, &fraction->scale);
    return order > 0 || (order == 0 && fraction->inclusive);
}

static bool reaches_down(const struct fraction *fraction)
{
    int order = compare(&fraction->rest, &fraction->below);
    return order < 0 || (order == 0 && fraction->inclusive);
}

/* Of the last digit: is the rest nearer to the next one? Half-way goes to the even digit. */
static bool rounds_up(struct fraction *fraction, uint32_t digit)
{
    fraction->sum = fraction->rest;
    add(&fraction->sum, &fraction->rest);
    int order = compare(&fraction->sum, &fraction->scale);
    return order > 0 || (order == 0 && (digit & 1) != 0);
}

static void next_place(struct fraction *fraction)
{
    pyunw_big_multiply_add(&fraction->rest, 10, 0);
    pyunw_big_multiply_add(&fraction->below, 10, 0);
}

/* Bring the value below 1: the count of digits before its point, or minus that of zeros behind it. */
static int32_t scale_value(struct fraction *fraction, uint64_t mantissa, int32_t exponent)
{
    static const int64_t log10_of_2 = INT64_C(1292913986); /* times 2^32 */
    int32_t bits = exponent;
    for (; mantissa > 1; mantissa >>= 1)
        bits++;
    /* At most the power wanted, and at least one less. */
    int64_t scaled = bits * log10_of_2;
    int32_t power = (int32_t)(scaled >> 32) + ((scaled & UINT32_MAX) != 0 ? 1 : 0);
    if (power > 0) {
        multiply_by_power_of_ten(&fraction->scale, (uint32_t)power);
    } else {
        multiply_by_power_of_ten(&fraction->rest, (uint32_t)-power);
        multiply_by_power_of_ten(&fraction->below, (uint32_t)-power);
    }
    if (reaches_up(fraction))
        return power + 1;
    next_place(fraction);
    return power;
}

static uint32_t next_digit(struct fraction *fraction)
{
    uint32_t digit = 0;
    while (digit < 9 && compare(&fraction->rest, &fraction->scale) >= 0) {
        subtract(&fraction->rest, &fraction->scale);
        digit++;
    }
    return digit;
}

/* The shortest digits. After scale_value(), where one place was reached up, the first digit is still to come. */
static size_t find_digits(struct fraction *fraction, char digits[DIGITS_MAX])
{
    size_t count = 0;
    for (;;) {
        uint32_t digit = next_digit(fraction);
        bool down = reaches_down(fraction);
        bool up = reaches_up(fraction);
        bool last = down || up || count == DIGITS_MAX - 1;
        if (last && (!down || up) && (up && !down ? true : rounds_up(fraction, digit)))
            digit++;
        digits[count++] = (char)('0' + digit);
        if (last)
            return count;
        next_place(fraction);
    }
}

static size_t put_zeros(char *text, int32_t count)
{
    size_t length = 0;
    for (; count > 0; count--)
        text[length++] = '0';
    return length;
}

/* The value is 0.digits times ten to the power of point. */
static size_t format_fixed(char *text, const char *digits, size_t count, int32_t point)
{
    size_t length = 0;
    if (point <= 0) {
        text[length++] = '0';
        text[length++] = '.';
        length += put_zeros(text + length, -point);
        memcpy(text + length, digits, count);
        return length + count;
    }
    size_t before = (size_t)point < count ? (size_t)point : count;
    memcpy(text, digits, before);
    length = before + put_zeros(text + before, point - (int32_t)before);
    text[length++] = '.';
    if (before == count)
        text[length++] = '0';
    memcpy(text + length, digits + before, count - before);
    return length + count - before;
}

static size_t format_exponent(char *text, const char *digits, size_t count, int32_t exponent)
{
    size_t length = 0;
    text[length++] = digits[0];
    if (count > 1) {
        text[length++] = '.';
        memcpy(text + length, digits + 1, count - 1);
        length += count - 1;
    }
    text[length++] = 'e';
    text[length++] = exponent < 0 ? '-' : '+';
    uint32_t value = exponent < 0 ? (uint32_t)-exponent : (uint32_t)exponent;
    if (value >= 100)
        text[length++] = (char)('0' + value / 100);
    text[length++] = (char)('0' + value / 10 % 10);
    text[length++] = (char)('0' + value % 10);
    return length;
}

static size_t copy(char *text, const char *word, size_t size)
{
    memcpy(text, word, size);
    return size;
}

size_t pyunw_float_to_text(uint64_t bits, char text[FLOAT_TEXT_SIZE])
{
    struct fraction fraction;
    char digits[DIGITS_MAX];
    uint64_t mantissa = bits & ((UINT64_C(1) << FRACTION_BITS) - 1);
    int32_t exponent = (int32_t)(bits >> FRACTION_BITS & 0x7ff);
    bool negative = bits >> 63 != 0;
    size_t length = 0;
    if (negative && (exponent != 0x7ff || mantissa == 0))
        text[length++] = '-';
    if (exponent == 0x7ff) {
        length += copy(text + length, mantissa != 0 ? "nan" : "inf", 3);
    } else if (exponent == 0 && mantissa == 0) {
        length += copy(text + length, "0.0", 3);
    } else {
        bool twice_above = mantissa == 0 && exponent > 1;
        mantissa |= exponent != 0 ? UINT64_C(1) << FRACTION_BITS : 0;
        exponent = (exponent != 0 ? exponent : 1) - EXPONENT_BIAS;
        begin(&fraction, mantissa, exponent, twice_above);
        int32_t point = scale_value(&fraction, mantissa, exponent);
        size_t count = find_digits(&fraction, digits);
        if (point > -4 && point <= 16)
            length += format_fixed(text + length, digits, count, point);
        else
            length += format_exponent(text + length, digits, count, point - 1);
    }
    text[length] = '\0';
    return length;
}
