"""The preloaded library in processes without Python, with Python embedded, without the core, and forked."""

import os
import sys
import sysconfig

import pytest

import children
import embedding
import extensions
from foreign import build, run
from stackwarden import interposed_environment

LIBRARY = interposed_environment({})["LD_PRELOAD"]
SETTER = sys.version_info >= (3, 14)
PACKAGES = sysconfig.get_path("platlib")
PATH = os.pathsep.join(
    [PACKAGES, f"{PACKAGES}/stackwarden/testing"]
)  # the workloads, without the package
EMBEDDED = embedding.variables() | {"PYTHONPATH": PATH}

NO_PYTHON = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <ucontext.h>

static ucontext_t inside, outside;
static char stack[64 << 10];
static int steps;

static void body(int a, int b)
{
    for (int i = 0; i < 3; i++) {
        steps += a * b;
        swapcontext(&inside, &outside);
    }
}

int main(void)
{
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = sizeof stack;
    inside.uc_link = &outside;
    makecontext(&inside, (void (*)(void))body, 2, 6, 7);
    for (int i = 0; i < 4; i++) {
        swapcontext(&outside, &inside);
    }
    void *library = dlopen("libm.so.6", RTLD_NOW);
    printf("%d %d\n", steps, library != NULL && dlsym(library, "cos") != NULL);
    return 0;
}
"""

EMBEDDER = r"""
#define _GNU_SOURCE
#include <Python.h>
#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

static ucontext_t inside, outside;
static const char *program;

static void body(void)
{
    if (program == NULL) {
        return;
    }
    PyGILState_STATE state = PyGILState_Ensure();
    PyRun_SimpleString(program);
    PyGILState_Release(state);
}

static void on_a_context(const char *text)
{
    size_t size = 256 << 10, guard = 64 << 10;
    char *memory = mmap(NULL, guard + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, guard, PROT_NONE);
    program = text;
    getcontext(&inside);
    inside.uc_stack.ss_sp = memory + guard;
    inside.uc_stack.ss_size = size;
    inside.uc_link = &outside;
    makecontext(&inside, body, 0);
    swapcontext(&outside, &inside);
    munmap(memory, guard + size);
}

static void *thread(void *text)
{
    on_a_context(text);
    return NULL;
}

static const char *const text =
    "from workloads import add\n"
    "print(add())\n";

int main(void)
{
    pthread_t other;
    on_a_context(NULL); /* Python is not initialised */
    Py_Initialize();
    PyRun_SimpleString("import sys; import WHAT");
    on_a_context(text);
    PyThreadState *saved = PyEval_SaveThread();
    pthread_create(&other, NULL, thread, (void *)text);
    pthread_join(other, NULL);
    PyEval_RestoreThread(saved);
    Py_Finalize();
    on_a_context(NULL); /* Python is finalised */
    Py_Initialize();
    Py_Finalize();
    puts("ended");
    return 0;
}
"""


@pytest.mark.parametrize("link", ["-Wl,-z,lazy", "-Wl,-z,now", "-no-pie"])
def test_a_process_without_python_does_what_it_did(link, tmp_path):
    program = extensions.program(NO_PYTHON, tmp_path, link, "-ldl")
    assert children.run(program, LD_PRELOAD=LIBRARY).stdout.split() == ["126", "1"]


@pytest.fixture
def embedder(request, tmp_path):
    """embedder(ends=0, **variables): what a program prints that embeds Python and imports a module."""
    program = embedding.program(EMBEDDER.replace("WHAT", request.param), tmp_path)
    return lambda **how: children.run(program, **EMBEDDED | how).stdout.split()


@pytest.mark.parametrize("embedder", ["stackwarden"], indirect=True)
def test_a_program_that_embeds_python_is_protected(embedder):
    interposed = interposed_environment(EMBEDDED)
    assert embedder(ends=-11) == []
    assert embedder(**interposed) == ["RecursionError"] * 2 + ["ended"]


@pytest.mark.parametrize("embedder", ["sys"], indirect=True)
@pytest.mark.skipif(not SETTER, reason="without the core there is nothing but 3.14's setter")
def test_without_the_core_the_setter_alone_protects(embedder):
    assert embedder(ends=-11) == []
    assert embedder(LD_PRELOAD=LIBRARY) == ["RecursionError"] * 2 + ["ended"]


def test_a_forked_child_is_protected(any_jump):
    run(
        any_jump,
        """
        stackwarden.interpose()
        def work():
            coroutine = foreign.make(workloads.add, enters="ensure")
            foreign.resume(coroutine)
            return foreign.result(coroutine)
        assert work() == "RecursionError"
        child = os.fork()
        if child == 0:
            os._exit(work() != "RecursionError")
        assert os.waitpid(child, 0)[1] == 0 and work() == "RecursionError"
        """,
    )


def test_the_core_takes_over_from_the_preloaded_library():
    done = run(
        build("static"),
        """
        coroutine = foreign.make(workloads.add, enters="ensure")
        foreign.resume(coroutine)
        print(foreign.result(coroutine), mended() > 0, stackwarden.status()["interposition"])
        """,
        LD_PRELOAD=LIBRARY,
    )
    assert done.stdout.split() == ["RecursionError", "True", "on"]


def test_the_interpreter_ends_well_while_it_is_on(any_jump):
    run(
        any_jump,
        """
        import atexit
        stackwarden.interpose()
        def last():
            coroutine = foreign.make(workloads.add, enters="ensure")
            foreign.resume(coroutine)
            assert foreign.result(coroutine) == "RecursionError"
        atexit.register(last)
        class Late:
            def __del__(self):
                foreign.resume(foreign.make(lambda: None, enters="ensure"))
        kept = Late()
        sys.kept = Late()
        """,
    )
