"""Programs that switch by ucontext, with the library and without: the same output."""

import subprocess
from pathlib import Path

import pytest

import children
import foreign
from _stackwarden_start.environment import LIBRARY

HERE = Path(__file__).parent
PROGRAM, WRAPPER = HERE / "random_contexts.c", HERE / "wrapper.c"
SEEDS = 100


def compiled(source: Path, target: Path, *options: str) -> Path:
    subprocess.run(["cc", *options, source, "-o", target, "-lpthread", "-lm", "-ldl"], check=True)
    return target


@pytest.fixture(scope="module", params=["-O0", "-O2"])
def program(request, tmp_path_factory) -> Path:
    return compiled(PROGRAM, tmp_path_factory.mktemp("contexts") / "random", request.param)


def output(program: Path, seed: int, *preloaded: str | Path) -> tuple[int, str]:
    done = children.run(
        program, str(seed), ends=None, LD_PRELOAD=":".join(str(one) for one in preloaded)
    )
    return done.returncode, done.stdout


def test_random_programs_say_the_same_with_the_library(program):
    for seed in range(SEEDS):
        plain = output(program, seed)
        assert plain[0] == 0, seed
        assert "saved once" in plain[1], seed
        assert output(program, seed, LIBRARY) == plain, seed


def test_a_stand_in_that_is_on_the_stack_would_be_seen(program, tmp_path):
    """The twin: such programs go wrong with a wrapper as others write them."""
    wrapper = compiled(WRAPPER, tmp_path / "wrapper.so", "-O0", "-shared", "-fPIC")
    assert any(output(program, seed, wrapper) != output(program, seed) for seed in range(10))


@pytest.mark.parametrize("isolation", ["none", "frames"])
def test_random_programs_say_the_same_inside_python(isolation, tmp_path):
    """With the core's hooks, and the GIL held."""
    library = compiled(PROGRAM, tmp_path / "random.so", "-O2", "-shared", "-fPIC")
    program = f"""
    import ctypes
    {{on}}
    library = ctypes.PyDLL({str(library)!r})
    for seed in range(20):
        library.show(seed)
    {{after}}
    """
    plain = foreign.run(foreign.build("ucontext"), program.format(on="", after=""))
    on = f"interposition = stackwarden.interpose(isolation={isolation!r})"
    after = """
    assert workloads.add() == "RecursionError"
    interposition.undo()
    """
    done = foreign.run(foreign.build("ucontext"), program.format(on=on, after=after))
    assert done.stdout == plain.stdout
    assert done.stdout.count("\n") > 1000


LINKED = """
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
static ucontext_t saved, fibers[5];
static char stacks[5][65536];
static volatile int next, ran, resumed;
static void body(int i) { ran += 1 << i; }
static int work(int n)
{
    volatile char pad[512];
    for (int i = 0; i < 512; i++) pad[i] = (char)(n + i);
    return pad[17];
}
__attribute__((noinline)) static void all(int count)
{
    for (int i = 0; i < count; i++) {
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = stacks[i];
        fibers[i].uc_stack.ss_size = 65536;
        fibers[i].uc_link = &saved;
        makecontext(&fibers[i], (void (*)(void))body, 1, i);
    }
    swapcontext(&saved, &fibers[next++]);
    resumed++;
    work(next);
    if (next < count) { setcontext(&fibers[next++]); }
    if (resumed < count + 2) { setcontext(&saved); }
    printf("ran %x, resumed %d\\n", ran, resumed);
}
int main(void) { all(5); return 0; }
"""


@pytest.mark.parametrize("optimised", ["-O0", "-O2"])
def test_one_context_is_what_many_link_to(optimised, tmp_path):
    source = tmp_path / "linked.c"
    source.write_text(LINKED)
    program = compiled(source, tmp_path / "linked", optimised)
    for preloaded in [(), (LIBRARY,)]:
        assert output(program, 0, *preloaded) == (0, "ran 1f, resumed 7\n")
