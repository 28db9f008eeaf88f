/* state.h: the interpreter's execution state of one chain of stacks, swapped in place: saved from and loaded into a
 * thread state that stays the same, so that PyGILState_Ensure and everybody else see the thread state that they know.
 *
 * Promises: saving and loading allocate nothing. References move with the pointers: a saved state owns what it holds.
 * Requires of each function: attached, with `ts` the attached thread state, unless it says otherwise.
 *
 *   swpy_state_start()          once: does this interpreter have the layout that was compiled in? NULL, or why not
 *   swpy_state_clear(state)     as of a new thread state: no frames, no handled exception, depth 0; owns nothing
 *   swpy_state_is_checked(ts)   0: swpy_check_asyncio(ts) must come before the save
 *   swpy_state_save(ts, state)  the thread state keeps its values: a load must follow
 *   swpy_state_load(ts, state)  `state` owns nothing afterwards
 *   swpy_state_release(state)   release what a state without frames owns: chunks of the data stack, context
 *   swpy_state_is_idle(state)   has it no frames?
 *   swpy_state_frame(ts, state) the innermost frame of a saved state, a new reference; or NULL
 *   swpy_has_frames(ts)         has the thread state any? The caller's own, attached or not
 *   swpy_is_pristine(ts)        has it nothing yet that a load would overwrite?
 *   swpy_frame_tag(ts)          a hash of current frame and data stack, never 0: the same only with the same frames
 *   swpy_shared_save(state), swpy_shared_load(state)
 *                               what a stack with a thread state of its own, attached to it, shares all the same
 *
 * Not swapped: gilstate_counter and dict (the thread's); datastack_cached_chunk (appended in 3.14.4: compiled in, it
 * would write past 3.14.0's struct); delete_later (left in the thread state, the trashcan is emptied on the next stack
 * with room); async-generator hooks and coroutine_origin_tracking_depth (per thread). Depths of C calls are the
 * protection's (protection_counted.h). context_ver only grows: ContextVar caches by (thread state id, version), and
 * with the version restored 199 of 200 reads were wrong on all five versions.
 *
 * The file of each version defines swpy_version_state, swpy_check_asyncio, and swpy_version_ followed by start, clear,
 * is_checked, save, load, release, is_idle, frame_swap, shared_save, shared_load. */
#ifndef SWPY_STATE_H
#define SWPY_STATE_H

#include <stdlib.h>
#include <string.h>

#include "thread_state.h"

typedef struct swpy_state swpy_state;

#if SWPY_311
#include "state_311.h"
#elif PY_VERSION_HEX < 0x030D0000
#include "state_312.h"
#elif PY_VERSION_HEX < 0x030E0000
#include "state_313.h"
#elif PY_VERSION_HEX < 0x030F0000
#include "state_314.h"
#else
#include "state_315.h"
#endif

#ifndef SWPY_BOTTOM_FRAME
#define SWPY_BOTTOM_FRAME(ts) NULL
#endif

struct swpy_state {
    _PyStackChunk *datastack_chunk;
    PyObject **datastack_top;
    PyObject **datastack_limit;
    _PyErr_StackItem *exc_info; /* NULL: the thread state's own item ... */
    _PyErr_StackItem exc_state; /* ... saved by value, because a stack without frames may change thread states */
    PyObject *context; /* strong, or NULL */
    int tracing;
    int recursion_headroom;
    swpy_version_state version;
};

_Static_assert(sizeof(swpy_state) <= 200, "leaves room in 256 bytes for the other fields of sw_execution");

static inline void swpy_state_clear(swpy_state *state)
{
    memset(state, 0, sizeof *state);
    swpy_version_clear(&state->version);
}

static inline int swpy_state_is_checked(PyThreadState *ts)
{
    return swpy_version_is_checked(ts);
}

static inline void swpy_state_save(PyThreadState *ts, swpy_state *state)
{
    state->datastack_chunk = ts->datastack_chunk;
    state->datastack_top = ts->datastack_top;
    state->datastack_limit = ts->datastack_limit;
    state->exc_info = ts->exc_info != &ts->exc_state ? ts->exc_info : NULL;
    state->exc_state = ts->exc_state;
    state->context = ts->context;
    state->tracing = ts->tracing;
    state->recursion_headroom = ts->recursion_headroom;
    swpy_version_save(ts, &state->version);
}

static inline void swpy_state_load(PyThreadState *ts, swpy_state *state)
{
    ts->datastack_chunk = state->datastack_chunk;
    ts->datastack_top = state->datastack_top;
    ts->datastack_limit = state->datastack_limit;
    ts->exc_info = state->exc_info != NULL ? state->exc_info : &ts->exc_state;
    ts->exc_state = state->exc_state;
    ts->context = state->context;
    ts->context_ver++;
    ts->tracing = state->tracing;
    ts->recursion_headroom = state->recursion_headroom;
    swpy_version_load(ts, &state->version);
}

static inline void swpy_state_release(swpy_state *state)
{
    PyObjectArenaAllocator arenas;
    _PyStackChunk *chunk = state->datastack_chunk;
    PyObject_GetArenaAllocator(&arenas);
    while (chunk != NULL) {
        _PyStackChunk *previous = chunk->previous;
        arenas.free(arenas.ctx, chunk, chunk->size);
        chunk = previous;
    }
    PyObject *context = state->context;
    PyObject *handled = state->exc_state.exc_value;
    swpy_version_release(&state->version);
    swpy_state_clear(state);
    Py_XDECREF(handled);
    Py_XDECREF(context);
}

static inline void swpy_shared_save(swpy_state *state)
{
    swpy_version_shared_save(&state->version);
}

static inline void swpy_shared_load(swpy_state *state)
{
    swpy_version_shared_load(&state->version);
}

static inline int swpy_state_is_idle(const swpy_state *state)
{
    return swpy_version_is_idle(&state->version);
}

static inline int swpy_has_frames(PyThreadState *ts)
{
    return swpy_version_current_frame(ts) != SWPY_BOTTOM_FRAME(ts);
}

static inline int swpy_is_pristine(PyThreadState *ts)
{
    return ts->datastack_chunk == NULL && ts->context == NULL;
}

static inline uint32_t swpy_frame_tag(PyThreadState *ts)
{
    uint64_t place = (uint64_t)(uintptr_t)swpy_version_current_frame(ts) * 31 + (uint64_t)(uintptr_t)ts->datastack_top;
    return (uint32_t)(place >> 3) | 1;
}

/* The saved frame takes the current one's place while CPython makes the frame object. */
static inline PyObject *swpy_state_frame(PyThreadState *ts, swpy_state *state)
{
    swpy_version_frame_swap(ts, &state->version);
    PyObject *frame = (PyObject *)PyThreadState_GetFrame(ts);
    swpy_version_frame_swap(ts, &state->version);
    return frame;
}

/* ---- does this interpreter have the layout that was compiled in? ---- */

/* A frame object points at its interpreter frame behind f_back (3.11 and later). */
static int swpy_sees_frame(PyThreadState *ts)
{
    PyObject *frame = (PyObject *)PyThreadState_GetFrame(ts);
    if (frame == NULL) {
        return 0;
    }
    void **fields = (void **)((char *)frame + sizeof(PyObject));
    int seen = fields[1] == (void *)swpy_version_python_frame(ts);
    Py_DECREF(frame);
    return seen;
}

static int swpy_sees_context(PyThreadState *ts)
{
    PyObject *context = PyContext_New();
    int seen = 0;
    if (context != NULL && PyContext_Enter(context) == 0) {
        seen = ts->context == context;
        PyContext_Exit(context);
    }
    Py_XDECREF(context);
    return seen;
}

static int swpy_sees_exception(PyThreadState *ts)
{
    PyObject *former = PyErr_GetHandledException();
    PyObject *handled = PyObject_CallNoArgs(PyExc_Exception);
    PyErr_SetHandledException(handled);
    int seen = handled != NULL && ts->exc_info->exc_value == handled;
    PyErr_SetHandledException(former);
    Py_XDECREF(former);
    Py_XDECREF(handled);
    return seen;
}

static int swpy_sees_datastack(PyThreadState *ts)
{
    char *chunk = (char *)ts->datastack_chunk;
    return chunk != NULL && (char *)ts->datastack_top > chunk && ts->datastack_top <= ts->datastack_limit
        && (char *)ts->datastack_limit == chunk + ts->datastack_chunk->size;
}

static const char *swpy_state_start(void)
{
    PyThreadState *ts = swpy_attached();
    const char *reason = NULL;
    if (ts->id != (uint64_t)PyThreadState_GetID(ts)) {
        reason = "the thread state's id is not where it should be";
    }
    else if (!SWPY_LAYOUT_STUDIED) {
        reason = "this CPython is newer than the layouts that were studied";
    }
    else if (!swpy_sees_frame(ts)) {
        reason = "the current frame is not where it should be";
    }
    else if (!swpy_sees_datastack(ts)) {
        reason = "the data stack is not where it should be";
    }
    else if (!swpy_sees_exception(ts)) {
        reason = "the exception being handled is not where it should be";
    }
    else if (!swpy_sees_context(ts)) {
        reason = "the context is not where it should be";
    }
    PyErr_Clear();
    return reason != NULL ? reason : swpy_version_start(ts);
}

#endif
