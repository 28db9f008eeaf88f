/* pages_probe.c: the two ways to ask Linux for pages, each by itself. Includes the file that is tested. */
#include "linux_pages.c" /* NOLINT(bugprone-suspicious-include) */

#include <Python.h>

/* force(way): "scan", "words", "nothing"; "" lets the kernel say. False: this kernel does not have it. */
static PyObject *force(PyObject *module, PyObject *name)
{
    (void)module;
    const char *way = PyUnicode_AsUTF8(name);
    int file = sw_open_kept(&sw_pagemap_file);
    if (way == NULL || file < 0) {
        return way == NULL ? NULL : PyErr_SetFromErrno(PyExc_OSError);
    }
    int guards = madvise(NULL, 0, INSTALL_GUARD) == 0 ? HAS_GUARDS : 0;
    ways = find_ways(file);
    int has = way[0] != 's' || (ways & BY_SCAN) != 0;
    if (way[0] == 'w') {
        has = !guards || words_show_guards(file);
        ways = ASKED | BY_WORDS | guards;
    }
    if (way[0] == 'n') {
        ways = ASKED | HAS_GUARDS;
    }
    return PyBool_FromLong(has);
}

/* regions(start, end, most) -> ([(start, end, is a guard) ...], reached), or None */
static PyObject *regions(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long start, end;
    int most;
    sw_region found[64];
    uintptr_t reached = 0;
    if (!PyArg_ParseTuple(args, "KKi", &start, &end, &most)) {
        return NULL;
    }
    int got = sw_pages(sw_open_kept(&sw_pagemap_file), start, end, SW_IN_USE | SW_GUARD, most, found, &reached);
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < got; i++) {
        PyObject *region = Py_BuildValue("KKO", (unsigned long long)found[i].start, (unsigned long long)found[i].end,
                                         found[i].categories & SW_GUARD ? Py_True : Py_False);
        if (region == NULL || PyList_Append(list, region) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(region);
    }
    return got < 0 ? (Py_XDECREF(list), Py_NewRef(Py_None)) : Py_BuildValue("NK", list, (unsigned long long)reached);
}

static PyObject *bounds_of(const sw_seen *seen, int found)
{
    if (!found) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("KKK", (unsigned long long)seen->base, (unsigned long long)seen->top,
                         (unsigned long long)seen->in_use);
}

/* only_stack(low, high, address, most_above, base=0, top=0, in_use=0) -> (base, top, in_use), or None */
static PyObject *only_stack(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long low, high, address, most_above, base = 0, top = 0, in_use = 0;
    if (!PyArg_ParseTuple(args, "KKKK|KKK", &low, &high, &address, &most_above, &base, &top, &in_use)) {
        return NULL;
    }
    sw_seen seen = {low, high, base, top, in_use};
    errno = 4242;
    int found = sw_only_stack(&seen, address, most_above);
    return errno == 4242 ? bounds_of(&seen, found) : PyErr_SetFromErrno(PyExc_OSError);
}

/* is_as_seen(base, top, in_use, address) */
static PyObject *is_as_seen(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long base, top, in_use, address;
    if (!PyArg_ParseTuple(args, "KKKK", &base, &top, &in_use, &address)) {
        return NULL;
    }
    sw_seen seen = {base, top, base, top, in_use};
    return PyBool_FromLong(sw_is_as_seen(&seen, address, base));
}

static PyObject *end_of_guard(PyObject *module, PyObject *args)
{
    (void)module;
    unsigned long long page, least;
    return PyArg_ParseTuple(args, "KK", &page, &least) ? PyLong_FromUnsignedLongLong(sw_end_of_guard(page, least))
                                                       : NULL;
}

static PyMethodDef methods[] = {
    {"force", force, METH_O, NULL},
    {"regions", regions, METH_VARARGS, NULL},
    {"only_stack", only_stack, METH_VARARGS, NULL},
    {"is_as_seen", is_as_seen, METH_VARARGS, NULL},
    {"end_of_guard", end_of_guard, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "pages_probe", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_pages_probe(void)
{
    return PyModule_Create(&definition);
}
