/*
 * Exceptions of the target: what is one.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_EXCEPTION_H
#define PYUNW_CORE_EXCEPTION_H

#include "object.h"

/* Are instances of a type exceptions? 1, 0, or an error: PYUNW_ERR_CORRUPT where they would be, but it is no type. */
int pyunw_exception_is_type(struct object_reader *reader, const struct object_type *type);

#endif
