/* protection_combined.h: CPython 3.11 counts Python and C calls together down in PyThreadState.recursion_remaining.
 *
 * Follows protection_counter.h. A stack may have as many calls as its size allows, but no more than the user's
 * recursion limit. The field recursion_limit stays the user's: at 0 remaining CPython 3.11 compares recursion_limit -
 * recursion_remaining with the interpreter's limit, and goes on below it. sys.setrecursionlimit() takes that difference
 * for the depth: while it runs the counters are paused. The worst call that was measured takes 2,515 bytes. */

#define SWPY_BYTES_PER_LEVEL 2600
#include "protection_counted.h"

static inline int swpy_most_levels(const sw_record *record, int limit)
{
    (void)record;
    return limit;
}

static inline size_t swpy_size_for_limit(PyThreadState *ts)
{
    int limit = ts == NULL ? 0 : ts->recursion_limit < SWPY_MOST_LEVELS ? ts->recursion_limit : SWPY_MOST_LEVELS;
    return limit > 0 ? (size_t)limit * SWPY_BYTES_PER_LEVEL + SWPY_UNCOUNTED_BYTES : 0;
}

static inline int swpy_limit(PyThreadState *ts)
{
    return ts->recursion_limit;
}

static inline int *swpy_remaining(PyThreadState *ts)
{
    return &ts->recursion_remaining;
}

#define SWPY_CALLS_OF_A_LEVEL 3 /* at most: the user's function, and what calls it on another stack */

/* Else a runaway through growing stacks would have the whole limit on each of them. Calls of ours do not count, so that
 * nobody's recursion ends earlier than without us: of what was called since the last nested call a third counts on. */
static inline void swpy_nest_calls(PyThreadState *ts, sw_thread *thread, sw_record *to)
{
    if (ts == NULL || swpy_protection.mechanism == SWPY_NONE) {
        return;
    }
    const sw_counter *counter = swpy_find_counter(ts, thread);
    int below = counter != NULL ? sw_cold_of(counter->record)->calls_below : 0;
    int used = counter != NULL ? swpy_depth_used(ts, counter) : ts->recursion_limit - ts->recursion_remaining;
    int own = used > below ? used - below : 0;
    to->depth_used = below + (own + SWPY_CALLS_OF_A_LEVEL - 1) / SWPY_CALLS_OF_A_LEVEL;
    sw_cold_of(to)->calls_below = to->depth_used;
}

static inline int swpy_stack_ends_first(sw_thread *thread)
{
    PyThreadState *ts = swpy_attached();
    const sw_counter *counter = swpy_find_counter(ts, thread);
    const sw_record *record = counter != NULL ? counter->record : thread->native;
    return swpy_levels_within(thread, record, ts->recursion_limit) < ts->recursion_limit;
}

static void swpy_protection_start(swpy_probe probe)
{
    PyThreadState *ts = swpy_attached();
    swpy_protection.least_size = (size_t)48 << 10;
    swpy_protection.exact_size = (size_t)512 << 10;
    swpy_protection.reserve = SWPY_DEFAULT_RESERVE;
    swpy_protection.mechanism = SWPY_NONE;
    swpy_protection.native_levels = Py_GetRecursionLimit();
    const char *reason = "";
    if (probe == SWPY_PROBE_OFF) {
        reason = "the probe of layouts is turned off (STACKWARDEN_PROBE=off)";
    }
    else if (ts == NULL || ts->recursion_limit != Py_GetRecursionLimit() || ts->id != PyThreadState_GetID(ts)
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

typedef void swpy_counter_visitor(PyThreadState *ts, sw_thread *thread, sw_counter *counter);

/* The thread state counts as if its stack had all calls that the user's limit allows. */
static void swpy_pause_counter(PyThreadState *ts, sw_thread *thread, sw_counter *counter)
{
    int used = swpy_depth_used(ts, counter);
    int *depth = swpy_depth_place(thread, counter, counter->record);
    *depth = used > 0 ? used : 0;
    ts->recursion_remaining = ts->recursion_limit - *depth;
}

static void swpy_resume_counter(PyThreadState *ts, sw_thread *thread, sw_counter *counter)
{
    swpy_count_down(ts, thread, counter, counter->record);
}

/* Visit every counter of this interpreter. */
static void swpy_for_each_counter(swpy_counter_visitor *visit)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; ts != NULL && swpy_protection.mechanism != SWPY_NONE; ts = PyThreadState_Next(ts)) {
        for (sw_thread *thread = sw_process.threads; thread != NULL; thread = thread->next) {
            sw_counter *counter = thread->ident != 0 ? swpy_find_counter(ts, thread) : NULL;
            if (counter != NULL) {
                visit(ts, thread, counter);
            }
        }
    }
}

static void swpy_limit_changing(void)
{
    swpy_for_each_counter(swpy_pause_counter);
}

/* A thread that is deeper than the limit raises with its next call, as in later versions. Where fewer than -50 calls
 * remained CPython 3.11 would abort the process ("Cannot recover from stack overflow"). */
static void swpy_spare_deeper_threads(void)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; ts != NULL && swpy_protection.mechanism != SWPY_NONE; ts = PyThreadState_Next(ts)) {
        if (ts->recursion_remaining < 0) {
            ts->recursion_limit -= ts->recursion_remaining;
            ts->recursion_remaining = 0;
        }
    }
}

static void swpy_limit_changed(void)
{
    swpy_spare_deeper_threads();
    swpy_for_each_counter(swpy_resume_counter);
}

/* sys.setrecursionlimit(), compiled: no signal handler in Python comes between the three. */
static PyObject *swpy_setrecursionlimit(PyObject *original, PyObject *limit)
{
    swpy_limit_changing();
    PyObject *result = PyObject_CallOneArg(original, limit);
    swpy_limit_changed();
    return result;
}

/* Wraps sys.setrecursionlimit(). */
static int swpy_guard_limit(void)
{
    static PyMethodDef definition = {
        "setrecursionlimit", swpy_setrecursionlimit, METH_O,
        "Set the maximum depth of the Python interpreter stack, as CPython's own function; the counters of foreign "
        "stacks stay as they are."};
    PyObject *original = PySys_GetObject("setrecursionlimit");
    PyObject *module = original != NULL ? PyUnicode_FromString("stackwarden") : NULL;
    PyObject *wrapper = module != NULL ? PyCFunction_NewEx(&definition, original, module) : NULL;
    int done = wrapper != NULL ? PySys_SetObject("setrecursionlimit", wrapper) : -1;
    Py_XDECREF(module);
    Py_XDECREF(wrapper);
    return done;
}
