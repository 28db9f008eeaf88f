/* first_stack.h: what the first foreign stack needs, and the import does not do: that changes nothing of anybody's.
 *
 * Promises: an atexit function of the main interpreter, which calls swpy_on_finalization; and swpy_guard_limit(). */
#ifndef SWPY_FIRST_STACK_H
#define SWPY_FIRST_STACK_H

#include "protection.h"

static void (*swpy_on_finalization)(void);

static PyObject *swpy_call_on_finalization(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    swpy_on_finalization();
    Py_RETURN_NONE;
}

static int swpy_register_finalization(void)
{
    static PyMethodDef definition = {"on_finalization", swpy_call_on_finalization, METH_NOARGS, NULL};
    PyObject *handler = PyCFunction_New(&definition, NULL);
    PyObject *atexit = handler != NULL ? PyImport_ImportModule("atexit") : NULL;
    PyObject *result = atexit != NULL ? PyObject_CallMethod(atexit, "register", "O", handler) : NULL;
    Py_XDECREF(handler);
    Py_XDECREF(atexit);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* No Python code runs here: a signal handler's exception would be lost. What fails, for want of memory, is done with the
 * next stack. */
static int swpy_on_first_foreign_stack(void *unused)
{
    (void)unused;
    sw_process.first_foreign_done = swpy_register_finalization() == 0 && swpy_guard_limit() == 0;
    if (!sw_process.first_foreign_done) {
        PyErr_Clear();
    }
    return 0;
}

/* The first record of a foreign stack was made. The caller may be detached, or in another interpreter: then it is done
 * by a pending call. 1, or 0: to be called again. */
static int swpy_call_on_first_foreign_stack(void)
{
    if (swpy_attached_call() == NULL || PyInterpreterState_Get() != PyInterpreterState_Main()) {
        return Py_AddPendingCall(swpy_on_first_foreign_stack, NULL) == 0;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    swpy_on_first_foreign_stack(NULL);
    PyErr_Restore(type, value, traceback);
    return sw_process.first_foreign_done;
}

#endif
