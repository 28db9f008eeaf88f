/* sanitizer.h: tells AddressSanitizer and ThreadSanitizer of a switch.
 *
 * Their functions are weak symbols: without a sanitizer each costs a test of an address. */
#ifndef STACKWARDEN_COROUTINE_SANITIZER_H
#define STACKWARDEN_COROUTINE_SANITIZER_H

#include <stddef.h>

extern void __sanitizer_start_switch_fiber(void **fake_stack, const void *base, size_t size) __attribute__((weak));
extern void __sanitizer_finish_switch_fiber(void *fake_stack, const void **base, size_t *size) __attribute__((weak));
extern void *__tsan_get_current_fiber(void) __attribute__((weak));
extern void *__tsan_create_fiber(unsigned flags) __attribute__((weak));
extern void __tsan_destroy_fiber(void *fiber) __attribute__((weak));
extern void __tsan_switch_to_fiber(void *fiber, unsigned flags) __attribute__((weak));

/* One side of a switch: a stack, and what the sanitizers know it by. */
typedef struct {
    const void *base;
    size_t size;
    void *fake_stack;
    void *fiber;
} sanitizer_side;

static inline void sanitizer_make(sanitizer_side *side, const void *base, size_t size)
{
    side->base = base;
    side->size = size;
    side->fake_stack = NULL;
    side->fiber = __tsan_create_fiber ? __tsan_create_fiber(0) : NULL;
}

static inline void sanitizer_free(sanitizer_side *side)
{
    if (__tsan_destroy_fiber && side->fiber) {
        __tsan_destroy_fiber(side->fiber);
    }
}

/* Right before a switch. `ends`: the current stack is not resumed. */
static inline void sanitizer_start_switch(sanitizer_side *from, const sanitizer_side *to, int ends)
{
    if (__tsan_switch_to_fiber) {
        from->fiber = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(to->fiber, 0);
    }
    if (__sanitizer_start_switch_fiber) {
        __sanitizer_start_switch_fiber(ends ? NULL : &from->fake_stack, to->base, to->size);
    }
}

/* Right after a switch, on the stack `to`: its fake stack is active again, and the bounds of `from` are filled in. */
static inline void sanitizer_finish_switch(sanitizer_side *to, sanitizer_side *from)
{
    if (__sanitizer_finish_switch_fiber) {
        __sanitizer_finish_switch_fiber(to->fake_stack, &from->base, &from->size);
    }
}

#endif
