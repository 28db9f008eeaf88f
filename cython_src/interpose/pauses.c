/* pauses.c: a ring of pauses for each thread; a pause is known by its thread state and where on the stack it began. */
#include "pauses.h"

#include <stdatomic.h>
#include <stddef.h>

#define PAUSES_KEPT 16 /* on one thread; a coroutine that ends inside its pause leaves it behind */

/* Bytes: both ends of a pause are called by one function, or by two short ones of an object in its frame. */
#define PAUSE_REACH ((uintptr_t)4096)

typedef struct {
    const void *ts; /* NULL: free */
    uintptr_t sp;
    sw_pause said;
} noted_pause;

typedef struct {
    noted_pause kept[PAUSES_KEPT];
    unsigned next;
} pauses;

static __thread pauses pauses_of_thread;
static atomic_int any_pause; /* 0: no pause was ever noted in the process, and none need be looked for */

/* Not inlined: a stack may be resumed on another thread, where an address from before would be the wrong one. */
static __attribute__((noinline)) pauses *these_pauses(void)
{
    return &pauses_of_thread;
}

static int is_here(const noted_pause *noted, const void *ts, uintptr_t sp)
{
    return noted->ts == ts && noted->sp - sp + PAUSE_REACH < 2 * PAUSE_REACH;
}

void sw_note_pause(const void *ts, uintptr_t sp, const sw_pause *pause)
{
    pauses *own = these_pauses();
    own->kept[own->next] = (noted_pause){ts, sp, *pause};
    own->next = (own->next + 1) % PAUSES_KEPT;
    atomic_store_explicit(&any_pause, 1, memory_order_relaxed);
}

int sw_end_pause(const void *ts, uintptr_t sp, sw_pause *pause)
{
    if (__builtin_expect(!atomic_load_explicit(&any_pause, memory_order_relaxed), 1) || ts == NULL) {
        return 0;
    }
    pauses *own = these_pauses();
    int found = 0;
    for (unsigned i = 0; i < PAUSES_KEPT; i++) {
        noted_pause *noted = &own->kept[(own->next + i) % PAUSES_KEPT]; /* the latest one's answer is the last */
        if (is_here(noted, ts, sp)) {
            *pause = noted->said;
            noted->ts = NULL;
            found = 1;
        }
    }
    return found;
}
