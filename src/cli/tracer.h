/*
 * The monitor of `pyunwind run --trace-kills` traces the process that a sidecar is to read, and a process has one
 * tracer only. Include from: cli.
 */
#ifndef PYUNW_CLI_TRACER_H
#define PYUNW_CLI_TRACER_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Where another process of this command traces the parent of this one, ask it to let that go, and wait until it has,
 * for a second at most. False: it is traced still, by whomever.
 */
bool tracer_ask_to_let_go(pid_t parent);

#endif
