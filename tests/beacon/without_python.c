/* without_python.c: a program that has a runtime with a beacon in it, and no Python. */
#include <stdio.h>

#include "runtime.h"

static int called;

static void count(void)
{
    called++;
}

int main(void)
{
    void *base = make_stack(RUNTIME_STACK);
    add_stack(base, RUNTIME_STACK, "one");
    for (int i = 0; i < 3; i++) {
        call_on(base, RUNTIME_STACK, count);
    }
    remove_stack(base);
    start_threads();
    stop_threads();
    printf("%d calls, heard: %d\n", called, is_heard());
    return 0;
}
