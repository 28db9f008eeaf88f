/* qthreads' way: a worker executes one qthread after the other, by a jump of its own making (here for x86-64).
 *
 * What is marked with "beacon" is what a runtime of this kind adds. */
#include <stackwarden/beacon.h> /* beacon */

#include "stack.h"

#include <stdint.h>

STACKWARDEN_BEACON("qthreads") /* beacon */

#define STACK_SIZE ((size_t)256 << 10) /* bytes */

/* Save what the ABI says must be kept, and the stack pointer in *from; go on at `to`. */
void swap_context(void **from, void *to);
__asm__(".pushsection .text\n"
        ".hidden swap_context\n"
        ".globl swap_context\n"
        ".type swap_context, @function\n"
        "swap_context:\n"
        "    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp\n"
        "    ret\n"
        ".size swap_context, . - swap_context\n"
        ".popsection\n");

typedef struct {
    void *stack;
    void *context, *return_context; /* stack pointers */
    void (*work)(void);
} qthread;

static __thread qthread *current;

static void back_to_master(qthread *self)
{
    swap_context(&self->context, self->return_context);
}

static void wrapper(void)
{
    current->work();
    back_to_master(current);
    abort(); /* it is over */
}

/* The worker runs a qthread until that gives way. All switches to a qthread and all ways back are here. */
static void exec(qthread *self)
{
    current = self;
    stackwarden_beacon_switch(self->stack, STACK_SIZE); /* beacon */
    swap_context(&self->return_context, self->context);
    stackwarden_beacon_reset(); /* beacon */
}

static void make(qthread *self, void (*work)(void))
{
    self->stack = allocate_stack(STACK_SIZE);
    uintptr_t *top = (uintptr_t *)((char *)self->stack + STACK_SIZE) - 2;
    top[0] = (uintptr_t)wrapper; /* where the first `ret` goes; six registers lie below */
    self->context = top - 6;
    self->work = work;
}

static void give_way(void)
{
    back_to_master(current);
}

/* Run a function on a qthread, after another one was left in the middle. */
__attribute__((visibility("default"))) void run(void (*work)(void))
{
    qthread first, second;
    make(&first, give_way);
    make(&second, work);
    exec(&first);
    exec(&second);
    exec(&first);
    free_stack(first.stack, STACK_SIZE);
    free_stack(second.stack, STACK_SIZE);
}
