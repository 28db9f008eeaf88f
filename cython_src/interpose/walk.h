/* walk.h: walks over the loaded objects, as dl_iterate_phdr(), and harmless to children of a fork.
 *
 * dl_iterate_phdr() holds glibc's dl_load_write_lock, which fork() does not reset in the child: a child that is forked
 * meanwhile waits for ever in its first dlopen() or dl_iterate_phdr()
 * (test_children_that_are_forked_during_loads_do_not_hang).
 *
 * Promises: no fork() happens during a walk, and one walk at a time. A walk calls nothing of the program's: signals
 * wait, and the thread is not cancelled. Whoever includes this defines _GNU_SOURCE first. */
#ifndef SW_WALK_H
#define SW_WALK_H

#include <link.h>
#include <signal.h>
#include <stddef.h>

typedef int (*sw_visit)(struct dl_phdr_info *info, size_t size, void *context);

/* What the end of a walk puts back on its thread. */
typedef struct {
    sigset_t signals;
    int cancelling;
} sw_walking;

/* A walk, or several that belong together, stands between the two; they nest. */
sw_walking sw_begin_walk(void);
void sw_end_walk(const sw_walking *before);

void sw_walk(sw_visit visit, void *context);

/* Forks wait for walks from now on. Called once, before the first walk. */
void sw_hold_forks(void);

#endif
