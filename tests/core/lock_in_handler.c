/* lock_in_handler.c: signal handlers of a thread that holds the lock of the platform, or waits for it; both fork.
 *
 *      holder     the handler is refused; what it interrupted unlocks, in the parent and in the child
 *      stubborn   ... but waits until it is not, for good
 *      waiter     the fork waits for the other thread, which holds the lock; what it interrupted then gets it, in the
 *                 parent and in the child
 *      unheld     ... but the fork does not wait, and the child waits for good
 *
 * Ends with 0, or SIGALRM for what waits for good. */
/* The lock itself is static there. */
#include "../../cython_src/platform/posix.c" /* NOLINT(bugprone-suspicious-include) */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const char *what;
static volatile int refusals, children, handling;
static volatile pid_t child = -1;
static pthread_t first;

static int is(const char *word)
{
    return strcmp(what, word) == 0;
}

static void require(int is_so, int line)
{
    if (!is_so) {
        printf("line %d\n", line);
        exit(1);
    }
}
#define REQUIRE(condition) require(condition, __LINE__)

static void handle(int number)
{
    (void)number;
    handling = 1;
    while (is("stubborn") && !sw_lock()) {
        sched_yield();
    }
    refusals += is("holder") && !sw_lock();
    child = is("unheld") ? (pid_t)syscall(SYS_fork) : fork();
    if (child == 0) {
        alarm(is("unheld") ? 1 : 60);
    }
}

static void at_exit(void *block)
{
    (void)block;
}

static void in_child(void)
{
    REQUIRE(!sw_holds_lock());
    children++;
}

static void *hold_until_handled(void *unused)
{
    sw_lock();
    handling = 2;
    while (!atomic_load(&lock.is_wanted)) {
        sched_yield();
    }
    pthread_kill(first, SIGUSR1);
    while (handling != 1) {
        sched_yield();
    }
    if (is("unheld")) {
        while (child == -1) {
            sched_yield();
        }
    }
    sw_unlock();
    return unused;
}

static void be_interrupted_holding(void)
{
    REQUIRE(sw_lock());
    raise(SIGUSR1);
    REQUIRE(refusals == 1 && sw_holds_lock() && children == 0);
    sw_unlock();
}

static void be_interrupted_waiting(void)
{
    pthread_t other;
    first = pthread_self();
    REQUIRE(pthread_create(&other, NULL, hold_until_handled, NULL) == 0);
    while (handling != 2) {
        sched_yield();
    }
    REQUIRE(sw_lock());
    sw_unlock();
    if (child != 0) {
        pthread_join(other, NULL);
    }
}

/* In the parent: the child has ended well. */
static void finish(void)
{
    int status = 0;
    REQUIRE(lock.holder == 0 && lock.nested == 0 && children == (child == 0));
    REQUIRE(sw_lock());
    sw_unlock();
    if (child == 0) {
        exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) {
        raise(WTERMSIG(status));
    }
    REQUIRE(status == 0);
}

int main(int count, char **arguments)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    what = count > 1 ? arguments[1] : "";
    REQUIRE(sw_platform_start(at_exit, in_child) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    alarm(is("stubborn") ? 1 : 60);
    if (is("holder") || is("stubborn")) {
        be_interrupted_holding();
    }
    else {
        be_interrupted_waiting();
    }
    finish();
    children = 0;
    child = fork(); /* an ordinary one */
    finish();
    return 0;
}
