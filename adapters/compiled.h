/* compiled.h: what all compiled adapters have in common as modules of Python. Each includes it once.
 *
 * Promises: no function of theirs is a line of a traceback, as in cython_src/calls/calls.pyx, with the reason; who
 * imports one again, after it was removed from sys.modules, is told why it cannot be and what to do. */
#ifndef STACKWARDEN_COMPILED_H
#define STACKWARDEN_COMPILED_H

#include <Python.h>

#define PyTraceBack_Here(frame) ((void)(frame))

typedef PyObject *(*module_maker)(PyObject *spec, PyModuleDef *definition);

/* Cython's, which refuses a second module in one interpreter (CYTHON_USE_MODULE_STATE), with no word of a remedy. */
static module_maker cythons_module_maker;

static PyObject *make_module(PyObject *spec, PyModuleDef *definition)
{
    PyObject *module = cythons_module_maker(spec, definition);
    PyObject *name, *origin, *text;
    if (module != NULL || !PyErr_ExceptionMatches(PyExc_ImportError)) {
        return module;
    }
    PyErr_Clear();
    name = PyObject_GetAttrString(spec, "name");
    origin = name != NULL ? PyObject_GetAttrString(spec, "origin") : NULL;
    text = origin == NULL ? NULL
                          : PyUnicode_FromFormat("%U was removed from sys.modules and imported again, or Python was "
                                                 "started again: it can be loaded once in a process. Put the former "
                                                 "module back into sys.modules, or leave it there.",
                                                 name);
    if (text != NULL) {
        PyErr_SetImportError(text, name, origin);
    }
    Py_XDECREF(text);
    Py_XDECREF(origin);
    Py_XDECREF(name);
    return NULL;
}

/* What Cython's entry function returns: its definition of the module, with our maker before its own. */
static PyObject *initialised_definition(PyModuleDef *definition)
{
    PyModuleDef_Slot *slot = definition->m_slots;
    while (slot->slot != 0 && slot->slot != Py_mod_create) {
        slot++;
    }
    if (slot->slot != 0 && slot->value != (void *)make_module) {
        cythons_module_maker = (module_maker)slot->value;
        slot->value = (void *)make_module;
    }
    return PyModuleDef_Init(definition);
}

#define PyModuleDef_Init(definition) initialised_definition(definition)

#endif
