/* massivethreads.h: Python on the user threads of MassiveThreads, for programs that link to it.  C11 and C++11.
 *
 *     void *work(void *argument)                              // given to myth_create_ex(), with a stack of 256 KiB
 *     {
 *         stackwarden_user_thread self;
 *         if (stackwarden_massivethreads_enter(&self, 256 * 1024, NULL) == STACKWARDEN_DONE) {
 *             ...Python, and in the middle of it:
 *             stackwarden_massivethreads_yield(&self);
 *             stackwarden_user_thread_leave(&self);
 *         }
 *         return NULL;
 *     }
 *
 * Around any other call that may switch: stackwarden_user_thread_suspend() and stackwarden_user_thread_resume() with
 * stackwarden_massivethreads_pass; myth_yield is not enough there. myth_create() may switch too: it runs the new thread
 * at once, child first, and another worker may steal the caller meanwhile. The main program may be stolen as well, and
 * Python knows it by its operating-system thread: stackwarden_user_thread_pin() before the pair brings it back there.
 *
 * Of a thread's stack nobody is told (1.02: myth_thread_attr_setstack is ignored, myth_getattr_np not exported), but it
 * ends on a page boundary, and the first function on it is less than 128 bytes below. */
#ifndef STACKWARDEN_MASSIVETHREADS_H
#define STACKWARDEN_MASSIVETHREADS_H

#include "user_thread.h" /* Python.h comes first, and declares what myth/myth.h takes for granted */

#ifndef STACKWARDEN_MASSIVETHREADS_DECLARED /* by who loads it at run time, and has no header of it */
#include <myth/myth.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The calling user thread goes into Python; stackwarden_user_thread_leave() is the way out.
 * Requires, Guarantees: those of stackwarden_user_thread_enter(). Called by the function that the thread began with,
 *   while it has used less than 3 KiB; stack_size is the thread's, in bytes.
 * Fails with: what stackwarden_user_thread_enter() fails with. */
static inline stackwarden_status stackwarden_massivethreads_enter(stackwarden_user_thread *self, size_t stack_size,
                                                                  PyObject *context)
{
    uintptr_t page = 4096;
    uintptr_t top = ((uintptr_t)__builtin_frame_address(0) + page - 1) & ~(page - 1);
    size_t size = (stack_size + page - 1) & ~(page - 1);
    return stackwarden_user_thread_enter(self, (const void *)(top - size), size, "massivethreads", context);
}

/* How often a user thread went on after stackwarden_massivethreads_pass(). */
__attribute__((weak, visibility("hidden"))) unsigned long stackwarden_massivethreads_passed_;

static inline unsigned long stackwarden_massivethreads_passes_(void)
{
    return __atomic_load_n(&stackwarden_massivethreads_passed_, __ATOMIC_ACQUIRE);
}

/* A thread that does nothing for a while, so that another worker may steal the one that made it. */
static inline void *stackwarden_massivethreads_linger_(void *passes)
{
    for (int i = 0; i < 100000 && stackwarden_massivethreads_passes_() == (unsigned long)(uintptr_t)passes; i++) {
        __asm__ volatile("" ::: "memory");
    }
    return NULL;
}

/* Let another worker go on with the caller. myth_yield() never does, where there is no other thread to run: it
 * returns without having been in a queue. Who makes a thread, child first, lies in the queue while the child runs. */
static inline void stackwarden_massivethreads_pass(void)
{
    myth_thread_attr_t attributes;
    myth_thread_t thread;
    memset(&attributes, 0, sizeof attributes);
    myth_thread_attr_init(&attributes);
    attributes.child_first = 1;
    if (myth_create_ex(&thread, &attributes, stackwarden_massivethreads_linger_,
                       (void *)(uintptr_t)stackwarden_massivethreads_passes_())
        == 0) {
        __atomic_add_fetch(&stackwarden_massivethreads_passed_, 1, __ATOMIC_RELEASE);
        myth_detach(thread);
    }
    myth_yield();
}

/* myth_yield() in the middle of Python.
 * Fails with: what stackwarden_user_thread_suspend() and stackwarden_user_thread_resume() fail with. */
static inline stackwarden_status stackwarden_massivethreads_yield(stackwarden_user_thread *self)
{
    stackwarden_status status = stackwarden_user_thread_suspend(self);
    if (status == STACKWARDEN_DONE) {
        myth_yield();
        status = stackwarden_user_thread_resume(self, stackwarden_massivethreads_pass);
    }
    return status;
}

#ifdef __cplusplus
}
#endif
#endif
