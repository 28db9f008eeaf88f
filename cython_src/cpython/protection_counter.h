/* protection_counter.h: CPython 3.12 and 3.13 count C calls down in PyThreadState.c_recursion_remaining.
 *
 * Follows protection_pointer.h. A stack gets a budget of calls from its size. What is kept of a stack that is
 * left is the depth used, not what remains. A stack that returned more calls than it entered hands the
 * difference to the stack that is entered: those calls were entered there, before the switch was told.
 *
 * CPython's own budget is the most that a stack gets, but for those of call_on_stack(): they are made for depth.
 *
 * The worst call that was measured (sorted(key=) with a Python __lt__) takes 1,690 bytes on 3.12.1 and 1,711 on
 * 3.13.0. `import asyncio` alone needs 55 to 69 calls, and 3.13 holds deallocations back at 50 or fewer: so no
 * budget is under 120, and stacks under 512 KiB are estimates, not exact. */

#define SWPY_BYTES_PER_LEVEL 1792
#include "protection_counted.h"

static inline int swpy_most(const sw_record *record, int limit)
{
    (void)limit;
    return record->pooled ? SWPY_MOST_LEVELS : swpy_protection.native_levels;
}

static inline size_t swpy_size_for_limit(PyThreadState *ts)
{
    (void)ts;
    return 0;
}

static inline int swpy_limit(PyThreadState *ts)
{
    (void)ts;
    return 0; /* the user's limit counts Python calls */
}

static inline int *swpy_remaining(PyThreadState *ts)
{
    return &ts->c_recursion_remaining;
}

/* The user's limit has a counter of its own. */
static inline int swpy_stack_ends_first(sw_thread *thread)
{
    (void)thread;
    return 0;
}

static void swpy_protection_start(swpy_probe probe)
{
    PyThreadState *attached = swpy_attached();
    PyThreadState *fresh = probe == SWPY_PROBE_OFF ? NULL : PyThreadState_New(PyInterpreterState_Get());
    const char *reason = "";
    swpy_protection.least_size = (size_t)48 << 10;
    swpy_protection.exact_size = (size_t)512 << 10;
    swpy_protection.reserve = SWPY_DEFAULT_RESERVE;
    swpy_protection.mechanism = SWPY_NONE;
    if (fresh == NULL) {
        PyErr_Clear();
        reason = probe == SWPY_PROBE_OFF ? "the probe of layouts is turned off (STACKWARDEN_PROBE=off)"
                                         : "out of memory";
    }
    else {
        /* The limit differs between patch releases (1,500 in 3.12.1, 10,000 in 3.13.0): ask a fresh state. */
        swpy_protection.native_levels = fresh->c_recursion_remaining;
        if (attached->py_recursion_limit != Py_GetRecursionLimit() || fresh->id != PyThreadState_GetID(fresh)
            || swpy_protection.native_levels < SWPY_LEAST_LEVELS || swpy_protection.native_levels > 1000000
            || attached->c_recursion_remaining > swpy_protection.native_levels) {
            reason = "the thread state does not have the layout of this version";
        }
        else {
            swpy_protection.mechanism = SWPY_COUNTER;
        }
        PyThreadState_Clear(fresh);
        PyThreadState_Delete(fresh);
    }
    PyOS_snprintf(swpy_protection.reason, sizeof swpy_protection.reason, "%s", reason);
}

static const char *swpy_protection_force(swpy_mechanism mechanism)
{
    if (mechanism != SWPY_COUNTER && mechanism != SWPY_NONE) {
        return "CPython 3.12 and 3.13 count C calls: the mechanism is `counter`";
    }
    if (mechanism == SWPY_COUNTER && swpy_protection.mechanism != SWPY_COUNTER) {
        return swpy_protection.reason;
    }
    swpy_protection.mechanism = mechanism;
    return NULL;
}

/* The user's recursion limit counts Python calls, apart from the C calls of 3.12 and 3.13. */
static inline int swpy_guard_limit(void)
{
    return 0;
}
static inline void swpy_limit_changing(void) {}
static inline void swpy_limit_changed(void) {}
