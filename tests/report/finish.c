/*
 * finish FOLDER NAME: call report_finish(), and say what it returned and errno.
 */
#include "finish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return 2;
    errno = 0;
    bool finished = report_finish(folder, argv[2]);
    (void)printf("%d %s\n", finished, finished ? "" : strerrorname_np(errno));
    (void)close(folder);
    return 0;
}
