/*
 * Exceptions of the target: what is one.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_EXCEPTION_H
#define PYUNW_CORE_EXCEPTION_H

#include "object.h"

/* Are its instances exceptions? Py_TPFLAGS_BASE_EXC_SUBCLASS, Include/object.h: the same in every version. */
static inline bool is_exception_type(const struct object_type *type)
{
    return (type->flags >> 30 & 1u) != 0;
}

#endif
