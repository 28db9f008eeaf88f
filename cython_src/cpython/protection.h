/* protection.h: CPython's check before a C call goes deeper, behind one interface for all versions.
 *
 * Promises: swpy_protect() makes a thread state check the bounds of one record; the rest of the core is the same for
 * all versions. One implementation is included: protection_combined.h (3.11), protection_counter.h (3.12, 3.13) or
 * protection_pointer.h (3.14 and later; the reference, explained in full). Each defines:
 *
 * At import, attached:
 *   swpy_protection_start(probe)       find the best mechanism; fills swpy_protection
 *   swpy_protection_force(mechanism)   choose another one; NULL, or why it cannot work here
 *
 * At a switch or sync, attached or not, without allocation, lock or system call; `ts` is the caller's own:
 *   swpy_protect(ts, thread, to)       apply the bounds of `to`
 *   swpy_adopt(ts, thread, to)         the same where somebody else has swapped CPython's counters, as greenlet does
 *   swpy_protect_own(ts, thread, to, counter, is_new)
 *                                      the same for the own thread state of a coroutine that runs on `to`; `counter`
 *                                      is kept with it
 *   swpy_covers(ts, thread, sp)        are the applied bounds those of the stack that holds `sp`, and no estimate?
 *   swpy_has_bounds_of(ts, record)     are they those of a record, an estimate or not? 0 also where that can't be told
 *   swpy_protect_fast, swpy_covers_fast   the same where swpy_has_fast_path(): a few loads and stores
 *   swpy_is_applied(ts, thread, record)   does a thread state of that thread check the bounds of a record?
 *
 * Budgets, attached:
 *   swpy_fill_budget(ts, thread, sp, low_end, request)
 *                                      on the current stack: what a budget allows that ends at `low_end`
 *   swpy_apply_budgets(ts, thread, to)   the budgets of blocks have changed for `to`, which is current on any thread or
 *                                      on none
 *   swpy_set_budget(ts, thread, to, budget)
 *                                      the stack's own budget, in bytes; 0: refused, too many calls are active
 *   swpy_can_withhold(bytes)           can a budget withhold so much?
 *   swpy_drop_passed_budget(to, sp)    `sp` is below the low end of a budget: all budgets of `to` are dropped
 *   swpy_low_end(record)               the base as CPython is told: budgets raise it
 *
 * Sizes:
 *   swpy_room(ts, record, sp)          bytes under `sp` that CPython lets the thread use; `ts` may be NULL
 *   swpy_size_for_limit(ts)            bytes with which the user's recursion limit ends recursion before the stack
 *                                      does; 0 where that counts no C calls. `ts` may be NULL
 *   swpy_native_bounds(ts, &base, top) correct the native base by what CPython has recorded
 *   swpy_assume_used(record, sp)       a stack is first seen at `sp`: nobody knows how many calls it has made
 *   swpy_forget_counters(thread)       the thread is new
 *
 * The user's recursion limit, attached (3.11 alone, where it counts C calls too):
 *   swpy_nest_calls(ts, thread, to)    `to` is entered by a nested call: the calls of the stacks below count on it too.
 *                                      `ts` may be NULL
 *   swpy_guard_limit()                 with the first foreign stack: stacks keep their counters from now on when the
 *                                      limit is set. -1: an exception is pending
 *   swpy_limit_changing(), swpy_limit_changed()   before and after it is set
 *   swpy_set_recursion_limit(limit)    set it. Never raises: sys.setrecursionlimit() refuses a limit below the caller
 *   swpy_stack_ends_first(thread)      do the stack's own calls run out before the user's limit is reached?
 *
 * Policies: `exact` and `estimate` apply bounds; `disabled` has CPython check nothing, as far as that is possible;
 * `counted` leaves CPython's own counter alone, which 3.14 and later have for Python frames only. */
#ifndef SWPY_PROTECTION_H
#define SWPY_PROTECTION_H

#include "../bounds/bounds.h"
#include "../data/guard.h"
#include "thread_state.h"

typedef enum { SWPY_NONE, SWPY_POINTER, SWPY_SETTER, SWPY_COUNTER, SWPY_COMBINED_COUNTER } swpy_mechanism;

/* How the layout of the thread state is found at import (STACKWARDEN_PROBE). */
typedef enum {
    SWPY_PROBE_SETTER, /* call the public setter on a thread state of our own, and look what it changes */
    SWPY_PROBE_OBSERVE, /* as where there is no setter (3.14.0): look for the native stack's bounds */
    SWPY_PROBE_OFF
} swpy_probe;

typedef int (*swpy_setter)(PyThreadState *ts, void *base, size_t size);

typedef struct {
    swpy_mechanism mechanism;
    char reason[160]; /* why it is not the best one of this version, or "" */
    size_t margin; /* bytes: CPython's, of the pointer mechanism; else 0 */
    ptrdiff_t place; /* bytes from the thread state to its three bounds */
    size_t least_size; /* bytes; the smallest stack that can be protected */
    size_t exact_size; /* bytes; from this size on every measured workload was protected */
    swpy_setter setter;
    int native_levels; /* calls that CPython allows a fresh thread state */
    size_t reserve; /* bytes above the base for those who handle an overflow */
} swpy_protection_block;

static swpy_protection_block swpy_protection;

/* As CPython 3.14 and later have on release builds; for versions that have none. */
#define SWPY_DEFAULT_RESERVE ((size_t)32 << 10)

static inline const char *swpy_mechanism_name(void)
{
    static const char *const names[] = {"none", "pointer", "setter", "counter", "combined-counter"};
    return names[swpy_protection.mechanism];
}

static inline void swpy_protect(PyThreadState *ts, sw_thread *thread, sw_record *to);
static inline int swpy_is_applied(PyThreadState *ts, sw_thread *thread, const sw_record *record);

/* Where another thread checks the bounds of `record`, apply those of `to` there. Requires: the calling thread is
 * attached, so that the other one is not. */
static inline void swpy_protect_elsewhere(sw_thread *thread, const sw_record *record, sw_record *to)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; ts != NULL; ts = PyThreadState_Next(ts)) {
        if (ts->thread_id == thread->ident && swpy_is_applied(ts, thread, record)) {
            swpy_protect(ts, thread, to);
        }
    }
}

/* The most that one of the budgets of blocks withholds. */
static inline void swpy_sum_requests(sw_record_cold *cold)
{
    cold->withheld_by_requests = 0;
    for (const sw_request *request = cold->budgets; request != NULL; request = request->next) {
        if (request->withheld > cold->withheld_by_requests) {
            cold->withheld_by_requests = request->withheld;
        }
    }
}

/* Bytes above the base that all budgets of a stack withhold. CPython raises `reserve` bytes above that. */
static inline uintptr_t swpy_withheld_by_budgets(const sw_record *record)
{
    const sw_record_cold *cold = sw_cold_of(record);
    uintptr_t size = record->top - record->base;
    uintptr_t may_be_used = cold->own_budget + swpy_protection.reserve;
    uintptr_t own = cold->own_budget != 0 && may_be_used < size ? size - may_be_used : 0;
    return own > cold->withheld_by_requests ? own : cold->withheld_by_requests;
}

#if SWPY_311
#include "protection_combined.h"
#elif SWPY_312_313
#include "protection_counter.h"
#elif SWPY_314_UP
#include "protection_pointer.h"
#else
#error "stackwarden needs CPython 3.11 or later"
#endif

static inline void swpy_set_recursion_limit(int limit)
{
    swpy_limit_changing();
    Py_SetRecursionLimit(limit);
    swpy_limit_changed();
}

/* Are thread block and thread state one load away, and the bounds three plain stores? */
static inline int swpy_has_fast_path(void)
{
    return swpy_protection.mechanism == SWPY_POINTER && swpy_attached_place != 0 && sw_thread_local_place != 0;
}

static inline PyThreadState *swpy_attached_fast(void)
{
    return (PyThreadState *)sw_tls_word(swpy_attached_place);
}

#endif
