/* protection_probe.h: where the three words of protection_pointer.h are, in this very interpreter.
 *
 * They lie behind PyThreadState, in _PyThreadStateImpl, whose layout changed inside 3.14 (3.14.4 appended a field;
 * python-greenlet/greenlet #527): so no offset is compiled in. Promises: the place is found by values that nothing else
 * there can have, and agrees with a thread state that CPython itself has filled. */

#define Py_BUILD_CORE
#include "internal/pycore_debug_offsets.h"
#undef Py_BUILD_CORE

PyAPI_DATA(struct pyruntimestate) _PyRuntime; /* begins with the debug offsets */

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#define SWPY_SEARCHED_WORDS 40 /* 3.15.2 has 11 words of other fields before the bounds, 3.14.0 one */
#define SWPY_LEAST_MARGIN ((uintptr_t)4 << 10)
#define SWPY_MOST_MARGIN ((uintptr_t)1 << 20)

/* sizeof(PyThreadState) in the interpreter that runs, from the debug offsets that it publishes (3.13 and later); 0:
 * they are not those of this version. */
static size_t swpy_public_size(void)
{
    const struct _Py_DebugOffsets *offsets = (const struct _Py_DebugOffsets *)&_PyRuntime;
    if (memcmp(offsets->cookie, _Py_Debug_Cookie, sizeof offsets->cookie) != 0 || offsets->version != Py_Version) {
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

/* The first place behind PyThreadState that has the bounds of [base, top), or 0. */
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

/* Does the attached thread state, which CPython has filled, have bounds of that form at that place? */
static int swpy_attached_agrees(ptrdiff_t place, uintptr_t margin)
{
    const uintptr_t *bounds = (const uintptr_t *)((char *)swpy_attached() + place);
    return bounds[SWPY_SOFT] - bounds[SWPY_HARD] == margin && bounds[SWPY_TOP] > bounds[SWPY_SOFT];
}

/* By the public setter, on a thread state that is never attached. NULL, or why not. */
static const char *swpy_find_by_setter(PyThreadState *ts, size_t public_size)
{
    /* No real stacks: CPython only stores the values. Two, so that no other word can match both. */
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

/* Without a setter (3.14.0): by the native stack's bounds, which the operating system tells. */
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
    size_t next = (size_t)place + sizeof(uintptr_t);
    if (swpy_find_bounds(ts, next, base, top) != 0) {
        return "the bounds of the native stack were found twice in the thread state";
    }
    swpy_protection.place = place;
    swpy_protection.margin = ((uintptr_t *)((char *)ts + place))[SWPY_HARD] - base;
    return NULL;
}

/* The smallest size that the setter accepts. It depends on how the interpreter was built, not on our headers. */
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
    /* At run time: one wheel serves all patch releases, and 3.14.0 has no setter. */
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
