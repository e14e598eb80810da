/*
 * Walk over what containers hold, and over the attributes of instances.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_ITEMS_H
#define PYUNW_CORE_ITEMS_H

#include "object.h"

enum items_kind { ITEMS_ARRAY, ITEMS_ENTRIES, ITEMS_SPLIT, ITEMS_SET };

/* A walk over what a container holds, in its own order. */
struct items {
    pyunw_addr table;  /* the first slot */
    pyunw_addr values; /* ITEMS_SPLIT: the first value */
    pyunw_addr order;  /* ITEMS_SPLIT: the first byte of the order of insertion; 0: as they stand */
    uint64_t entries;  /* ITEMS_SPLIT: of the table and the values, which the order names one by one */
    uint64_t index;
    uint64_t end;
    uint8_t kind;   /* enum items_kind */
    uint8_t stride; /* bytes of a slot */
    uint8_t key;    /* where in a slot the key stands */
    int8_t order_step;
};

/* Begin: 0 or an error. kind: of the object. */
int pyunw_items_begin(struct object_reader *reader, pyunw_addr object, enum object_kind kind, struct items *items);

/*
 * Begin with the attributes of an instance of a class, as its __dict__ has them, whether that was made already or not:
 * 0, also where there are none, or an error.
 */
int pyunw_items_begin_attributes(struct object_reader *reader, pyunw_addr object, const struct object_type *type,
                                 struct items *items);

/*
 * 1 for one more; 0 at the end; an error, also where too many slots were looked at (PYUNW_ERR_CORRUPT). *value is 0
 * where there are only keys: an array's and a set's items.
 */
int pyunw_items_next(struct object_reader *reader, struct items *items, pyunw_addr *key, pyunw_addr *value);

#endif
