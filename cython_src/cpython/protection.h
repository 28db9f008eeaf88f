/* protection.h: what CPython checks before a C call goes deeper, behind one small interface.
 *
 * Promises: swpy_protect() makes a thread state check the bounds of one record; everything else in the core
 * is the same for all versions. Each implementation defines the same functions:
 *
 *   swpy_protection_start(probe)          once, attached: find out what can be done; fills swpy_protection
 *   swpy_protection_force(mechanism)      put another one in force; NULL, or why it cannot work
 *   swpy_native_bounds(ts, &base, top)    correct the native base by what CPython recorded
 *   swpy_covers(ts, thread, sp)           are the bounds that are in force those of the stack at `sp`, and no
 *                                         estimate?
 *   swpy_has_bounds_of(ts, record)        are a record's bounds in force, an estimate or not? 0 where that can't be told
 *   swpy_protect(ts, thread, to)          put the bounds of `to` in force. The hot path: no allocation, no
 *                                         lock, no system call, GIL held or not; `ts` is the caller's own.
 *   swpy_adopt(ts, thread, to)            the same where somebody else has put the counters of `to` in force
 *   swpy_covers_fast, swpy_protect_fast   the same two where swpy_has_fast_path(): a few loads and stores
 *   swpy_protect_own(ts, thread, to, is_new)   the same for a thread state that belongs to the stack of `to` alone
 *   swpy_fill_budget(ts, to, sp, low_end, request)   attached, on the stack of `to`: what a budget that ends at the address
 *                                         `low_end` withholds of it
 *   swpy_apply_budgets(ts, thread, to, own)   attached: the budgets that were requested for `to` have changed. It may be
 *                                         current on whichever thread, or on none; `own`: its own thread state, or NULL
 *   swpy_is_applied(ts, thread, record)   does a thread state, of that thread, check the bounds of a record?
 *   swpy_budget_set(ts, thread, to, budget)   the stack's own budget becomes that, in bytes / 16; 0: too many calls are
 *                                         active for that, and it is as before
 *   swpy_drop_passed_budget(to, sp)              `sp` was found below what a budget allows: there is none any more
 *   swpy_room(ts, record, sp)             bytes under `sp` that CPython lets the stack of `record` use, which is in
 *                                         force; `ts` may be NULL
 *   swpy_size_for_limit(ts)               the size at which a stack does not end before the user's recursion limit
 *                                         does; 0 where that does not count C calls. `ts` may be NULL
 *   swpy_low_end(record)                   the base as CPython is told of it: a budget moves it up
 *   swpy_stack_ends_first(thread)          attached: where one counter serves both, is it the stack's budget that runs
 *                                         out before the user's recursion limit does?
 *   swpy_guard_limit()                    attached, with the first foreign stack: from now on budgets survive that the
 *                                         user's recursion limit is set. -1: an exception is pending
 *   swpy_assume_used(record, sp)          nobody knows what called what on a stack that is seen first at `sp`
 *   swpy_forget_counters(thread)           the thread is new
 *   swpy_limit_changing(), swpy_limit_changed()   attached: before and after the user's recursion limit is set
 *
 * Policies: `exact` and `estimate` put bounds in force; `disabled` has CPython check nothing, as far as it can be had;
 * `counted` leaves CPython's own count alone in force, which 3.14 and later keep for Python frames only.
 *
 * protection_pointer.h is the reference and explained in full; the others comment only what differs. */
#ifndef SWPY_PROTECTION_H
#define SWPY_PROTECTION_H

#include "../bounds/bounds.h"
#include "../data/guard.h"
#include "thread_state.h"

typedef enum { SWPY_NONE, SWPY_POINTER, SWPY_SETTER, SWPY_COUNTER, SWPY_COMBINED_COUNTER } swpy_mechanism;

/* How layouts are found out at import (STACKWARDEN_PROBE). */
typedef enum {
    SWPY_PROBE_SETTER, /* call the setter on a thread state of our own and look what changes */
    SWPY_PROBE_OBSERVE, /* as where there is no setter (3.14.0): look for values that can be known */
    SWPY_PROBE_OFF
} swpy_probe;

typedef int (*swpy_setter)(PyThreadState *ts, void *base, size_t size);

typedef struct {
    swpy_mechanism mechanism;
    char reason[160]; /* why it is not the best one, or "" */
    size_t margin; /* bytes; pointer mechanism */
    ptrdiff_t place; /* bytes from the thread state to its three bounds */
    size_t least_size; /* bytes; the smallest stack that it can protect */
    size_t exact_size; /* bytes; from here on the protection holds for every measured workload */
    swpy_setter setter;
    int native_levels; /* CPython's own budget of calls for a fresh thread state */
    size_t reserve; /* bytes above the base that are left to those who handle an overflow */
} swpy_protection_block;

static swpy_protection_block swpy_protection;

/* What CPython 3.14 and later keep back on release builds; ours where it keeps back nothing. */
#define SWPY_DEFAULT_RESERVE ((size_t)32 << 10)

static inline const char *swpy_mechanism_name(void)
{
    static const char *const names[] = {"none", "pointer", "setter", "counter", "combined-counter"};
    return names[swpy_protection.mechanism];
}

static inline void swpy_protect(PyThreadState *ts, sw_thread *thread, sw_record *to);
static inline int swpy_is_applied(PyThreadState *ts, sw_thread *thread, const sw_record *record);

/* Where another thread checks the bounds of `record`, let it check those of `to`. Requires: attached, so that the other
 * one is not. */
static inline void swpy_protect_elsewhere(sw_thread *thread, const sw_record *record, sw_record *to)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; ts != NULL; ts = PyThreadState_Next(ts)) {
        if (ts->thread_id == thread->ident && swpy_is_applied(ts, thread, record)) {
            swpy_protect(ts, thread, to);
        }
    }
}

/* The most that the budgets requested for a stack withhold. */
static inline void swpy_sum_requests(sw_record_cold *cold)
{
    cold->withheld_by_requests = 0;
    for (const sw_request *request = cold->budgets; request != NULL; request = request->next) {
        if (request->withheld > cold->withheld_by_requests) {
            cold->withheld_by_requests = request->withheld;
        }
    }
}

/* Bytes / 16 above the base that the budgets of a stack keep back. CPython raises where reserve bytes are left. */
static inline uint32_t swpy_withheld_by_budgets(const sw_record *record)
{
    const sw_record_cold *cold = sw_cold_of(record);
    uintptr_t size = record->top - record->base;
    uintptr_t may_be_used = ((uintptr_t)cold->own_budget << 4) + swpy_protection.reserve;
    uint32_t own = cold->own_budget != 0 && may_be_used < size ? (uint32_t)((size - may_be_used) >> 4) : 0;
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

/* Are thread block and thread state one load away, and the bounds plain stores? */
static inline int swpy_has_fast_path(void)
{
    return swpy_protection.mechanism == SWPY_POINTER && swpy_attached_place != 0 && sw_thread_local_place != 0;
}

static inline PyThreadState *swpy_attached_fast(void)
{
    return (PyThreadState *)sw_tls_word(swpy_attached_place);
}

#endif
