/* fallback.c: the hooks without a core, by the public functions of CPython alone.
 *
 * Promises: a thread that enters Python on a foreign stack gets bounds around its stack pointer, an estimate; on its
 * native stack it gets that one's again. No stack records, no execution state. Does nothing in a process without Python
 * or whose CPython lacks PyUnstable_ThreadState_SetStackProtection: before 3.14.1 (python/cpython gh-139653). */
#define _GNU_SOURCE
#include "fallback.h"

#include "../bounds/bounds.h"
#include "objects.h"

#include <stddef.h>

#define ASSUMED_SIZE ((uintptr_t)256 << 10) /* bytes; half of it in use */
#define PAGE ((uintptr_t)4096)

static void *(*attached)(void); /* PyThreadState_GetUnchecked: 3.13 */
static uint64_t (*id_of)(void *ts);
static int (*set_bounds)(void *ts, void *base, size_t size);
static void (*reset_bounds)(void *ts);

/* The bounds that this thread applied last, to the thread state with that id; no other has bounds from here. */
typedef struct {
    uint64_t ts_id;
    uintptr_t base; /* of the estimate; 0: the native stack's bounds */
    uintptr_t native_base, native_top; /* top 0: not asked for yet */
} applied;

static __thread applied applied_of_thread;

/* Not inlined: a stack may be resumed on another thread, where an address from before would be the wrong one. */
static __attribute__((noinline)) applied *this_applied(void)
{
    return &applied_of_thread;
}

void sw_find_python(void)
{
    attached = (void *(*)(void))sw_find_definition("PyThreadState_GetUnchecked");
    id_of = (uint64_t (*)(void *))sw_find_definition("PyThreadState_GetID");
    reset_bounds = (void (*)(void *))sw_find_definition("PyUnstable_ThreadState_ResetStackProtection");
    set_bounds = (int (*)(void *, void *, size_t))sw_find_definition("PyUnstable_ThreadState_SetStackProtection");
}

int sw_has_python(void)
{
    return id_of != NULL;
}

static int is_native(applied *own, uintptr_t sp)
{
    if (own->native_top == 0 && sw_native_bounds(&own->native_base, &own->native_top) != 0) {
        own->native_top = 1; /* unknown: every stack is foreign */
    }
    return sp >= own->native_base && sp < own->native_top;
}

static void apply(applied *own, void *ts, uintptr_t base)
{
    own->ts_id = id_of(ts);
    own->base = base;
    if (base == 0) {
        reset_bounds(ts);
    }
    else {
        /* Refuses less than 48 KiB, under TSan 192 (CPython's _PyOS_MIN_STACK_SIZE). */
        set_bounds(ts, (void *)base, ASSUMED_SIZE);
    }
}

/* The attached thread state, if its bounds can be set. */
static void *thread_state(void)
{
    return set_bounds != NULL && reset_bounds != NULL && id_of != NULL && attached != NULL ? attached() : NULL;
}

static uintptr_t effective_base(const applied *own, void *ts)
{
    return own->ts_id == id_of(ts) ? own->base : 0;
}

static int is_effective(applied *own, uintptr_t base, uintptr_t sp)
{
    return base != 0 ? sp - base < ASSUMED_SIZE && sp - base >= ASSUMED_SIZE / 4 : is_native(own, sp);
}

/* What apply() has for the stack that holds an address. */
static uintptr_t base_for(applied *own, uintptr_t address)
{
    return is_native(own, address) ? 0 : (address & ~(PAGE - 1)) - ASSUMED_SIZE / 2;
}

static uintptr_t address_on(const applied *own, uintptr_t base)
{
    return base != 0 ? base + ASSUMED_SIZE / 2 : own->native_base;
}

/* Apply the bounds of the stack that holds `sp`. */
static sw_entry cover(uintptr_t sp, uintptr_t *former)
{
    void *ts = thread_state();
    if (ts == NULL) {
        return SW_RIGHT;
    }
    applied *own = this_applied();
    uintptr_t base = effective_base(own, ts);
    if (is_effective(own, base, sp)) {
        return SW_RIGHT;
    }
    *former = address_on(own, base);
    apply(own, ts, base_for(own, sp));
    return SW_CHANGED;
}

/* ---- the hooks ---- */

static sw_entry fallback_entered(uintptr_t *former, int reattached)
{
    (void)reattached;
    return cover((uintptr_t)__builtin_frame_address(0), former);
}

static int fallback_is_attached(void)
{
    return attached != NULL && attached() != NULL;
}

static int fallback_is_unmended(uintptr_t *effective)
{
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
    void *ts = thread_state();
    applied *own = this_applied();
    if (ts == NULL || is_native(own, sp)) {
        return 0;
    }
    uintptr_t base = effective_base(own, ts);
    *effective = address_on(own, base);
    return base != 0 ? sp - base >= ASSUMED_SIZE : 1;
}

static void fallback_current(uintptr_t *base, uintptr_t *top)
{
    const applied *own = this_applied();
    *base = own->base != 0 ? own->base : own->native_base;
    *top = own->base != 0 ? own->base + ASSUMED_SIZE : own->native_top;
}

static void fallback_go_back(uintptr_t address)
{
    void *ts = thread_state();
    applied *own = this_applied();
    if (ts != NULL && base_for(own, address) != effective_base(own, ts)) {
        apply(own, ts, base_for(own, address));
    }
}

static uint32_t fallback_frames(void)
{
    return 0; /* where they are, only the core knows */
}

static void fallback_interleaved(const void *caller)
{
    (void)caller;
}

static void fallback_outermost_exit(void) {}

static void fallback_made(uintptr_t base, uintptr_t top)
{
    (void)base;
    (void)top;
}

static void fallback_jump(uintptr_t from, uintptr_t to)
{
    uintptr_t former;
    (void)from;
    cover(to, &former);
}

const sw_interpose_hooks sw_fallback_hooks = {
    .entered = fallback_entered,
    .go_back = fallback_go_back,
    .current = fallback_current,
    .is_attached = fallback_is_attached,
    .is_unmended = fallback_is_unmended,
    .frames = fallback_frames,
    .interleaved = fallback_interleaved,
    .outermost_exit = fallback_outermost_exit,
    .made = fallback_made,
    .jump = fallback_jump,
};
