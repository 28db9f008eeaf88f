/* overflow.h: raises StackOverflow and RecursionOverflow where hardly any stack is left; counts recursive calls.
 *
 * Promises: an exception of the right class even where CPython raises RecursionError for every further call:
 * recursion_headroom lets the few calls pass that make the exception, as for CPython's own. No Python code runs. */
#ifndef SWPY_OVERFLOW_H
#define SWPY_OVERFLOW_H

#include "thread_state.h"

/* The attributes of the two exceptions. */
typedef struct {
    const char *name; /* of the stack, UTF-8, or NULL */
    size_t size, used, margin; /* bytes */
} swpy_overflow;

/* A class of this interpreter's stackwarden.errors, or RecursionError where that was never imported. New reference. */
static PyObject *swpy_error_class(const char *name)
{
    PyObject *key = PyUnicode_FromString("stackwarden.errors");
    PyObject *module = key != NULL ? PyImport_GetModule(key) : NULL;
    PyObject *found = module != NULL ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(module);
    if (found == NULL) {
        PyErr_Clear();
        found = Py_NewRef(PyExc_RecursionError);
    }
    return found;
}

static int swpy_set(PyObject *error, const char *name, PyObject *value)
{
    int result = value != NULL ? PyObject_SetAttrString(error, name, value) : -1;
    Py_XDECREF(value);
    return result;
}

static int swpy_describe_overflow(PyObject *error, const swpy_overflow *of)
{
    PyObject *name = of->name != NULL && *of->name
                       ? PyUnicode_DecodeUTF8(of->name, (Py_ssize_t)strlen(of->name), "replace")
                       : Py_NewRef(Py_None);
    return swpy_set(error, "name", name) | swpy_set(error, "size", PyLong_FromSize_t(of->size))
         | swpy_set(error, "used", PyLong_FromSize_t(of->used))
         | swpy_set(error, "margin", PyLong_FromSize_t(of->margin));
}

static void swpy_raise_as(PyObject *kind, PyObject *message, const swpy_overflow *of)
{
    PyObject *error = message != NULL ? PyObject_CallOneArg(kind, message) : NULL;
    if (error != NULL && swpy_describe_overflow(error, of) == 0) {
        PyErr_SetObject(kind, error);
    }
    Py_XDECREF(error);
    Py_XDECREF(message);
    Py_DECREF(kind);
}

/* Leaves StackOverflow pending, or MemoryError. Requires: attached. */
static void swpy_raise_stack_overflow(const swpy_overflow *of, const char *where)
{
    PyThreadState *ts = swpy_attached();
    ts->recursion_headroom++;
    swpy_raise_as(swpy_error_class("StackOverflow"),
                  PyUnicode_FromFormat("Stack overflow (used %zu of %zu bytes)%s", of->used, of->size,
                                       where != NULL ? where : ""),
                  of);
    ts->recursion_headroom--;
}

/* Leaves RecursionOverflow pending, or MemoryError. Requires: attached. */
static void swpy_raise_recursion_overflow(const swpy_overflow *of, const char *where)
{
    PyThreadState *ts = swpy_attached();
    ts->recursion_headroom++;
    swpy_raise_as(swpy_error_class("RecursionOverflow"),
                  PyUnicode_FromFormat("maximum recursion depth exceeded%s", where != NULL ? where : ""), of);
    ts->recursion_headroom--;
}

/* Count a call against the user's recursion limit, as calls of Python functions are counted. 0: the limit is reached.
 * Requires: attached. Leaves no exception pending. */
static inline int swpy_count_call(void)
{
#if SWPY_311
    if (Py_EnterRecursiveCall("") != 0) {
        PyErr_Clear();
        return 0;
    }
    return 1;
#else
    PyThreadState *ts = swpy_attached();
    if (ts->py_recursion_remaining <= 0) {
        return 0;
    }
    ts->py_recursion_remaining--;
    return 1;
#endif
}

static inline void swpy_uncount_call(void)
{
#if SWPY_311
    Py_LeaveRecursiveCall();
#else
    swpy_attached()->py_recursion_remaining++;
#endif
}

#endif
