/* trashcan.h: CPython's trashcan: objects whose deallocation it deferred because the stack was nearly used up.
 *
 * They hang off the thread state (delete_later), and a later deallocation frees them, once there is room. On a stack
 * with wrong bounds that never comes: they leak (python/cpython #157519).
 * Promises: swpy_drain_trashcan() frees them now, where this CPython has a function for that. */
#ifndef SWPY_TRASHCAN_H
#define SWPY_TRASHCAN_H

#include "thread_state.h"

#ifdef _WIN32
#define swpy_find_symbol(name) NULL
#else
#include <dlfcn.h>
#define swpy_find_symbol(name) dlsym(RTLD_DEFAULT, name)
#endif

#if PY_VERSION_HEX < 0x030D0000
/* 3.11 and 3.12 free the list at the end of an outermost pair of these two. Inside of another pair the first may put
 * its argument on the list. */
static int (*swpy_trash_begin)(PyThreadState *ts, PyObject *object);
static void (*swpy_trash_end)(PyThreadState *ts);

static int swpy_trashcan_start(void)
{
    swpy_trash_begin = (int (*)(PyThreadState *, PyObject *))swpy_find_symbol("_PyTrash_begin");
    swpy_trash_end = (void (*)(PyThreadState *))swpy_find_symbol("_PyTrash_end");
    return swpy_trash_begin != NULL && swpy_trash_end != NULL;
}

#if SWPY_311
#define SWPY_TRASH(ts, field) (ts)->trash_##field
#else
#define SWPY_TRASH(ts, field) (ts)->trash.field
#endif

static inline int swpy_has_trash(PyThreadState *ts)
{
    return SWPY_TRASH(ts, delete_later) != NULL;
}

static inline void swpy_drain_trashcan(PyThreadState *ts)
{
    if (swpy_trash_begin != NULL && swpy_trash_end != NULL && SWPY_TRASH(ts, delete_nesting) == 0
        && !swpy_trash_begin(ts, Py_None)) {
        swpy_trash_end(ts);
    }
}
#else
static void (*swpy_destroy_chain)(PyThreadState *ts); /* exported since 3.13 */

static int swpy_trashcan_start(void)
{
    swpy_destroy_chain = (void (*)(PyThreadState *))swpy_find_symbol("_PyTrash_thread_destroy_chain");
    return swpy_destroy_chain != NULL;
}

static inline int swpy_has_trash(PyThreadState *ts)
{
    return ts->delete_later != NULL;
}

static inline void swpy_drain_trashcan(PyThreadState *ts)
{
    if (swpy_destroy_chain != NULL && ts->delete_later != NULL) {
        swpy_destroy_chain(ts);
    }
}
#endif

#endif
