/*
 * A lock for what one thread does at a time in a function that others may call at once. It is held by a process: a
 * child of fork(), where the thread that held it is not, takes it anew. Signal-safe: no. Include from: target,
 * faulthandler.
 */
#ifndef PYUNW_TARGET_PROCESS_LOCK_H
#define PYUNW_TARGET_PROCESS_LOCK_H

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

/* The process id of its holder; 0: it is free. */
typedef atomic_int process_lock;

static inline void process_lock_take(process_lock *lock)
{
    int own = getpid();
    for (;;) {
        int holder = 0;
        if (atomic_compare_exchange_strong(lock, &holder, own))
            return;
        if (holder != own && atomic_compare_exchange_strong(lock, &holder, own))
            return;
        sched_yield();
    }
}

static inline void process_lock_give_back(process_lock *lock)
{
    atomic_store(lock, 0);
}

#endif
