/* first_stack.h: what comes with the first foreign stack, and not with the import, which leaves everything alone.
 *
 * Promises: a handler for the end of Python in the main interpreter, which calls swpy_on_finalization; and what
 * swpy_guard_limit() does. */
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
    static PyMethodDef definition = {"before_the_end", swpy_call_on_finalization, METH_NOARGS, NULL};
    PyObject *handler = PyCFunction_New(&definition, NULL);
    PyObject *atexit = handler != NULL ? PyImport_ImportModule("atexit") : NULL;
    PyObject *result = atexit != NULL ? PyObject_CallMethod(atexit, "register", "O", handler) : NULL;
    Py_XDECREF(handler);
    Py_XDECREF(atexit);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static int swpy_on_first_foreign_stack(void *unused)
{
    (void)unused;
    if (swpy_register_finalization() != 0 || swpy_guard_limit() != 0) {
        PyErr_WriteUnraisable(NULL);
    }
    return 0;
}

/* A record was made for a foreign stack; the caller may be detached. 1, or 0 to be called again. */
static int swpy_call_on_first_foreign_stack(void)
{
    if (swpy_attached_call() == NULL || PyInterpreterState_Get() != PyInterpreterState_Main()) {
        return Py_AddPendingCall(swpy_on_first_foreign_stack, NULL) == 0;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    swpy_on_first_foreign_stack(NULL);
    PyErr_Restore(type, value, traceback);
    return 1;
}

#endif
