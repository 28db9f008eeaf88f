/* random_contexts.c: does with ucontext what a program may do, at random but the same for each seed, and says what it
 * saw: contexts that are saved and resumed once, twice, or never; uc_link; contexts that are left from the handler of a
 * signal; arguments; errno, rounding mode and blocked signals across switches; backtraces. On several threads.
 *
 *      random_contexts SEED          as a program
 *      int show(int seed)            as a library: says the same; 0 */
#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

#define FIBERS 6
#define THREADS 3
#define STEPS 60
#define STACK (128 << 10)

typedef enum { UNUSED, RUNNING, PARKED } state;

typedef struct {
    ucontext_t context, link;
    char *stack;
    state state;
    int lives;
} fiber;

typedef struct {
    fiber fibers[FIBERS], helper;
    ucontext_t home, handled;
    unsigned long random;
    int steps, current; /* -1: the thread's own stack */
    int leaves_handler;
    volatile int handled_times;
    size_t length;
    char said[1 << 16];
} world;

static __thread world *world_of_thread;

static __attribute__((noinline)) world *own(void)
{
    return world_of_thread;
}

static void say(const char *format, ...)
{
    world *w = own();
    va_list arguments;
    va_start(arguments, format);
    w->length += (size_t)vsnprintf(w->said + w->length, sizeof w->said - w->length, format, arguments);
    va_end(arguments);
}

static unsigned below(unsigned bound)
{
    world *w = own();
    w->random = w->random * 6364136223846793005ul + 1442695040888963407ul;
    return (unsigned)(w->random >> 33) % bound;
}

static void act(int depth);

/* ---- fibers ---- */

static int find_fiber(state wanted)
{
    unsigned start = below(FIBERS);
    for (unsigned i = 0; i < FIBERS; i++) {
        if (own()->fibers[(start + i) % FIBERS].state == wanted) {
            return (int)((start + i) % FIBERS);
        }
    }
    return -1;
}

static void body(int number, int b, int c, int d, int e, int f, int g, int h)
{
    world *w = own();
    say("fiber %d begins %d %d %d %d %d %d %d\n", number, b, c, d, e, f, g, h);
    for (unsigned i = below(4); i-- > 0 && w->steps > 0;) {
        act(0);
    }
    void *frames[64];
    say("%d frames\n", backtrace(frames, 64));
    say("fiber %d ends\n", number);
    w->fibers[number].state = UNUSED;
}

/* Every switch comes here: what has to survive it does. */
static void cross(ucontext_t *from, ucontext_t *to, int next)
{
    world *w = own();
    int before = w->current, rounding = (int)below(2) ? FE_UPWARD : FE_TONEAREST, number = (int)below(100);
    sigset_t blocked;
    sigemptyset(&blocked);
    if (below(2)) {
        sigaddset(&blocked, SIGUSR2);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    fesetround(rounding);
    errno = number;
    w->current = next;
    int status = swapcontext(from, to);
    number = errno;
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    own()->current = before;
    say("%d is back: %d, errno %d, rounding %d, blocked %d\n", before, status, number, fegetround() == rounding,
        sigismember(&now, SIGUSR2) == sigismember(&blocked, SIGUSR2));
    fesetround(FE_TONEAREST);
}

static void begin_fiber(void)
{
    world *w = own();
    int next = find_fiber(UNUSED);
    if (next < 0) {
        return;
    }
    fiber *self = &w->fibers[next];
    getcontext(&self->context);
    self->context.uc_stack.ss_sp = self->stack;
    self->context.uc_stack.ss_size = STACK;
    self->context.uc_link = &self->link;
    self->state = RUNNING;
    int n = (int)below(100);
    makecontext(&self->context, (void (*)(void))body, 8, next, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6);
    say("%d begins %d\n", w->current, next);
    cross(&self->link, &self->context, next);
}

static void park(void)
{
    world *w = own();
    int current = w->current;
    if (current >= 0) {
        w->fibers[current].state = PARKED;
        cross(&w->fibers[current].context, &w->fibers[current].link, -1);
    }
}

static void resume(void)
{
    world *w = own();
    int next = find_fiber(PARKED);
    if (next >= 0 && w->current < 0) {
        w->fibers[next].state = RUNNING;
        say("%d resumes %d\n", w->current, next);
        cross(&w->fibers[next].link, &w->fibers[next].context, next);
    }
}

static void forget(void)
{
    int parked = find_fiber(PARKED);
    if (parked >= 0) {
        say("%d is never resumed\n", parked);
        own()->fibers[parked].state = UNUSED;
    }
}

/* ---- one context, several times ---- */

static void nothing(void) {}

static __attribute__((noinline)) void resume_again(void)
{
    world *w = own();
    volatile unsigned times = 0, most = 1 + below(3);
    volatile int current = w->current;
    ucontext_t saved;
    getcontext(&w->helper.context);
    w->helper.context.uc_stack.ss_sp = w->helper.stack;
    w->helper.context.uc_stack.ss_size = STACK;
    w->helper.context.uc_link = &saved;
    makecontext(&w->helper.context, nothing, 0);
    int status = swapcontext(&saved, &w->helper.context);
    times++;
    say("%d saved once, resumed %u: %d\n", current, times, status);
    if (times < most) {
        volatile char pad[256];
        memset((char *)pad, (int)times, sizeof pad);
        setcontext(&saved);
        say("never\n");
    }
}

static __attribute__((noinline)) void go_round(void)
{
    volatile unsigned times = 0, most = below(4);
    ucontext_t here;
    int status = getcontext(&here);
    say("here %u: %d\n", times, status);
    if (times++ < most) {
        setcontext(&here);
        say("never\n");
    }
}

/* ---- signals ---- */

static void helper_body(void)
{
    for (;;) {
        own()->handled_times++;
        swapcontext(&own()->helper.context, &own()->handled);
    }
}

static void handle(int number)
{
    world *w = own();
    (void)number;
    if (w == NULL) {
        return;
    }
    if (w->leaves_handler) {
        w->leaves_handler = 0;
        setcontext(&w->handled);
    }
    getcontext(&w->helper.context);
    w->helper.context.uc_stack.ss_sp = w->helper.stack;
    w->helper.context.uc_stack.ss_size = STACK;
    w->helper.context.uc_link = NULL;
    makecontext(&w->helper.context, helper_body, 0);
    swapcontext(&w->handled, &w->helper.context);
    swapcontext(&w->handled, &w->helper.context);
}

static void signal_that_switches(void)
{
    int before = own()->handled_times;
    raise(SIGUSR1);
    say("handled %d\n", own()->handled_times - before);
}

static __attribute__((noinline)) void signal_that_leaves(void)
{
    volatile int left = 0;
    getcontext(&own()->handled);
    if (!left) {
        left = 1;
        own()->leaves_handler = 1;
        raise(SIGUSR1);
        say("never\n");
    }
    say("left the handler\n");
}

/* Comes at any moment, and only looks. */
static void tick(int number)
{
    ucontext_t seen;
    (void)number;
    getcontext(&seen);
}

/* ---- all of it ---- */

static __attribute__((noinline)) void deeper(int depth)
{
    volatile unsigned char local[200];
    unsigned char mark = (unsigned char)below(256);
    memset((unsigned char *)local, mark, sizeof local);
    act(depth + 1);
    for (size_t i = 0; i < sizeof local; i++) {
        if (local[i] != mark) {
            say("a local variable has changed\n");
            break;
        }
    }
}

static void act(int depth)
{
    static void (*const actions[])(void) = {
        begin_fiber,          begin_fiber,        park, resume, resume, forget, resume_again, go_round,
        signal_that_switches, signal_that_leaves,
    };
    if (own()->steps-- <= 0) {
        return;
    }
    unsigned chosen = below(sizeof actions / sizeof *actions + 4);
    if (chosen < sizeof actions / sizeof *actions) {
        actions[chosen]();
    }
    else if (depth < 5) {
        deeper(depth);
    }
}

static void *run(void *argument)
{
    world *w = world_of_thread = argument;
    w->current = -1;
    for (int i = 0; i < FIBERS; i++) {
        w->fibers[i].stack = malloc(STACK);
    }
    w->helper.stack = malloc(STACK);
    for (w->steps = STEPS; w->steps > 0;) {
        act(0);
    }
    say("%d handled in all\n", w->handled_times);
    world_of_thread = NULL;
    for (int i = 0; i < FIBERS; i++) {
        free(w->fibers[i].stack);
    }
    free(w->helper.stack);
    return w;
}

int show(int seed)
{
    pthread_t threads[THREADS];
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    struct sigaction switches = {.sa_handler = handle, .sa_flags = SA_RESTART};
    struct sigaction looks = {.sa_handler = tick, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &switches, NULL);
    sigaction(SIGALRM, &looks, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < THREADS; i++) {
        world *w = calloc(1, sizeof *w);
        w->random = (unsigned long)seed * 1000 + (unsigned long)i;
        pthread_create(&threads[i], NULL, run, w);
    }
    for (int i = 0; i < THREADS; i++) {
        void *w;
        pthread_join(threads[i], &w);
        fputs(((world *)w)->said, stdout);
        free(w);
    }
    world *w = calloc(1, sizeof *w);
    w->random = (unsigned long)seed;
    run(w);
    fputs(w->said, stdout);
    free(w);
    fflush(stdout);
    setitimer(ITIMER_REAL, &never, NULL);
    return 0;
}

int main(int count, char **words)
{
    return count == 2 ? show((int)strtol(words[1], NULL, 10)) : 2;
}
