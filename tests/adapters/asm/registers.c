/* registers.c: two stacks with as many values alive as the compiler can be made to keep in registers, for tests.
 *
 * Prints nothing and returns 0 when every value is the one that was there before the jump. */
#include "machine.h"

#include <stdlib.h>

#define ROUNDS 100000

static void *here, *there;
static volatile long seed = 1; /* the compiler cannot know what comes of it */
static volatile double real_seed = 0.5;

#define VALUES(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
/* clang-format off */
#define DEFINE(n) long v##n = seed * (n + 3); double r##n = real_seed * (n + 7);
#define STEP(n) v##n += v##n % 7 + side; r##n = r##n / 2 + side + n;
#define COPY(n) long w##n = v##n; double q##n = r##n;
#define COMPARE(n) if (v##n != w##n || r##n != q##n) abort();
/* clang-format on */

static long go_round(int side, void **from, void **to)
{
    VALUES(DEFINE)
    for (int i = 0; i < ROUNDS; i++) {
        VALUES(STEP)
        VALUES(COPY)
        machine_jump(from, *to);
        VALUES(COMPARE)
    }
    return v0;
}

static void other(void *argument)
{
    if (argument != (void *)&here || ((size_t)__builtin_frame_address(0) & 15) != 0) {
        abort();
    }
    go_round(2, &there, &here);
    machine_jump(&there, here);
    abort();
}

int main(void)
{
    size_t size = 256 << 10;
    char *stack = aligned_alloc(16, size);
    there = machine_make(stack + size, other, &here);
    long mine = go_round(1, &here, &there);
    machine_jump(&here, there); /* to the end of go_round over there */
    free(stack);
    return mine == 0;
}
