/* argobots.h: Python on the user threads of Argobots, for programs that link to it.  C11 and C++11.
 *
 *     stackwarden_argobots_tell();                            // once, after ABT_init(): bounds of all user threads
 *
 *     void work(void *argument)                               // given to ABT_thread_create()
 *     {
 *         stackwarden_user_thread self;
 *         if (stackwarden_argobots_enter(&self, NULL) == STACKWARDEN_DONE) {
 *             ...Python, and in the middle of it:
 *             stackwarden_argobots_yield(&self);
 *             stackwarden_user_thread_leave(&self);
 *         }
 *     }
 *
 * Around any other call that may switch (ABT_mutex_lock, ABT_eventual_wait ...):
 *
 *     stackwarden_user_thread_suspend(&self);
 *     ABT_eventual_wait(eventual, &value);
 *     stackwarden_user_thread_resume(&self, stackwarden_argobots_pass);
 *
 * When Argobots calls its tool callback (read in its sources, 1.2rc1): always BEFORE the switch and on the stack that
 * is left. THREAD_RUN comes on the stack of the scheduler, or of the user thread that yields or ends in favour of the
 * next one; THREAD_YIELD, THREAD_SUSPEND and THREAD_FINISH on that of the user thread itself. Nothing is called after
 * a switch, and nothing when a scheduler goes on. A user thread that waits for a mutex, a condition, an eventual, a
 * barrier suspends with that object's spinlock held. So the callback tells bounds, which takes no lock, and never
 * swaps execution state, which may wait for the GIL: that is what suspend and resume are for, outside of Argobots. */
#ifndef STACKWARDEN_ARGOBOTS_H
#define STACKWARDEN_ARGOBOTS_H

#include "user_thread.h" /* Python.h comes first, and declares what abt.h takes for granted */

#ifndef STACKWARDEN_ARGOBOTS_DECLARED /* by who loads it at run time, and has no header of it */
#include <abt.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The stack of a user thread, guard pages included, from its attributes.
 * Fails with: 0: it has none of its own, or none yet (libabt may allocate it when the thread first runs). */
static inline int stackwarden_argobots_bounds(ABT_thread thread, void **base, size_t *size)
{
    ABT_thread_attr attributes;
    if (ABT_thread_get_attr(thread, &attributes) != ABT_SUCCESS) {
        return 0;
    }
    int known = ABT_thread_attr_get_stack(attributes, base, size) == ABT_SUCCESS && *base != NULL && *size != 0;
    ABT_thread_attr_free(&attributes);
    return known;
}

/* A user thread runs next on this operating-system thread: its bounds. A stack that is registered is told of by its
 * handle; one that has entered Python is refused, and told of by stackwarden_user_thread_resume(). */
static inline void stackwarden_argobots_runs_(ABT_thread thread)
{
    void *base;
    size_t size;
    stackwarden_stack known;
    if (!stackwarden_argobots_bounds(thread, &base, &size)) {
        stackwarden_reset_stack();
        return;
    }
    uintptr_t low = ((uintptr_t)base + 15) & ~(uintptr_t)15;
    uintptr_t top = ((uintptr_t)base + size) & ~(uintptr_t)15;
    if (stackwarden_find_stack((const void *)(top - 16), &known) == STACKWARDEN_DONE) {
        stackwarden_switch_to(known.handle);
    }
    else {
        stackwarden_notify_stack_switch((const void *)low, top - low);
    }
}

static inline void stackwarden_argobots_event_(ABT_thread thread, ABT_xstream stream, uint64_t event,
                                               ABT_tool_context context, void *argument)
{
    (void)stream;
    (void)context;
    (void)argument;
    if (event == ABT_TOOL_EVENT_THREAD_RUN) {
        stackwarden_argobots_runs_(thread);
    }
    else {
        stackwarden_reset_stack();
    }
}

/* Be told by Argobots, from now on, of the bounds of all its user threads: those that call into Python without
 * entering are protected too, as long as they do not yield in the middle of it.
 * Requires: Argobots is initialised. It has one tool callback: this replaces another tool's. ABT_finalize() ends it.
 * Fails with: ABT_ERR_FEATURE_NA: built without the tool interface. Entering tells of bounds then. */
static inline int stackwarden_argobots_tell(void)
{
    return ABT_tool_register_thread_callback(stackwarden_argobots_event_,
                                             ABT_TOOL_EVENT_THREAD_RUN | ABT_TOOL_EVENT_THREAD_YIELD
                                                 | ABT_TOOL_EVENT_THREAD_SUSPEND | ABT_TOOL_EVENT_THREAD_FINISH,
                                             NULL);
}

/* The calling user thread goes into Python; stackwarden_user_thread_leave() is the way out.
 * Requires, Guarantees: those of stackwarden_user_thread_enter(). It is not cancelled (ABT_thread_cancel) before it is
 *   out: Argobots uses its stack again, with Python's frames on it.
 * Fails with: UNKNOWN_STACK: not on a user thread with a stack of its own. */
static inline stackwarden_status stackwarden_argobots_enter(stackwarden_user_thread *self, PyObject *context)
{
    ABT_thread thread;
    void *base;
    size_t size;
    if (ABT_self_get_thread(&thread) != ABT_SUCCESS || !stackwarden_argobots_bounds(thread, &base, &size)) {
        return STACKWARDEN_UNKNOWN_STACK;
    }
    return stackwarden_user_thread_enter(self, base, size, "argobots", context);
}

static inline void stackwarden_argobots_pass(void)
{
    ABT_thread_yield();
}

/* ABT_thread_yield() in the middle of Python.
 * Fails with: what stackwarden_user_thread_suspend() and stackwarden_user_thread_resume() fail with. */
static inline stackwarden_status stackwarden_argobots_yield(stackwarden_user_thread *self)
{
    stackwarden_status status = stackwarden_user_thread_suspend(self);
    if (status == STACKWARDEN_DONE) {
        ABT_thread_yield();
        status = stackwarden_user_thread_resume(self, stackwarden_argobots_pass);
    }
    return status;
}

#ifdef __cplusplus
}
#endif
#endif
