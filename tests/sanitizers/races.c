/* races.c: threads that use the core at once, for ThreadSanitizer to watch.
 *
 * Promises: uses the public header alone, as it may be used. hammer(rounds) starts a thread for each of the jobs
 * below. None has a thread state or holds the GIL, so that nothing but the core orders what they do; each tells of
 * a stack of its own. It returns how many calls of each job did not end as they must. race() races by itself.
 *
 * With SW_PLANTED_RACE the two threads that look stacks up race: run.py fails when that is not reported. */
#include <stackwarden/stackwarden.h>

#include <pthread.h>
#include <stdlib.h>

#define SIZE ((size_t)256 << 10)
#define JOBS 7

static char *memory; /* JOBS stacks side by side, one for each thread */
static int rounds;

static long wrong_unless(int expected)
{
    return expected ? 0 : 1;
}

/* A stack comes, is used, and goes; its handle is stale from then on. */
static long use_a_registered_stack(char *base, int round)
{
    stackwarden_stack stack = {0};
    (void)round;
    long wrong = wrong_unless(stackwarden_register_stack(base, SIZE, "name", "races", 0, &stack) == STACKWARDEN_DONE);
    wrong += wrong_unless(stackwarden_switch_to(stack.handle) == STACKWARDEN_DONE);
    wrong += wrong_unless(stackwarden_unregister_stack(stack.handle) == STACKWARDEN_IN_USE);
    wrong += wrong_unless(stackwarden_reset_stack() == STACKWARDEN_DONE);
    wrong += wrong_unless(stackwarden_unregister_stack(stack.handle) == STACKWARDEN_DONE);
    wrong += wrong_unless(stackwarden_switch_to(stack.handle) == STACKWARDEN_STALE_HANDLE);
    return wrong;
}

/* A stack that nobody registered. */
static long use_an_unregistered_stack(char *base, int round)
{
    stackwarden_request request = {0};
    (void)round;
    long wrong = wrong_unless(stackwarden_enter_stack(base, SIZE, &request) == STACKWARDEN_DONE);
    return wrong + wrong_unless(stackwarden_leave_stack(&request) == STACKWARDEN_DONE);
}

#if defined(SW_PLANTED_RACE)
static long finds;

static void count_a_find(void)
{
    finds++;
}
#else
static void count_a_find(void) {}
#endif

/* A lookup among stacks that come and go finds the whole truth or nothing. */
static long find(char *base, int round)
{
    stackwarden_stack found;
    const char *address = memory + (size_t)(round % JOBS) * SIZE + SIZE / 2;
    (void)base;
    count_a_find();
    if (stackwarden_find_stack(address, &found) != STACKWARDEN_DONE) {
        return 0;
    }
    return wrong_unless(found.handle != 0 && (uintptr_t)address - found.base < found.size);
}

static void *visit(void *base)
{
    return (void *)use_an_unregistered_stack(base, 0);
}

/* Threads come and go. */
static long start_a_thread(char *base, int round)
{
    pthread_t thread;
    void *result;
    if (round % 100 != 0) {
        return 0;
    }
    pthread_create(&thread, NULL, visit, base);
    pthread_join(thread, &result);
    return (long)result;
}

static void nothing(const stackwarden_stack *from, const stackwarden_stack *to, void *arg)
{
    (void)from;
    (void)to;
    (void)arg;
}

static long register_a_callback(char *base, int round)
{
    (void)base;
    (void)round;
    long wrong = wrong_unless(stackwarden_register_switch_callback(nothing, NULL, 1) == STACKWARDEN_DONE);
    return wrong + wrong_unless(stackwarden_unregister_switch_callback(nothing, NULL) == STACKWARDEN_DONE);
}

typedef long job(char *base, int round);

static job *const jobs[JOBS] = {
    use_a_registered_stack, use_a_registered_stack, use_an_unregistered_stack, find, find,
    start_a_thread,         register_a_callback,
};

static void *work(void *number)
{
    long wrong = 0;
    for (int round = 0; round < rounds; round++) {
        wrong += jobs[(uintptr_t)number](memory + (uintptr_t)number * SIZE, round);
    }
    return (void *)wrong;
}

static PyObject *hammer(PyObject *module, PyObject *argument)
{
    pthread_t threads[JOBS];
    void *results[JOBS];
    PyObject *wrong = PyList_New(JOBS);
    (void)module;
    rounds = (int)PyLong_AsLong(argument);
    memory = aligned_alloc(4096, JOBS * SIZE);
    if (wrong == NULL || memory == NULL) {
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    for (intptr_t i = 0; i < JOBS; i++) {
        pthread_create(&threads[i], NULL, work, (void *)i);
    }
    for (int i = 0; i < JOBS; i++) {
        pthread_join(threads[i], &results[i]);
    }
    Py_END_ALLOW_THREADS
    free(memory);
    for (int i = 0; i < JOBS; i++) {
        PyList_SetItem(wrong, i, PyLong_FromLong((long)results[i]));
    }
    return wrong;
}

static int shared;

static void *write_shared(void *unused)
{
    shared++;
    return unused;
}

static PyObject *race(PyObject *module, PyObject *unused)
{
    pthread_t thread;
    (void)module;
    (void)unused;
    pthread_create(&thread, NULL, write_shared, NULL);
    shared++;
    pthread_join(thread, NULL);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"hammer", hammer, METH_O, NULL}, {"race", race, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "races", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_races(void)
{
    return stackwarden_import() < 0 ? NULL : PyModule_Create(&definition);
}
