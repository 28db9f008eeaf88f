/* nOS-V's way: tasks run on workers, and a task that pauses hands its core to another worker. Each worker is a thread of
 * the operating system, on the stack that it was made with: nothing is switched, and nothing has to be told.
 *
 * What is marked with "beacon" may be added: the workers' stacks are known then before they enter Python. */
#include <stackwarden/beacon.h> /* beacon */

#include <pthread.h>
#include <stdlib.h>

STACKWARDEN_BEACON("nos-v") /* beacon */

#define STACK_SIZE ((size_t)8 << 20) /* bytes; as nOS-V's misc.stack_size has it */

typedef struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    int may_run;
    void (*task)(void);
} worker;

static worker workers[2];

static void wait_for_turn(worker *self)
{
    pthread_mutex_lock(&self->lock);
    while (!self->may_run) {
        pthread_cond_wait(&self->turn, &self->lock);
    }
    self->may_run = 0;
    pthread_mutex_unlock(&self->lock);
}

static void hand_over(worker *to)
{
    pthread_mutex_lock(&to->lock);
    to->may_run = 1;
    pthread_cond_signal(&to->turn);
    pthread_mutex_unlock(&to->lock);
}

static void *start(void *argument)
{
    worker *self = argument, *other = &workers[self == &workers[0]];
    stackwarden_beacon_reset(); /* beacon */
    if (self == &workers[0]) {
        hand_over(other); /* its task pauses */
    }
    wait_for_turn(self);
    self->task();
    hand_over(other);
    return NULL;
}

static void create(worker *self)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    if (pthread_create(&self->thread, &attributes, start, self) != 0) {
        abort();
    }
    pthread_attr_destroy(&attributes);
}

/* Run a function as the task of two workers, of which one pauses for the other. */
__attribute__((visibility("default"))) void run(void (*work)(void))
{
    for (int i = 0; i < 2; i++) {
        workers[i] = (worker){.task = work};
        pthread_mutex_init(&workers[i].lock, NULL);
        pthread_cond_init(&workers[i].turn, NULL);
    }
    create(&workers[0]);
    create(&workers[1]);
    pthread_join(workers[0].thread, NULL);
    pthread_join(workers[1].thread, NULL);
}
