/*
 * Find the interpreter of the own process: through the dynamic linker's symbols, else through the sections of the
 * loaded files, else by the cookie that 3.13 and later keep in their data.
 * Signal-safe: no. Include from: target.
 */
#ifndef PYUNW_TARGET_FIND_SELF_H
#define PYUNW_TARGET_FIND_SELF_H

#include "pyunwind.h"

#include <stdbool.h>

struct found_interpreter {
    pyunw_addr runtime;    /* _PyRuntime */
    uint64_t runtime_size; /* bytes; 0: unknown */
    pyunw_addr code_type;  /* PyCode_Type; 0: unknown */
    pyunw_addr text_type;  /* PyUnicode_Type; 0: unknown */
    uint32_t version;      /* PY_VERSION_HEX; 0: unknown */
    bool has_version_only; /* an interpreter too old to have _PyRuntime: only version is set */
};

/* 0, or PYUNW_ERR_NO_PYTHON. runtime: address that the caller says _PyRuntime has, or 0. */
int pyunw_find_self(pyunw_addr runtime, struct found_interpreter *found);

#endif
