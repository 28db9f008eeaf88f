/* protection_pointer.h: CPython 3.14 and later compare the stack pointer with three words of the thread state.
 *
 *      top          c_stack_top
 *        ...        calls go deeper, objects are freed at once
 *      soft         c_stack_soft_limit = base + 2 margins: below it a call raises RecursionError
 *      hard         c_stack_hard_limit = base + 1 margin:  below it the process is aborted (3.14.1 and later)
 *      base         below it CPython assumes an unknown stack and checks nothing (3.14.1 and later)
 *
 * Promises: writes these three words and nothing else, at the place where protection_probe.h has found them. Where it
 * has not, the public PyUnstable_ThreadState_SetStackProtection (3.14.1, python/cpython #139653) is called instead;
 * where that is missing too there is no protection, and swpy_protection.reason says why. */

enum { SWPY_TOP, SWPY_SOFT, SWPY_HARD };

#define SWPY_UNCHECKED ((uintptr_t)64 << 10) /* an address below all memory: Linux's vm.mmap_min_addr */

static inline uintptr_t *swpy_bounds(PyThreadState *ts)
{
    return (uintptr_t *)((char *)ts + swpy_protection.place);
}

static inline uintptr_t swpy_low_end(const sw_record *record)
{
    return record->base + ((uintptr_t)record->withheld << SW_WITHHELD_SHIFT);
}

/* The top of an unknown stack is odd: such bounds never count as right. */
static inline int swpy_covers_fast(PyThreadState *ts, uintptr_t sp)
{
    const uintptr_t *bounds = swpy_bounds(ts);
    uintptr_t base = 2 * bounds[SWPY_HARD] - bounds[SWPY_SOFT];
    uintptr_t top = bounds[SWPY_TOP];
    return (sp - base < top - base) & ~top & 1;
}

static inline void swpy_write_bounds(PyThreadState *ts, uintptr_t base, uintptr_t top)
{
    uintptr_t *bounds = swpy_bounds(ts);
    uintptr_t margin = swpy_protection.margin;
    bounds[SWPY_TOP] = top;
    bounds[SWPY_SOFT] = base + 2 * margin;
    bounds[SWPY_HARD] = base + margin;
}

static inline void swpy_protect_fast(PyThreadState *ts, const sw_record *to)
{
    swpy_write_bounds(ts, swpy_low_end(to), to->top);
}

/* The setter has no getter: 0 for that mechanism. */
static inline int swpy_has_bounds_of(PyThreadState *ts, const sw_record *record)
{
    const uintptr_t *bounds = swpy_bounds(ts);
    return swpy_protection.mechanism == SWPY_POINTER && bounds[SWPY_TOP] == record->top
        && bounds[SWPY_HARD] == swpy_low_end(record) + swpy_protection.margin;
}

static inline int swpy_covers(PyThreadState *ts, const sw_thread *thread, uintptr_t sp)
{
    (void)thread;
    /* There is no getter: with the setter alone each sync applies the bounds again. */
    return swpy_protection.mechanism == SWPY_POINTER && swpy_covers_fast(ts, sp);
}

/* The base as CPython is told, by the policy. Without checks it lies below all stacks, but not at 0: at a hard limit of
 * 0 CPython asks the operating system for the bounds. */
static inline uintptr_t swpy_effective_low_end(const sw_record *to)
{
    return to->policy >= SW_COUNTED && to->withheld == 0 ? SWPY_UNCHECKED : swpy_low_end(to);
}

static inline void swpy_protect(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    uintptr_t base = swpy_effective_low_end(to);
    (void)thread;
    if (swpy_protection.mechanism == SWPY_POINTER) {
        swpy_write_bounds(ts, base, to->top);
    }
    else if (swpy_protection.mechanism == SWPY_SETTER && to->top - base >= swpy_protection.least_size) {
        /* Not for sizes that the setter refuses: it raises an exception, and in a detached thread that is a SIGSEGV. */
        swpy_protection.setter(ts, (void *)base, to->top - base);
    }
}

static inline void swpy_adopt(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    swpy_protect(ts, thread, to);
}

static inline int swpy_is_applied(PyThreadState *ts, sw_thread *thread, const sw_record *record)
{
    (void)thread;
    return swpy_protection.mechanism == SWPY_POINTER && swpy_bounds(ts)[SWPY_TOP] == record->top;
}

static inline void swpy_fill_budget(PyThreadState *ts, sw_thread *thread, uintptr_t sp, uintptr_t low_end,
                                    sw_request *request)
{
    (void)ts;
    (void)thread;
    (void)sp;
    (void)low_end;
    (void)request; /* its `withheld` says all */
}

static inline int swpy_can_withhold(uintptr_t bytes)
{
    return bytes >> SW_WITHHELD_SHIFT <= UINT32_MAX;
}

/* Requires: nothing is withheld that swpy_can_withhold() refuses. */
static inline uint32_t swpy_units_withheld(const sw_record *record)
{
    return (uint32_t)(swpy_withheld_by_budgets(record) >> SW_WITHHELD_SHIFT);
}

static inline void swpy_apply_budgets(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    swpy_sum_requests(sw_cold_of(to));
    to->withheld = swpy_units_withheld(to);
    for (sw_thread *other = sw_process.threads; other != NULL; other = other->next) {
        if (other->ident != 0 && other->current == to) {
            other == thread ? swpy_protect(ts, thread, to) : swpy_protect_elsewhere(other, to, to);
        }
    }
}

static inline int swpy_set_budget(PyThreadState *ts, sw_thread *thread, sw_record *to, uintptr_t budget)
{
    (void)ts;
    (void)thread;
    sw_cold_of(to)->own_budget = budget;
    to->withheld = swpy_units_withheld(to);
    return 1;
}

static inline void swpy_drop_passed_budget(sw_record *to, uintptr_t sp)
{
    if (sp < swpy_low_end(to)) {
        sw_cold_of(to)->own_budget = 0;
        for (sw_request *request = sw_cold_of(to)->budgets; request != NULL; request = request->next) {
            request->withheld = 0;
        }
        swpy_sum_requests(sw_cold_of(to));
        to->withheld = 0;
    }
}

static inline size_t swpy_room(PyThreadState *ts, const sw_record *record, uintptr_t sp)
{
    (void)ts;
    return sp > swpy_low_end(record) ? sp - swpy_low_end(record) : 0;
}

static inline void swpy_nest_calls(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    (void)ts;
    (void)thread;
    (void)to;
}

static inline size_t swpy_size_for_limit(PyThreadState *ts)
{
    (void)ts;
    return 0;
}

/* CPython read them when the thread attached first; setrlimit(2) may have changed the size of the stack since. */
static inline void swpy_native_bounds(PyThreadState *ts, uintptr_t *base, uintptr_t top)
{
    if (ts != NULL && swpy_protection.mechanism == SWPY_POINTER && swpy_bounds(ts)[SWPY_TOP] == top) {
        *base = 2 * swpy_bounds(ts)[SWPY_HARD] - swpy_bounds(ts)[SWPY_SOFT];
    }
}

/* Bounds are the same whatever is in use. */
static inline void swpy_assume_used(sw_record *record, uintptr_t sp)
{
    (void)record;
    (void)sp;
}

static inline void swpy_protect_own(PyThreadState *ts, sw_thread *thread, sw_record *to, sw_counter *counter,
                                    int is_new)
{
    (void)counter;
    (void)is_new;
    swpy_protect(ts, thread, to);
}

/* The user's recursion limit counts Python calls alone. */
static inline int swpy_stack_ends_first(sw_thread *thread)
{
    (void)thread;
    return 0;
}

#include "protection_probe.h"

/* Leaves no exception pending. */
static void swpy_protection_start(swpy_probe probe)
{
    PyThreadState *ts = PyThreadState_New(PyInterpreterState_Get());
    const char *reason;
    swpy_protection.exact_size = (size_t)128 << 10;
    swpy_protection.setter = probe == SWPY_PROBE_OBSERVE ? NULL : swpy_find_setter();
    if (ts == NULL) {
        PyErr_Clear();
        reason = "out of memory";
    }
    else {
        reason = swpy_find_place(ts, probe);
        swpy_protection.least_size =
            swpy_protection.setter != NULL ? swpy_find_least_size(ts) : 3 * swpy_protection.margin;
        PyThreadState_Clear(ts);
        PyThreadState_Delete(ts);
    }
    size_t two_margins = swpy_protection.least_size / 3 * 2; /* the least size is three */
    swpy_protection.reserve = two_margins != 0 ? two_margins : SWPY_DEFAULT_RESERVE;
    int has_setter = swpy_protection.setter != NULL && swpy_protection.least_size != 0;
    swpy_protection.mechanism = reason == NULL ? SWPY_POINTER : has_setter ? SWPY_SETTER : SWPY_NONE;
    PyOS_snprintf(swpy_protection.reason, sizeof swpy_protection.reason, "%s", reason != NULL ? reason : "");
}

static const char *swpy_protection_force(swpy_mechanism mechanism)
{
    if (mechanism == SWPY_COUNTER || mechanism == SWPY_COMBINED_COUNTER) {
        return "CPython 3.14 and later do not count C calls";
    }
    if (mechanism == SWPY_POINTER && swpy_protection.place == 0) {
        return swpy_protection.reason;
    }
    if (mechanism == SWPY_SETTER && swpy_protection.setter == NULL) {
        return "this CPython has no PyUnstable_ThreadState_SetStackProtection (it came with 3.14.1)";
    }
    swpy_protection.mechanism = mechanism;
    return NULL;
}

static inline int swpy_guard_limit(void)
{
    return 0;
}

static inline void swpy_forget_counters(sw_thread *thread)
{
    (void)thread;
}

static inline void swpy_limit_changing(void) {}
static inline void swpy_limit_changed(void) {}
