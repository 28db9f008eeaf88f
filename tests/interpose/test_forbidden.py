"""Processes that forbid themselves system calls which interposition makes: as without it."""

import pytest

import children
import extensions
import foreign
import paths
from availability import unavailable
from stackwarden import interposed_environment

LIBRARY = interposed_environment({})["LD_PRELOAD"]
HEADERS = f"-I{paths.SHARED}"

# Number, type of an ioctl, and whether the call ends the process: queries of the map of memory have the type 'f'.
FILTERS = {
    "mprotect": "forbid(SYS_mprotect, ANY_TYPE, 0)",
    "mprotect and writes at a place": "forbid(SYS_mprotect, ANY_TYPE, 0) || forbid(SYS_pwrite64, ANY_TYPE, 0)",
    "queries of the map": "forbid(SYS_ioctl, 'f', 0)",
    "queries of the map, deadly": "forbid(SYS_ioctl, 'f', 1)",
    "reads of other memory": "forbid(SYS_process_vm_readv, ANY_TYPE, 0)",
    "reads of other memory, deadly": "forbid(SYS_process_vm_readv, ANY_TYPE, 1)",
    "the map of memory, and all files": "forbid(SYS_openat, ANY_TYPE, 0)",
}

FORBIDS = r"""
#include "forbid.h"

int forbid_it(void);

int forbid_it(void)
{
    return FILTER;
}
"""

PROGRAM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

int forbid_it(void);
static ucontext_t inside, outside;
static char stack[64 << 10];
static int steps;

static void body(void)
{
    for (;;) {
        steps++;
        swapcontext(&inside, &outside);
    }
}

int main(void)
{
    int status;
    if (forbid_it() != 0) {
        return 77;
    }
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = sizeof stack;
    makecontext(&inside, body, 0);
    for (int i = 0; i < 3; i++) {
        swapcontext(&outside, &inside);
        void *library = dlopen("libpthread.so.0", RTLD_NOW); /* none that is loaded already */
        printf("%d %d\n", library != NULL, dlsym(RTLD_DEFAULT, "printf") != NULL);
        pid_t child = fork();
        if (child == 0) {
            swapcontext(&outside, &inside);
            _exit(steps);
        }
        waitpid(child, &status, 0);
    }
    printf("%d %d\n", steps, WEXITSTATUS(status));
    return 7;
}
"""


@pytest.mark.parametrize("what", FILTERS)
def test_a_program_without_python_does_what_it_did(what, same, tmp_path):
    text = FORBIDS.replace("FILTER", FILTERS[what]) + PROGRAM
    program = extensions.program(text, tmp_path, "-w", HEADERS, "-ldl")
    if same(program).returncode == 77:
        unavailable("seccomp", "this kernel has no filters of system calls")


@pytest.fixture
def filtered(tmp_path):
    """filtered(what): the text of a Python program that forbids it."""

    def build(what: str) -> str:
        text = FORBIDS.replace("FILTER", FILTERS[what])
        library = extensions.program(text, tmp_path, "-w", HEADERS, "-shared", "-fPIC")
        if (
            children.run_python(
                f"import ctypes; print(ctypes.CDLL('{library}').forbid_it())"
            ).stdout
            != "0\n"
        ):
            unavailable("seccomp", "this kernel has no filters of system calls")
        return f"import ctypes; filter = ctypes.CDLL('{library}')\n"

    return build


# A filter that ends the process where a foreign stack is looked up ends it with the core: bounds ask the kernel.
HARMLESS = [what for what in FILTERS if what != "queries of the map, deadly"]

PROTECTED = """
made = [foreign.make(workloads.add, enters="ensure") for _ in range(2)]  # it asks for a guard page
assert filter.forbid_it() == 0
for one in made:
    foreign.resume(one)
    print(foreign.result(one), stackwarden.status()["interposition"])
"""


@pytest.mark.parametrize("what", HARMLESS)
def test_foreign_code_is_protected_all_the_same(what, filtered, any_jump):
    done = foreign.run(any_jump, PROTECTED, first=filtered(what), LD_PRELOAD=LIBRARY)
    assert done.stdout == "RecursionError on\n" * 2


SLOTS = """
with stackwarden.interpose():
    pass  # the library is loaded: its own pages are as the loader left them
assert filter.forbid_it() == 0
with stackwarden.interpose():
    print(stackwarden.status()["interposition_reason"])
print(stackwarden.status()["interposition"], stackwarden.status()["interposition_reason"])
"""


@pytest.mark.parametrize("what", ["mprotect", "mprotect and writes at a place"])
def test_slots_that_cannot_be_written_are_counted(what, filtered):
    read_only = foreign.build("ucontext", "-Wl,-z,now", "-Wl,-z,relro")
    reason, last = foreign.run(read_only, SLOTS, first=filtered(what)).stdout.splitlines()
    assert last == "off None"
    if what == "mprotect":
        assert reason == "None"
    else:
        assert int(reason.partition(" ")[0]) >= 1
        assert "slots of loaded objects cannot be written" in reason


LATE = """
assert filter.forbid_it() == 0
try:
    stackwarden.interpose()
except stackwarden.InterpositionError as error:
    print(stackwarden.status()["interposition"], error)
"""


def test_a_library_that_cannot_be_loaded_any_more_is_said(filtered):
    done = foreign.run(foreign.build("ucontext"), LATE, first=filtered("mprotect"))
    assert done.stdout.startswith("off interposition: ")
