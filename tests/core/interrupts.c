/* interrupts.c: a signal handler in C that calls the C functions, at random moments of calls on its own thread.
 *
 *      run(own, handlers, others, size, least, forks) -> (done, refused, forked, wrong)
 *          own, handlers, others: three ranges of `size` bytes. The loop registers, looks up and unregisters the first,
 *          the handler the second, another thread the third, so that they wait for each other, until the handler was
 *          both done and refused with INTERRUPTED `least` times. With `forks` each eighth handler forks: in the child
 *          what it interrupted goes on, and then the child ends. Wrong is any other outcome, in the children too.
 *
 * With `forks` the stacks have no names, and nothing allocates: glibc's fork() takes the locks of malloc(), which may be
 * what the handler interrupted. Without it nothing but the functions allocates. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <stackwarden/stackwarden.h>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const void *of_handler;
static Py_ssize_t size;
static int forks;
static volatile sig_atomic_t done, refused, forked, wrong, calls, is_child, stop;

static stackwarden_status call_once(const void *base)
{
    stackwarden_stack stack, found;
    const char *name = forks ? NULL : "named";
    stackwarden_status status = stackwarden_register_stack(base, (size_t)size, name, name, 0, &stack);
    if (status == STACKWARDEN_DONE
        && (stackwarden_find_stack(base, &found) != STACKWARDEN_DONE || found.handle != stack.handle
            || stackwarden_unregister_stack(stack.handle) != STACKWARDEN_DONE)) {
        wrong++;
    }
    return status;
}

static void fork_here(void)
{
    int ends = 0;
    pid_t child = fork();
    if (child == 0) {
        is_child = 1;
        alarm(30);
        return;
    }
    forked++;
    if (child < 0 || waitpid(child, &ends, 0) != child || ends != 0) {
        wrong++;
    }
}

static void handle(int number)
{
    (void)number;
    stackwarden_status status = call_once(of_handler);
    if (status == STACKWARDEN_INTERRUPTED) {
        refused++;
        if (stackwarden_unregister_switch_callback(NULL, NULL) != STACKWARDEN_INTERRUPTED) {
            wrong++;
        }
    }
    else if (status == STACKWARDEN_DONE) {
        done++;
    }
    else {
        wrong++;
    }
    if (forks && !is_child && calls++ % 8 == 0) {
        fork_here();
    }
}

static void *call_beside(void *base)
{
    while (!stop) {
        if (call_once(base) != STACKWARDEN_DONE) {
            wrong++;
        }
    }
    return NULL;
}

static void call_until(const void *own, int least)
{
    while ((done < least || refused < least) && wrong == 0) {
        if (call_once(own) != STACKWARDEN_DONE) {
            wrong++;
        }
        if (is_child) {
            _exit(wrong != 0);
        }
    }
}

static PyObject *run(PyObject *module, PyObject *arguments)
{
    (void)module;
    unsigned long long own, handlers, others;
    int least;
    if (!PyArg_ParseTuple(arguments, "KKKnip", &own, &handlers, &others, &size, &least, &forks)) {
        return NULL;
    }
    of_handler = (const void *)(uintptr_t)handlers;
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    struct itimerspec often = {.it_interval = {0, 20011}, .it_value = {0, 20011}};
    timer_t timer;
    pthread_t beside;
    call_once(of_handler); /* the index has its leaves from now on */
    call_once((const void *)(uintptr_t)own);
    call_once((const void *)(uintptr_t)others);
    event._sigev_un._tid = gettid();
    sigaction(SIGUSR1, &action, NULL);
    if (pthread_create(&beside, NULL, call_beside, (void *)(uintptr_t)others) != 0
        || timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &often, NULL) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    call_until((const void *)(uintptr_t)own, least);
    timer_delete(timer);
    stop = 1;
    pthread_join(beside, NULL);
    return Py_BuildValue("iiii", (int)done, (int)refused, (int)forked, (int)wrong);
}

static PyObject *import_table(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return stackwarden_import() == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef functions[] = {
    {"run", run, METH_VARARGS, NULL},
    {"import_table", import_table, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "interrupts", .m_size = -1,
                                        .m_methods = functions};

PyMODINIT_FUNC PyInit_interrupts(void)
{
    return PyModule_Create(&definition);
}
