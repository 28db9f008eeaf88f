/* protection_combined.h: CPython 3.11 counts Python and C calls together in PyThreadState.recursion_remaining.
 *
 * Follows protection_counter.h. The budget of a stack is the lower of the user's recursion limit and what the
 * size allows. recursion_limit is kept in step with it, because Py_SetRecursionLimit reads the depth as
 * recursion_limit - recursion_remaining; it also wipes a budget, so swpy_limit_changed() applies it again.
 * The worst call that was measured takes 2,515 bytes. */

#define SWPY_BYTES_PER_LEVEL 2600
#include "protection_counted.h"

static int swpy_user_limit; /* what sys.getrecursionlimit() says */

static inline int swpy_budget(const sw_thread *thread, const sw_record *record)
{
    int levels = swpy_levels(record->top - record->base);
    return record == thread->native || levels > swpy_user_limit ? swpy_user_limit : levels;
}

static inline int swpy_depth_used(PyThreadState *ts, const sw_thread *thread, const sw_record *from)
{
    if (ts->recursion_limit != swpy_budget(thread, from)) {
        swpy_user_limit = ts->recursion_limit; /* someone called Py_SetRecursionLimit */
    }
    return ts->recursion_limit - ts->recursion_remaining;
}

static inline void swpy_count_down(PyThreadState *ts, const sw_thread *thread, const sw_record *to)
{
    ts->recursion_limit = swpy_budget(thread, to);
    ts->recursion_remaining = ts->recursion_limit - to->depth_used;
}

static void swpy_protection_start(swpy_probe probe)
{
    PyThreadState *ts = swpy_attached();
    swpy_protection.least_size = (size_t)48 << 10;
    swpy_protection.exact_size = (size_t)512 << 10;
    swpy_protection.mechanism = SWPY_NONE;
    swpy_user_limit = Py_GetRecursionLimit();
    swpy_protection.native_levels = swpy_user_limit;
    const char *reason = "";
    if (probe == SWPY_PROBE_OFF) {
        reason = "the probe of layouts is turned off (STACKWARDEN_PROBE=off)";
    }
    else if (ts == NULL || ts->recursion_limit != swpy_user_limit || ts->id != PyThreadState_GetID(ts)
             || ts->recursion_remaining > ts->recursion_limit) {
        reason = "the thread state does not have the layout of this version";
    }
    else {
        swpy_protection.mechanism = SWPY_COMBINED_COUNTER;
    }
    PyOS_snprintf(swpy_protection.reason, sizeof swpy_protection.reason, "%s", reason);
}

static const char *swpy_protection_force(swpy_mechanism mechanism)
{
    if (mechanism != SWPY_COMBINED_COUNTER && mechanism != SWPY_NONE) {
        return "CPython 3.11 counts Python and C calls together: the mechanism is `combined-counter`";
    }
    if (mechanism == SWPY_COMBINED_COUNTER && swpy_protection.mechanism != SWPY_COMBINED_COUNTER) {
        return swpy_protection.reason;
    }
    swpy_protection.mechanism = mechanism;
    return NULL;
}

static int swpy_wrap_setrecursionlimit(void *unused)
{
    PyObject *module = PyImport_ImportModule("stackwarden._recursion_limit");
    (void)unused;
    if (module == NULL) {
        PyErr_WriteUnraisable(NULL);
    }
    Py_XDECREF(module);
    return 0;
}

/* sys.setrecursionlimit() must be wrapped before it is called next; the caller may be detached. */
static void swpy_first_foreign_stack(void)
{
    Py_AddPendingCall(swpy_wrap_setrecursionlimit, NULL);
}

static void swpy_count_down_again(PyThreadState *ts, sw_thread *thread)
{
    sw_record *counted = swpy_counted(ts, thread);
    int used = ts->recursion_limit - ts->recursion_remaining;
    counted->depth_used = used > 0 ? used : 0;
    swpy_count_down(ts, thread, counted);
}

/* Py_SetRecursionLimit gave every thread state the new limit, those on small stacks too. */
static void swpy_limit_changed(void)
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    swpy_user_limit = Py_GetRecursionLimit();
    if (swpy_protection.mechanism == SWPY_NONE) {
        return;
    }
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interpreter); ts != NULL; ts = PyThreadState_Next(ts)) {
        for (sw_thread *thread = sw_process.threads; thread != NULL; thread = thread->next) {
            if (thread->ident != 0 && thread->counted_in == ts->id) {
                swpy_count_down_again(ts, thread);
            }
        }
    }
}
