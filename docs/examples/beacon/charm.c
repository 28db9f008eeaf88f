/* Charm++'s way: Cth threads, each resumed by the one before; the thread that was there first has no stack of its own.
 *
 * What is marked with "beacon" is what a runtime of this kind adds. */
#include <stackwarden/beacon.h> /* beacon */

#include "stack.h"

#include <ucontext.h>

STACKWARDEN_BEACON("charm++") /* beacon */

typedef struct thread {
    char *stack; /* NULL: that of the operating system's thread */
    size_t stack_size; /* bytes */
    ucontext_t context;
    void (*work)(void);
    struct thread *next; /* who goes on when the work is done */
} thread;

static __thread thread *current;

/* What every resume goes through, whatever the jump is made with. */
static void base_resume(thread *to)
{
    current = to;
    if (to->stack != NULL) { /* beacon: these five lines */
        stackwarden_beacon_switch(to->stack, to->stack_size);
    }
    else {
        stackwarden_beacon_reset();
    }
}

static void resume(thread *to)
{
    thread *from = current;
    base_resume(to);
    swapcontext(&from->context, &to->context);
}

static void start(void)
{
    current->work();
    resume(current->next);
}

static void create(thread *self, void (*work)(void), thread *next)
{
    self->stack_size = (size_t)256 << 10;
    self->stack = allocate_stack(self->stack_size);
    self->work = work;
    self->next = next;
    getcontext(&self->context);
    self->context.uc_stack.ss_sp = self->stack;
    self->context.uc_stack.ss_size = self->stack_size;
    self->context.uc_link = NULL;
    makecontext(&self->context, start, 0);
}

static void nothing(void) {}

/* Run a function on the second of two threads. */
__attribute__((visibility("default"))) void run(void (*work)(void))
{
    thread main_thread = {0}, first, second;
    current = &main_thread;
    create(&second, work, &main_thread);
    create(&first, nothing, &second);
    resume(&first);
    free_stack(first.stack, first.stack_size);
    free_stack(second.stack, second.stack_size);
}
