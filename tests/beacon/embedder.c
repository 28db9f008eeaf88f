/* embedder.c: a program that has a runtime with a beacon in it (runtime.c), and to which Python comes later. */
#include <Python.h>
#include <stdio.h>

#include "runtime.h"

static const char *program;

static void run_python(void)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyRun_SimpleString(program);
    fflush(stdout);
    PyGILState_Release(state);
}

static void nothing(void) {}

int main(int count, char **arguments)
{
    program = count > 1 ? arguments[1] : "";
    call_on_new_stack(nothing);
    printf("before: %d\n", is_heard());
    for (int round = 0; round < 2; round++) {
        Py_InitializeEx(0);
        PyRun_SimpleString("try: import stackwarden\nexcept ImportError: pass");
        printf("round %d: %d\n", round, is_heard());
        fflush(stdout);
        PyThreadState *thread = PyEval_SaveThread();
        start_threads();
        call_on_new_stack(run_python);
        PyEval_RestoreThread(thread);
        if (Py_FinalizeEx() < 0) {
            return 1;
        }
        call_on_new_stack(nothing);
        stop_threads();
    }
    printf("after: %d\n", is_heard());
    return 0;
}
