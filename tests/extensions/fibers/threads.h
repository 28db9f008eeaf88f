/* threads.h: operating-system threads that resume fibers.
 *
 *      run_threads     each thread runs a program of its own, and starts without a thread state
 *      carry           threads take fibers from one queue, in random order, until all are done
 *
 * Requires of both: detached; they return when all threads have ended. */
#ifndef FIBERS_THREADS_H
#define FIBERS_THREADS_H

#include "program.h"

#include <pthread.h>
#include <stdlib.h>

static void *run_actor(void *self)
{
    actor_run(self);
    return NULL;
}

static void run_threads(actor *actors, long count)
{
    pthread_t threads[DEPTH];
    for (long i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, run_actor, &actors[i]);
    }
    for (long i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* ---- carriers ---- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    fiber **ready;
    pthread_t *last; /* where each fiber ran last, by the number of its actor */
    long count, undone;
    unsigned seed;
    long moves; /* how often a fiber went on on another thread than before */
    PyInterpreterState *interpreter; /* carriers get thread states of their own in it; NULL: they get none */
    int attached; /* carriers with a thread state attach it to switch */
    stackwarden_status refusal;
} queue;

/* A fiber that is ready, any of them, or NULL when all are done. Waits. */
static fiber *queue_take(queue *self)
{
    fiber *taken = NULL;
    pthread_mutex_lock(&self->lock);
    while (self->count == 0 && self->undone > 0) {
        pthread_cond_wait(&self->changed, &self->lock);
    }
    if (self->undone > 0) {
        long place = rand_r(&self->seed) % self->count;
        taken = self->ready[place];
        self->ready[place] = self->ready[--self->count];
        pthread_t *last = &self->last[((actor *)taken->own)->number];
        self->moves += taken->started && !pthread_equal(*last, pthread_self());
        *last = pthread_self();
    }
    pthread_mutex_unlock(&self->lock);
    return taken;
}

static void queue_give_back(queue *self, fiber *taken, stackwarden_status status)
{
    pthread_mutex_lock(&self->lock);
    if (status != STACKWARDEN_DONE) {
        self->refusal = status;
    }
    if (taken->done || status != STACKWARDEN_DONE) {
        self->undone--;
    }
    else {
        self->ready[self->count++] = taken;
    }
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static void carry_all(queue *self, PyThreadState *attach)
{
    fiber *taken;
    while ((taken = queue_take(self)) != NULL) {
        if (attach != NULL) {
            PyEval_RestoreThread(attach);
        }
        stackwarden_status status = fiber_resume(taken);
        if (attach != NULL) {
            PyEval_SaveThread();
        }
        queue_give_back(self, taken, status);
    }
}

/* Detached while it waits. */
static void *carrier(void *argument)
{
    queue *self = argument;
    if (self->interpreter == NULL) {
        carry_all(self, NULL);
        return NULL;
    }
    PyThreadState *own = PyThreadState_New(self->interpreter);
    PyEval_RestoreThread(own);
    PyEval_SaveThread();
    carry_all(self, self->attached ? own : NULL);
    PyEval_RestoreThread(own);
    PyThreadState_Clear(own);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static void carry(queue *self, long carriers)
{
    pthread_t threads[DEPTH];
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    for (long i = 0; i < carriers; i++) {
        pthread_create(&threads[i], NULL, carrier, self);
    }
    for (long i = 0; i < carriers; i++) {
        pthread_join(threads[i], NULL);
    }
}

#endif
