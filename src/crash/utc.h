/*
 * Seconds since 1970 as a date, where gmtime(3) may not be called.
 * Signal-safe: yes. Include from: crash.
 */
#ifndef PYUNW_CRASH_UTC_H
#define PYUNW_CRASH_UTC_H

#include <stdint.h>

struct utc {
    int64_t year;
    int month, day, hour, minute, second;
};

/* Years begin in March here, so that the day that some have more is their last one. seconds: 0 or more. */
static inline struct utc utc_of(int64_t seconds)
{
    int64_t days = seconds / 86400 + 719468; /* since 0000-03-01 */
    int second_of_day = (int)(seconds % 86400);
    int64_t era = days / 146097; /* of 400 years */
    int64_t day_of_era = days % 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    return (struct utc){
        .year = year_of_era + era * 400 + (month <= 2),
        .month = month,
        .day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        .hour = second_of_day / 3600,
        .minute = second_of_day / 60 % 60,
        .second = second_of_day % 60,
    };
}

#endif
