/* state.h: the interpreter's execution state of one chain of stacks, saved from and loaded into a thread state in
 * place, so that PyGILState_Ensure and everybody else go on seeing the thread state they know.
 *
 * Promises: at most 256 bytes; nothing allocated on save and load; references move with the pointers, so that a
 * saved state owns what it holds. Requires of every function: attached, `ts` the attached thread state.
 *
 *   swpy_state_start()           once: check the layout against what can be observed; NULL, or why not
 *   swpy_state_clear(state)      as a new thread state has it: no frames, no exception handled, depth 0; owns nothing
 *   swpy_state_is_checked(ts)    else swpy_check_asyncio(ts) must come before a save
 *   swpy_state_save(ts, state)   from the thread state, which is left with what it holds: load must follow
 *   swpy_state_load(ts, state)   into the thread state; `state` holds nothing afterwards
 *   swpy_state_release(state)    give back what a finished one owns: data-stack chunks and context
 *   swpy_state_is_idle(state)    has it no frames?
 *   swpy_has_frames(ts)          has the thread state any? Not for `ts` of others; attached or not
 *   swpy_is_pristine(ts)         did nothing run in this thread state yet that a load would overwrite?
 *   swpy_state_frame(ts, state)  the innermost frame of a saved state, a new reference, or NULL
 *   swpy_shared_save(state), swpy_shared_load(state)   what a stack with a thread state of its own shares with others all
 *                                the same; attached to it
 *   swpy_frame_tag(ts)                current frame and data stack folded into a word that is never 0
 *
 * Not swapped: gilstate_counter and dict (the thread's); datastack_cached_chunk (appended in 3.14.4: compiled in, it
 * would write past 3.14.0's struct); delete_later (left in the thread state it is freed from the next stack with
 * room); async-generator hooks and coroutine_origin_tracking_depth (per thread). The counted C depth is the
 * protection's (protection_counted.h). context_ver only grows: ContextVar caches on (thread state id, version), and
 * with the version restored 199 of 200 reads were wrong on all five versions.
 *
 * The file of each version defines swpy_version_state and swpy_version_{start,clear,is_checked,save,load,release,is_idle,
 * frame_swap}, swpy_version_{leave,enter}_own, and swpy_check_asyncio. */
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
    _PyErr_StackItem exc_state; /* ... which is kept by value: a stack without frames may change thread states */
    PyObject *context; /* strong, or NULL */
    int tracing;
    int recursion_headroom;
    swpy_version_state version;
};

_Static_assert(sizeof(swpy_state) <= 200, "a state and its owner's marks are to stay under 256 bytes");

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

/* The innermost frame of a saved state: its frame stands in for the current one while CPython makes the object. */
static inline PyObject *swpy_state_frame(PyThreadState *ts, swpy_state *state)
{
    swpy_version_frame_swap(ts, &state->version);
    PyObject *frame = (PyObject *)PyThreadState_GetFrame(ts);
    swpy_version_frame_swap(ts, &state->version);
    return frame;
}

/* ---- does this interpreter have the layout that we were compiled for? ---- */

/* A frame object holds a pointer to its interpreter frame behind f_back (3.11 and later). */
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
