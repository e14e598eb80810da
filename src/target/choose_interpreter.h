/*
 * Which of the interpreters that were found is opened, and what is said where none can be.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_CHOOSE_INTERPRETER_H
#define PYUNW_TARGET_CHOOSE_INTERPRETER_H

#include "process_find.h"

/* Whose memory is read, and how. */
struct subject {
    pid_t pid;
    pyunw_read_function read;
    void *context;
    int may_change;             /* it runs on meanwhile */
    pyunw_renew_function renew; /* of a reader that keeps bytes, else NULL; and expect */
    pyunw_expect_function expect;
    int (*look_ahead)(void *context, bool begin); /* see struct source */
};

/*
 * Open the first that is alive, else the first. 0; PYUNW_ERR_NOT_INITIALIZED and PYUNW_ERR_FINALIZED: open all the
 * same; else: not open, and options->message says why.
 */
int pyunw_choose_interpreter(pyunw_target *target, const struct subject *subject, const struct process_found *found,
                             const pyunw_options *options);

/* PYUNW_ERR_UNSUPPORTED, explained. version: PY_VERSION_HEX, or 0 where it is not known. */
int pyunw_refuse_version(const pyunw_options *options, pid_t pid, uint32_t version);

/* What a process is that has no interpreter to be opened. program: its executable, or its name. */
int pyunw_refuse_program(const pyunw_options *options, pid_t pid, const char *program,
                         const struct process_found *found);

#endif
