/* maps_probe.c: the two ways to ask Linux for its map of memory, each by itself. Includes the file that is tested. */
#include "linux_maps.c" /* NOLINT(bugprone-suspicious-include) */

#include <Python.h>

static PyObject *answer(int found, uintptr_t low, uintptr_t high)
{
    if (found != 0) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("KK", (unsigned long long)low, (unsigned long long)high);
}

static PyObject *mapping_of(PyObject *module, PyObject *address)
{
    (void)module;
    uintptr_t low = 0, high = 0;
    errno = 4242;
    int found = sw_mapping_of((uintptr_t)PyLong_AsUnsignedLongLong(address), &low, &high);
    return errno == 4242 ? answer(found, low, high) : PyErr_SetFromErrno(PyExc_OSError);
}

typedef int ask(int maps, uintptr_t address, uintptr_t *low, uintptr_t *high);

static PyObject *by(ask *way, PyObject *address)
{
    uintptr_t low = 0, high = 0;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    int found = way(maps, (uintptr_t)PyLong_AsUnsignedLongLong(address), &low, &high);
    int has_no_query = found != 0 && errno == ENOTTY;
    close(maps);
    if (has_no_query && way == query) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return answer(found, low, high);
}

static PyObject *by_query(PyObject *module, PyObject *address)
{
    (void)module;
    return by(query, address);
}

static PyObject *by_text(PyObject *module, PyObject *address)
{
    (void)module;
    errno = 0;
    return by(read_text, address);
}

static PyObject *is_readable(PyObject *module, PyObject *address)
{
    (void)module;
    return PyBool_FromLong(sw_is_readable((uintptr_t)PyLong_AsUnsignedLongLong(address)) == 1);
}

static PyObject *is_resident(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base, top;
    return PyArg_ParseTuple(args, "KK", &base, &top) ? PyBool_FromLong(sw_is_resident(base, top)) : NULL;
}

static PyObject *is_arena(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long low, high;
    return PyArg_ParseTuple(args, "KK", &low, &high) ? PyBool_FromLong(sw_is_arena(low, high)) : NULL;
}

static PyMethodDef methods[] = {
    {"mapping_of", mapping_of, METH_O, NULL},
    {"by_query", by_query, METH_O, NULL},
    {"by_text", by_text, METH_O, NULL},
    {"is_readable", is_readable, METH_O, NULL},
    {"is_resident", is_resident, METH_VARARGS, NULL},
    {"is_arena", is_arena, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "maps_probe", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_maps_probe(void)
{
    return PyModule_Create(&definition);
}
