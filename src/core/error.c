/*
 * Words for errors and ends. No default in the switches: the compiler asks for a new value's words.
 * Signal-safe: yes.
 */
#include "pyunwind.h"

const char *pyunw_strerror(int error)
{
    if (error >= 0)
        return "success";
    switch ((enum pyunw_err)error) {
    case PYUNW_OK:
        return "success";
    case PYUNW_ERR_ARGUMENT:
        return "invalid argument";
    case PYUNW_ERR_NOT_OPEN:
        return "target or cursor is not open";
    case PYUNW_ERR_NO_PYTHON:
        return "no CPython interpreter in this process";
    case PYUNW_ERR_UNSUPPORTED:
        return "unsupported CPython version or build";
    case PYUNW_ERR_LAYOUT:
        return "the interpreter's structures do not lie where this version keeps them";
    case PYUNW_ERR_NOT_INITIALIZED:
        return "the interpreter is not initialized";
    case PYUNW_ERR_FINALIZED:
        return "the interpreter is finalized";
    case PYUNW_ERR_NO_THREAD:
        return "no such Python thread state";
    case PYUNW_ERR_FAULT:
        return "memory cannot be read";
    case PYUNW_ERR_CORRUPT:
        return "memory does not hold what CPython writes there";
    case PYUNW_ERR_TORN:
        return "the target kept changing while it was read";
    case PYUNW_ERR_PERMISSION:
        return "permission denied by the system";
    case PYUNW_ERR_SYSTEM:
        return "a system call failed";
    case PYUNW_ERR_WRITE:
        return "the output could not be written";
    case PYUNW_ERR_NO_PROCESS:
        return "no such process";
    }
    return "unknown error";
}

const char *pyunw_end_name(int end)
{
    switch ((enum pyunw_end)end) {
    case PYUNW_COMPLETE:
        return "complete";
    case PYUNW_TRUNCATED:
        return "truncated";
    case PYUNW_TORN:
        return "torn";
    case PYUNW_CORRUPT:
        return "corrupt";
    case PYUNW_NO_FRAME:
        return "no frame";
    }
    return "unknown";
}
