/*
 * Write a line to standard error.
 */
#include "complain.h"

#include "page.h"

#include <stdio.h>
#include <string.h>

void complain_as(const char *title, const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: ", title);
    page_bytes(stderr, what, strlen(what));
    (void)fputs(*what != '\0' ? ": " : "", stderr);
    page_bytes(stderr, why, strlen(why));
    (void)fputc('\n', stderr);
}
