"""Programs without Python that fork while other threads load and look up: as without the library.

glibc's lock of the list of loaded objects stays taken in a child that is forked while another thread holds it.
"""

import signal

import pytest

import children
import extensions
from stackwarden import interposed_environment

LIBRARY = interposed_environment({})["LD_PRELOAD"]

# Threads do WORK again and again; each child does CHILD once. Ends with SIGALRM where a child hangs.
FORKS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int stop;
static char path[4096];

static void *(*volatile look_up)(void *, const char *) = dlsym;

static int visit(struct dl_phdr_info *info, size_t size, void *unused)
{
    return 0;
}

static void *work(void *unused)
{
    while (!stop) {
        WORK;
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[3];
    struct link_map *map;
    dlinfo(dlopen("libm.so.6", RTLD_NOW), RTLD_DI_LINKMAP, &map);
    realpath(map->l_name, path);
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, work, NULL);
    }
    for (int i = 0; i < FORKS; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            alarm(SECONDS);
            CHILD;
            _exit(0);
        }
        waitpid(child, &status, 0);
        if (status != 0) {
            raise(WTERMSIG(status));
        }
    }
    stop = 1;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    puts("ended");
    return 0;
}
"""

LOOK_UP = 'look_up(RTLD_DEFAULT, "printf")'
OPEN_BY_PATH = "dlopen(path, RTLD_NOW)"  # it is loaded: libc takes no lock that a fork leaves taken
OPEN_BY_NAME = f'dlopen("libm.so.6", RTLD_NOW); {LOOK_UP}'
WALK = "dl_iterate_phdr(visit, NULL)"


def program(folder, work, child, *, text=FORKS, forks=1000, seconds=30):
    source = text.replace("WORK;", f"{work};").replace("CHILD;", f"{child};")
    numbers = [f"-DFORKS={forks}", f"-DSECONDS={seconds}"]
    return extensions.program(source, folder, *numbers, "-w", "-pthread", "-ldl")


@pytest.mark.parametrize("work", [LOOK_UP, OPEN_BY_PATH, OPEN_BY_NAME])
def test_children_that_are_forked_during_loads_do_not_hang(work, tmp_path):
    forked = program(tmp_path, work, f"{work}; {OPEN_BY_PATH}")
    assert children.run(forked).stdout == "ended\n"
    assert children.run(forked, LD_PRELOAD=LIBRARY).stdout == "ended\n"


def test_a_walk_that_nobody_holds_over_a_fork_hangs_in_the_child(tmp_path):
    walking = program(tmp_path, WALK, WALK, forks=100_000, seconds=2)
    children.run(walking, ends=-signal.SIGALRM)


HANDLERS = f"""
static void look(void)
{{
    dlopen(path, RTLD_NOW);
    {LOOK_UP};
}}

__attribute__((constructor)) static void add(void)
{{
    pthread_atfork(look, look, look);
}}

static void *work(void *unused)
"""


def test_other_handlers_of_the_fork_may_load_and_look_up(tmp_path):
    text = FORKS.replace("\nstatic void *work(void *unused)\n", HANDLERS)
    forked = program(tmp_path, OPEN_BY_PATH, LOOK_UP, text=text, forks=300)
    assert children.run(forked).stdout == "ended\n"
    assert children.run(forked, LD_PRELOAD=LIBRARY).stdout == "ended\n"
