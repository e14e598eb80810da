/*
 * Describe code objects: names, position of an instruction, identity.
 * Signal-safe: yes. Include from: core.
 */
#ifndef PYUNW_CORE_CODE_H
#define PYUNW_CORE_CODE_H

#include "target.h"
#include "text.h"

/* The words of a code object that descriptions are made from. */
struct code_fields {
    pyunw_addr filename;
    pyunw_addr name;
    pyunw_addr qualname; /* co_name where the version has none */
    pyunw_addr table;
    int32_t firstlineno;
    uint32_t version; /* co_version, 0 where there is none */
};

/*
 * A short digest of a code object's identity: another one that took over its address mostly has another. Never 0.
 * Walks of threads that run on carry it in pyunw_raw_frame.reserved, until it was compared.
 */
static inline uint16_t code_fingerprint(const struct code_fields *fields)
{
    uint64_t words = fields->filename * 3 ^ fields->name * 5 ^ fields->table * 7 ^ (uint64_t)fields->version << 32 ^
                     (uint32_t)fields->firstlineno;
    words *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint16_t)(words >> 48 | 1u);
}

/* Read them: 0, PYUNW_ERR_FAULT, or PYUNW_ERR_CORRUPT where it is no code object. */
int pyunw_code_read(const struct target *target, const struct memory *memory, pyunw_addr code,
                    struct code_fields *fields);

/* The position of an instruction: 0 or an error; *position is all -1 then. */
int pyunw_code_position(const struct target *target, const struct memory *memory, const struct code_fields *fields,
                        int32_t offset, pyunw_position *position);

/* Tell a memory that takes hints what describing a code object will read; it was read just now. */
void pyunw_code_expect(const struct target *target, const struct memory *memory, pyunw_addr code);

/* Describe into a public frame; raw is kept in it. Errors as pyunw_code_read(). */
int pyunw_code_describe(const struct target *target, const struct memory *memory, const pyunw_raw_frame *raw,
                        pyunw_frame *frame);

#endif
