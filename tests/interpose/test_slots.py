"""How many slots lead to stand-ins, in executables and libraries linked in each way, without Python."""

import pytest

import children
import extensions
from stackwarden import interposed_environment

LIBRARY = interposed_environment({})["LD_PRELOAD"]

# Prints how many slots were turned back.
PROGRAM = r"""
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    long (*off)(void) = (long (*)(void))dlsym(RTLD_DEFAULT, "stackwarden_interpose_off");
    printf("%ld\n", off != NULL ? off() : -1);
    return 0;
}
"""

SWITCHES = r"""
#define _GNU_SOURCE
#include <ucontext.h>
static ucontext_t inside, outside;
static char stack[65536];
static int begun;
static void body(void) { begun = 1; }
__attribute__((constructor)) static void start(void)
{
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = sizeof stack;
    inside.uc_link = &outside;
    makecontext(&inside, body, 0);
    swapcontext(&outside, &inside);
}
"""
SLOTS = 2  # for makecontext and swapcontext

LINKS = {
    "gnu hash": ["-Wl,--hash-style=gnu"],
    "old hash": ["-Wl,--hash-style=sysv"],
    "both": ["-Wl,--hash-style=both"],
    "stripped": ["-Wl,--hash-style=gnu", "-s"],
    "lazily": ["-Wl,-z,lazy"],
    "at once, read-only": ["-Wl,-z,now", "-Wl,-z,relro"],
    "without a linkage table": ["-fno-plt", "-Wl,-z,now", "-Wl,-z,relro"],
}
EXECUTABLES = {"position-independent": ["-fPIE", "-pie"], "fixed": ["-fno-PIE", "-no-pie"]}


def slots(program) -> int:
    assert children.run(program).stdout == "-1\n"
    return int(children.run(program, LD_PRELOAD=LIBRARY).stdout)


@pytest.fixture
def others(tmp_path):
    """The slots of a program that switches nothing."""
    folder = tmp_path / "plain"
    folder.mkdir()
    return lambda kind: slots(extensions.program(PROGRAM, folder, *EXECUTABLES[kind], "-ldl"))


@pytest.mark.parametrize("kind", EXECUTABLES)
@pytest.mark.parametrize("link", LINKS)
def test_executables_are_interposed_however_they_were_linked(kind, link, others, tmp_path):
    program = extensions.program(
        SWITCHES + PROGRAM, tmp_path, *EXECUTABLES[kind], *LINKS[link], "-w", "-ldl"
    )
    assert slots(program) == others(kind) + SLOTS


@pytest.mark.parametrize("exports", ["everything", "nothing"])
@pytest.mark.parametrize("link", LINKS)
def test_libraries_are_interposed_whatever_they_export(exports, link, others, tmp_path):
    names = tmp_path / "names"
    names.write_text("{ local: *; };" if exports == "nothing" else "{ global: *; };")
    folder = tmp_path / "library"
    folder.mkdir()
    shared = ["-w", "-shared", "-fPIC", f"-Wl,--version-script={names}"]
    library = extensions.program(SWITCHES, folder, *shared, *LINKS[link])
    program = extensions.program(PROGRAM, tmp_path, "-Wl,--no-as-needed", library, "-ldl")
    assert slots(program) == others("position-independent") + SLOTS


# A thread loads and unloads while another turns interposition on and off: after off no slot is left.
RACE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

static const char *path;
static volatile unsigned long loads;
static volatile int stop;

static void *load(void *unused)
{
    while (!stop) {
        dlclose(dlopen(path, RTLD_NOW));
        loads++;
    }
    return unused;
}

static void wait_for_loads(unsigned long count)
{
    for (unsigned long enough = loads + count; loads < enough;) {
        sched_yield();
    }
}

int main(int count, char **arguments)
{
    pthread_t loader;
    long (*on)(void) = (long (*)(void))dlsym(RTLD_DEFAULT, "stackwarden_interpose_on");
    long (*off)(void) = (long (*)(void))dlsym(RTLD_DEFAULT, "stackwarden_interpose_off");
    long on_again = 0;
    path = arguments[count - 1];
    pthread_create(&loader, NULL, load, NULL);
    for (int i = 0; i < 300; i++) {
        on();
        wait_for_loads(2);
        for (volatile int later = 0; later < 100 * (i % 100); later++) {
        }
        off();
        wait_for_loads(2);
        on_again += off();
    }
    stop = 1;
    pthread_join(loader, NULL);
    printf("%ld\n", on_again);
    return 0;
}
"""


def test_a_load_that_races_with_off_does_not_turn_it_on_again(tmp_path):
    library = extensions.program(SWITCHES, tmp_path, "-w", "-shared", "-fPIC")
    loaded = library.rename(tmp_path / "loaded.so")
    program = extensions.program(RACE, tmp_path, "-w", "-pthread", "-ldl")
    assert children.run(program, loaded, LD_PRELOAD=LIBRARY).stdout == "0\n"
