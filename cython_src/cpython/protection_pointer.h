/* protection_pointer.h: CPython 3.14 and later compare the stack pointer with three words of the thread state.
 *
 *      top          c_stack_top
 *        ...        calls go deeper, objects are freed at once
 *      soft         c_stack_soft_limit = base + 2 margins: below it a call raises RecursionError
 *      hard         c_stack_hard_limit = base + 1 margin:  below it the process is aborted (3.14.1 and later)
 *      base         below it CPython assumes an unknown stack and checks nothing (3.14.1 and later)
 *
 * Promises: writes these three words and nothing else, at a place that was found in this very interpreter.
 * The words lie behind PyThreadState, in _PyThreadStateImpl, whose layout moved inside 3.14 (3.14.4 appended a
 * field; python-greenlet/greenlet #527): no offset is compiled in. Where the place can't be verified the public
 * PyUnstable_ThreadState_SetStackProtection (3.14.1) is called instead; where that is missing too: no
 * protection, and swpy_protection.reason says so. */

#define Py_BUILD_CORE
#include "internal/pycore_debug_offsets.h"
#undef Py_BUILD_CORE

PyAPI_DATA(struct pyruntimestate) _PyRuntime; /* begins with the debug offsets */

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

enum { SWPY_TOP, SWPY_SOFT, SWPY_HARD, SWPY_WORDS };

#define SWPY_SEARCHED_WORDS 40 /* 3.15.2 has 11 words of other fields before the bounds, 3.14.0 one */
#define SWPY_LEAST_MARGIN ((uintptr_t)4 << 10)
#define SWPY_MOST_MARGIN ((uintptr_t)1 << 20)
#define SWPY_UNCHECKED ((uintptr_t)64 << 10) /* an address; Linux maps nothing below it (vm.mmap_min_addr) */

static inline uintptr_t *swpy_bounds(PyThreadState *ts)
{
    return (uintptr_t *)((char *)ts + swpy_protection.place);
}

static inline uintptr_t swpy_low_end(const sw_record *record)
{
    return record->base + ((uintptr_t)record->withheld << 4);
}

/* swpy_covers and swpy_protect where the mechanism is known to be `pointer`. The top of an estimate is odd. */
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

/* Are a record's own bounds in force, and nobody else's? 0 where that can't be told. */
static inline int swpy_has_bounds_of(PyThreadState *ts, const sw_record *record)
{
    const uintptr_t *bounds = swpy_bounds(ts);
    return swpy_protection.mechanism == SWPY_POINTER && bounds[SWPY_TOP] == record->top
        && bounds[SWPY_HARD] == swpy_low_end(record) + swpy_protection.margin;
}

static inline int swpy_covers(PyThreadState *ts, const sw_thread *thread, uintptr_t sp)
{
    (void)thread;
    /* There is no getter: where only the setter can be had, sync puts the bounds in force each time. */
    return swpy_protection.mechanism == SWPY_POINTER && swpy_covers_fast(ts, sp);
}

/* The base where no policy says otherwise. Without checks it lies below all memory, and no stack is ever used up:
 * at a hard limit of 0 CPython would ask the operating system for the bounds. */
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
        /* Refused sizes never get here: refusing raises, and raising detached is a SIGSEGV. */
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

static inline void swpy_fill_budget(PyThreadState *ts, sw_record *to, uintptr_t sp, uintptr_t low_end, sw_request *request)
{
    (void)ts;
    (void)to;
    (void)sp;
    (void)low_end;
    (void)request; /* bytes are all that counts */
}

static inline void swpy_apply_budgets(PyThreadState *ts, sw_thread *thread, sw_record *to, PyThreadState *own)
{
    (void)own;
    swpy_sum_requests(sw_cold_of(to));
    to->withheld = swpy_withheld_by_budgets(to);
    for (sw_thread *other = sw_process.threads; other != NULL; other = other->next) {
        if (other->ident != 0 && other->current == to) {
            other == thread ? swpy_protect(ts, thread, to) : swpy_protect_elsewhere(other, to, to);
        }
    }
}

static inline int swpy_budget_set(PyThreadState *ts, sw_thread *thread, sw_record *to, uint32_t budget)
{
    (void)ts;
    (void)thread;
    sw_cold_of(to)->own_budget = budget;
    to->withheld = swpy_withheld_by_budgets(to);
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

static inline size_t swpy_size_for_limit(PyThreadState *ts)
{
    (void)ts;
    return 0;
}

/* CPython read the native bounds when the thread attached first; the limits may have been changed since. */
static inline void swpy_native_bounds(PyThreadState *ts, uintptr_t *base, uintptr_t top)
{
    if (ts != NULL && swpy_protection.mechanism == SWPY_POINTER && swpy_bounds(ts)[SWPY_TOP] == top) {
        *base = 2 * swpy_bounds(ts)[SWPY_HARD] - swpy_bounds(ts)[SWPY_SOFT];
    }
}

/* Bounds do not tell what is in use. */
static inline void swpy_assume_used(sw_record *record, uintptr_t sp)
{
    (void)record;
    (void)sp;
}

/* A thread state that belongs to one stack alone. */
static inline void swpy_protect_own(PyThreadState *ts, sw_thread *thread, sw_record *to, int is_new)
{
    (void)is_new;
    swpy_protect(ts, thread, to);
}

/* The user's limit has a counter of its own. */
static inline int swpy_stack_ends_first(sw_thread *thread)
{
    (void)thread;
    return 0;
}

/* sizeof(PyThreadState) in the interpreter that runs, from the debug offsets that it publishes (3.13 and later);
 * 0 when they are not those of this version. */
static size_t swpy_public_size(void)
{
    const struct _Py_DebugOffsets *offsets = (const struct _Py_DebugOffsets *)&_PyRuntime;
    if (memcmp(offsets->cookie, _Py_Debug_Cookie, sizeof offsets->cookie) != 0
        || offsets->version != Py_Version) {
        return 0;
    }
    size_t size = offsets->thread_state.size;
    return size % sizeof(uintptr_t) == 0 && size <= sizeof(PyThreadState) + 512 ? size : 0;
}

static int swpy_is_bounds(const uintptr_t *word, uintptr_t base, uintptr_t top)
{
    uintptr_t margin = word[SWPY_HARD] - base;
    return word[SWPY_TOP] == top && word[SWPY_SOFT] - word[SWPY_HARD] == margin && margin >= SWPY_LEAST_MARGIN
        && margin <= SWPY_MOST_MARGIN;
}

/* The one place behind PyThreadState where the bounds of [base, top) stand, or 0. */
static ptrdiff_t swpy_find_bounds(PyThreadState *ts, size_t public_size, uintptr_t base, uintptr_t top)
{
    const uintptr_t *words = (const uintptr_t *)((char *)ts + public_size);
    for (int i = 0; i < SWPY_SEARCHED_WORDS; i++) {
        if (swpy_is_bounds(words + i, base, top)) {
            return (const char *)(words + i) - (const char *)ts;
        }
    }
    return 0;
}

/* Do the bounds of a thread state that CPython itself filled in have the form that we found? */
static int swpy_attached_agrees(ptrdiff_t place, uintptr_t margin)
{
    const uintptr_t *bounds = (const uintptr_t *)((char *)swpy_attached() + place);
    return bounds[SWPY_SOFT] - bounds[SWPY_HARD] == margin && bounds[SWPY_TOP] > bounds[SWPY_SOFT];
}

static const char *swpy_find_by_setter(PyThreadState *ts, size_t public_size)
{
    /* Addresses and sizes of our own; CPython only stores them. Two of them, so that nothing else fits. */
    const uintptr_t bases[] = {(uintptr_t)0x5341 << 28, (uintptr_t)0x2357 << 30};
    const size_t sizes[] = {(size_t)16 << 20, (size_t)48 << 20};
    ptrdiff_t places[2];
    uintptr_t margins[2];
    for (int i = 0; i < 2; i++) {
        if (swpy_protection.setter(ts, (void *)bases[i], sizes[i]) != 0) {
            PyErr_Clear();
            return "the public setter refused the values of the probe";
        }
        places[i] = swpy_find_bounds(ts, public_size, bases[i], bases[i] + sizes[i]);
        if (places[i] == 0) {
            return "the public setter stores bounds in a form that is not known";
        }
        margins[i] = ((uintptr_t *)((char *)ts + places[i]))[SWPY_HARD] - bases[i];
    }
    if (places[0] != places[1] || margins[0] != margins[1]) {
        return "two calls of the public setter left different traces";
    }
    if (!swpy_attached_agrees(places[0], margins[0])) {
        return "the attached thread state does not have the form that the probe found";
    }
    swpy_protection.place = places[0];
    swpy_protection.margin = margins[0];
    return NULL;
}

/* Without a setter (3.14.0): the words that follow from what the operating system says of the native stack. */
static const char *swpy_find_by_observation(size_t public_size)
{
    uintptr_t base, top;
    PyThreadState *ts = swpy_attached();
    if (sw_native_bounds(&base, &top) != 0) {
        return "the operating system does not tell the bounds of the native stack";
    }
    ptrdiff_t place = swpy_find_bounds(ts, public_size, base, top);
    if (place == 0) {
        return "the bounds of the native stack were not found in the thread state";
    }
    ptrdiff_t next = (ptrdiff_t)(place + sizeof(uintptr_t));
    if (swpy_find_bounds(ts, (size_t)next, base, top) != 0) {
        return "the bounds of the native stack were found twice in the thread state";
    }
    swpy_protection.place = place;
    swpy_protection.margin = ((uintptr_t *)((char *)ts + place))[SWPY_HARD] - base;
    return NULL;
}

/* The least size that the setter accepts. It belongs to the interpreter's build, not to our headers. */
static size_t swpy_find_least_size(PyThreadState *ts)
{
    const size_t step = (size_t)4 << 10;
    for (size_t size = step; size <= (size_t)4 << 20; size += step) {
        if (swpy_protection.setter(ts, (void *)((uintptr_t)0x5341 << 28), size) == 0) {
            return size;
        }
        PyErr_Clear();
    }
    return 0;
}

static swpy_setter swpy_find_setter(void)
{
    /* Looked up at run time: one wheel serves all patch releases, and 3.14.0 has none. */
#ifdef _WIN32
    HMODULE python = NULL;
    GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                       (LPCSTR)&Py_GetVersion, &python);
    return (swpy_setter)(void *)GetProcAddress(python, "PyUnstable_ThreadState_SetStackProtection");
#else
    return (swpy_setter)dlsym(RTLD_DEFAULT, "PyUnstable_ThreadState_SetStackProtection");
#endif
}

static const char *swpy_find_place(PyThreadState *ts, swpy_probe probe)
{
    size_t public_size = swpy_public_size();
    if (!SWPY_LAYOUT_STUDIED) {
        return "this CPython is newer than the layouts that were studied";
    }
    if (probe == SWPY_PROBE_OFF) {
        return "the probe of layouts is turned off (STACKWARDEN_PROBE=off)";
    }
    if (public_size == 0) {
        return "the interpreter's debug offsets are not those of this version";
    }
    return swpy_protection.setter != NULL ? swpy_find_by_setter(ts, public_size)
                                          : swpy_find_by_observation(public_size);
}

/* Fills swpy_protection with the best mechanism. Requires: attached. Leaves no exception pending. */
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
    /* The least size is three margins. */
    swpy_protection.reserve = swpy_protection.least_size != 0 ? swpy_protection.least_size / 3 * 2 : SWPY_DEFAULT_RESERVE;
    swpy_protection.mechanism = reason == NULL ? SWPY_POINTER
                              : swpy_protection.setter != NULL && swpy_protection.least_size != 0 ? SWPY_SETTER
                                                                                                  : SWPY_NONE;
    PyOS_snprintf(swpy_protection.reason, sizeof swpy_protection.reason, "%s", reason != NULL ? reason : "");
}

/* Can this mechanism be had here? NULL, or why not. Puts it in force. */
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

/* The user's recursion limit has no part in these bounds. */
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
