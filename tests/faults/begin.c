/*
 * For a program that `fail ... mark` has started: from here on its calls, of all of its threads, may fail.
 *
 *     fail_begin()  ...  fail_end()
 *
 * Started otherwise, both do nothing.
 */
#include "filter.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

void fail_begin(void);
void fail_end(void);

void fail_begin(void)
{
    const char *path = getenv("FAIL_PAGE");
    if (path == NULL)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct handover *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        abort();
    hand_over(page, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
    int listener = page->listener - 1;
    if (listener < 0)
        abort();
    while (!page->taken)
        continue;
    close(listener); /* the first call that is held: who answers has another */
    munmap(page, sizeof *page);
    (void)prctl(MARK, 1, 0, 0, 0);
}

void fail_end(void)
{
    (void)prctl(MARK, 0, 0, 0, 0);
}
