/*
 * Find the interpreter of the own process: through the dynamic linker's symbols, else through the sections of the
 * loaded files, else by the cookie that 3.13 and later keep in their data.
 * Signal-safe: no. Include from: target.
 */
#ifndef PYUNW_TARGET_FIND_SELF_H
#define PYUNW_TARGET_FIND_SELF_H

#include "interpreter_marks.h"

/* 0, or PYUNW_ERR_NO_PYTHON. runtime: address that the caller says _PyRuntime has, or 0. */
int pyunw_find_self(pyunw_addr runtime, struct found_interpreter *found);

#endif
