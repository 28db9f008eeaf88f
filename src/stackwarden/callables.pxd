"""callables.py for compiled callers: what surely runs when it is called is accepted without a call of Python.

    from stackwarden.callables cimport refuse_unless_run
    refuse_unless_run("spawn", function)          # with the GIL
"""

cdef extern from *:
    """
    /* A function, a method, a built-in or a class, by flags of its code. No: ask callables.py, which sees more. */
    static inline int stackwarden_surely_runs(PyObject *function)
    {
        if (PyMethod_Check(function)) {
            function = PyMethod_GET_FUNCTION(function);
        }
        if (PyFunction_Check(function)) {
            const int later = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR;
            return !(((PyCodeObject *)PyFunction_GET_CODE(function))->co_flags & later);
        }
        return PyCFunction_Check(function) || PyType_Check(function);
    }
    """
    bint stackwarden_surely_runs(object function)


cdef inline int refuse_unless_run(str user, function) except -1:
    """Raise TypeError unless calling the function runs it; `user` is who is given it."""
    if not stackwarden_surely_runs(function):
        from stackwarden import callables
        callables.refuse_unless_run(user, function)
    return 0
