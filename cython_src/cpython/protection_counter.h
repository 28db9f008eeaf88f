/* protection_counter.h: CPython 3.12 and 3.13 count C calls down in PyThreadState.c_recursion_remaining.
 *
 * Follows protection_pointer.h; how counters work is in protection_counted.h. No stack gets more calls than CPython
 * allows a fresh thread state, but for those of call_on_stack(), which are made for depth.
 *
 * The worst call that was measured (sorted(key=) with a Python __lt__) takes 1,690 bytes on 3.12.1 and 1,711 on 3.13.0.
 * `import asyncio` alone needs 55 to 69 calls, and with 50 or fewer left 3.13 puts objects into its trashcan: so every
 * stack gets at least 120, and the protection of stacks under 512 KiB is an estimate. */

#define SWPY_BYTES_PER_LEVEL 1792
#include "protection_counted.h"

static inline int swpy_most_levels(const sw_record *record, int limit)
{
    (void)limit;
    return record->pooled ? SWPY_MOST_LEVELS : swpy_protection.native_levels;
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

static inline int swpy_limit(PyThreadState *ts)
{
    (void)ts;
    return 0;
}

static inline int *swpy_remaining(PyThreadState *ts)
{
    return &ts->c_recursion_remaining;
}

/* The user's recursion limit counts Python calls alone. */
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
        reason =
            probe == SWPY_PROBE_OFF ? "the probe of layouts is turned off (STACKWARDEN_PROBE=off)" : "out of memory";
    }
    else {
        /* Not the header's limit: it differs between patch releases (1,500 in 3.12.1, 10,000 in 3.13.0). */
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

static inline int swpy_guard_limit(void)
{
    return 0;
}

static inline void swpy_limit_changing(void) {}
static inline void swpy_limit_changed(void) {}
