/*
 * Run a command and say what it took: microseconds of wall time, kilobytes of peak memory, exit status.
 *
 *     launch REPORT COMMAND [ARGUMENT]...
 *
 * A program of its own, since a child's peak memory begins with that of the process which forked it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double microseconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
    struct rusage used;
    int status = 0;
    if (argc < 3)
        return 2;
    double begin = microseconds();
    pid_t child = vfork();
    if (child == 0) {
        (void)execv(argv[2], argv + 2);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child)
        return 1;
    double end = microseconds();
    FILE *report = fopen(argv[1], "w");
    if (report == NULL)
        return 1;
    (void)fprintf(report, "%.0f %ld %d\n", end - begin, used.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 255);
    return fclose(report) == 0 ? 0 : 1;
}
