/* alone.c: the hooks in a process that has no core (yet): CPython 3.14.1 and later, where the setter is found by name.
 *
 * Promises: a thread that comes into Python on a stack that is not its own gets bounds around its stack pointer, an
 * estimate; on its own stack it gets its own again. Nothing else: no records, no execution state. Where the setter is
 * missing, or Python is, nothing is done. */
#include "../bounds/bounds.h"
#include "interpose.h"

#include <stddef.h>

#define ASSUMED_SIZE ((uintptr_t)256 << 10) /* bytes; half of it in use */
#define PAGE ((uintptr_t)4096)

static void *(*attached)(void); /* PyThreadState_GetUnchecked: 3.13 */
static uint64_t (*id_of)(void *ts);
static int (*set_bounds)(void *ts, void *base, size_t size);
static void (*reset_bounds)(void *ts);

/* What this thread did last. No other thread state than that one has bounds from here. */
typedef struct {
    uint64_t ts_id;
    uintptr_t base; /* of the estimate that is in force; 0: the native stack's bounds are */
    uintptr_t native_base, native_top; /* top 0: not asked yet */
} memory;

static __thread memory memory_of_thread;

static __attribute__((noinline)) memory *this_memory(void)
{
    return &memory_of_thread;
}

void sw_alone_find(void)
{
    attached = (void *(*)(void))sw_find_definition("PyThreadState_GetUnchecked");
    id_of = (uint64_t(*)(void *))sw_find_definition("PyThreadState_GetID");
    reset_bounds = (void (*)(void *))sw_find_definition("PyUnstable_ThreadState_ResetStackProtection");
    set_bounds = (int (*)(void *, void *, size_t))sw_find_definition("PyUnstable_ThreadState_SetStackProtection");
}

static int alone_is_attached(void)
{
    return attached != NULL && attached() != NULL;
}

static int is_native(memory *own, uintptr_t sp)
{
    if (own->native_top == 0 && sw_native_bounds(&own->native_base, &own->native_top) != 0) {
        own->native_top = 1; /* unknown: every stack is foreign */
    }
    return sp >= own->native_base && sp < own->native_top;
}

static void put_in_force(memory *own, void *ts, uintptr_t base)
{
    own->ts_id = id_of(ts);
    own->base = base;
    if (base == 0) {
        reset_bounds(ts);
    }
    else {
        set_bounds(ts, (void *)base, ASSUMED_SIZE); /* refuses sizes under 48 KiB, 192 under TSan */
    }
}

/* The bounds for the stack that holds `sp`. */
static sw_entry cover(uintptr_t sp, uint64_t *former)
{
    void *ts = set_bounds != NULL && reset_bounds != NULL && id_of != NULL && attached != NULL ? attached() : NULL;
    if (ts == NULL) {
        return SW_RIGHT;
    }
    memory *own = this_memory();
    uintptr_t base = own->ts_id == id_of(ts) ? own->base : 0;
    if (base != 0 ? sp - base < ASSUMED_SIZE && sp - base >= ASSUMED_SIZE / 4 : is_native(own, sp)) {
        return SW_RIGHT;
    }
    *former = base;
    put_in_force(own, ts, is_native(own, sp) ? 0 : (sp & ~(PAGE - 1)) - ASSUMED_SIZE / 2);
    return SW_CHANGED;
}

static sw_entry alone_entered(uint64_t *former, int comes_back)
{
    (void)comes_back;
    return cover((uintptr_t)__builtin_frame_address(0), former);
}

static uint64_t alone_current(void)
{
    return this_memory()->base;
}

static void alone_go_back(uint64_t former)
{
    if (alone_is_attached()) {
        put_in_force(this_memory(), attached(), former);
    }
}

static void alone_ending(void) {}

static void alone_made(uintptr_t base, uintptr_t top)
{
    (void)base;
    (void)top;
}

static void alone_leaving(uintptr_t to)
{
    uint64_t former;
    cover(to, &former);
}

static void alone_arrived(void)
{
    uint64_t former;
    cover((uintptr_t)__builtin_frame_address(0), &former);
}

const sw_interpose_hooks sw_alone_hooks = {
    alone_entered, alone_go_back, alone_current, alone_is_attached, alone_ending,
    alone_made,    alone_leaving, alone_arrived,
};
