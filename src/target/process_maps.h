/*
 * What a process has mapped, as /proc/PID/maps tells.
 * Signal-safe: no. Include from: target (the half for other processes).
 */
#ifndef PYUNW_TARGET_PROCESS_MAPS_H
#define PYUNW_TARGET_PROCESS_MAPS_H

#include "pyunwind.h"

#include <stdbool.h>
#include <sys/types.h>

struct mapping {
    pyunw_addr begin;
    pyunw_addr end;
    uint64_t offset; /* in the file */
    uint64_t inode;  /* 0: no file */
    dev_t device;
    bool readable;
    bool writable;
    bool shared;  /* what is written to it is in the file; of a core file not known, and false */
    bool deleted; /* the file has no name any more */
    char *path;   /* as the kernel says it, without its " (deleted)"; "" where there is none */
};

struct process_maps {
    pid_t pid;
    struct mapping *mappings; /* ascending */
    size_t count;
};

/* 0; PYUNW_ERR_NO_PROCESS; PYUNW_ERR_PERMISSION; PYUNW_ERR_SYSTEM. Nothing is to be freed after an error. */
int pyunw_process_maps_read(pid_t pid, struct process_maps *maps);

void pyunw_process_maps_free(struct process_maps *maps);

/* The mapping that holds address, or NULL. */
const struct mapping *pyunw_process_maps_find(const struct process_maps *maps, pyunw_addr address);

#endif
