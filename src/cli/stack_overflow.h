/*
 * Is a fault the overflow of a stack?
 * Include from: cli.
 */
#ifndef PYUNW_CLI_STACK_OVERFLOW_H
#define PYUNW_CLI_STACK_OVERFLOW_H

#include <jansson.h>
#include <stdbool.h>

struct stack_overflow {
    char pointer[24]; /* where the stack pointer was */
    char begin[24];   /* the lowest address of the stack */
    unsigned long long size;
};

/* maps: /proc/PID/maps, or NULL. */
bool stack_overflow_find(const json_t *document, const char *maps, struct stack_overflow *overflow);

#endif
