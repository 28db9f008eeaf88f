"""Functions that switch stacks and are known by their names: one line of the library's table each."""

import platform
import signal

import pytest

from availability import unavailable
from foreign import build, run
from interleaving import ENDED_WELL, interleaved

if platform.machine() != "x86_64":
    unavailable("x86-64", f"the jumps of these tests are not for {platform.machine()}")

# By name: how the target's stack pointer is found, as tests/extensions/machine.h takes it.
NAMES = {
    "raw_swapcontext": [],
    "bthread_jump_fcontext": [],
    "coroutine_transfer": ["-DMACHINE_PLACE=0"],
    "coro_transfer": ["-DMACHINE_PLACE=0"],
    "acosw": ["-DMACHINE_PLACE=40"],
    "coctx_swap": ["-DMACHINE_PLACE=104"],
    "marl_fiber_swap": ["-DMACHINE_PLACE=64"],
    "qt_block": ["-DMACHINE_FOURTH"],
    "qt_blocki": ["-DMACHINE_FOURTH"],
    "qt_abort": ["-DMACHINE_FOURTH"],
}
LOADS = """
def work(load):
    for _ in range(3):
        coroutine = foreign.make(load)
        foreign.resume(coroutine)
        print(foreign.result(coroutine))
def strings():
    return len(repr([[[1]] * 3] * 3)) + sum(sorted(range(100), key=lambda n: -n))
"""


@pytest.fixture(params=["boost", *NAMES])
def named(request):
    if request.param == "boost":
        return build("fcontext", boost_version="1.90")
    return build("static", f"-DMACHINE_SYMBOL={request.param}", *NAMES[request.param])


def test_what_runs_on_such_a_stack_is_protected(named):
    program = LOADS + "work(workloads.add)\n"
    run(named, program, ends=-signal.SIGSEGV)
    everything = """
work(workloads.containers)
work(strings)
print(workloads.add(), workloads.containers())
"""
    for isolation in "none", "frames":
        on = f"stackwarden.interpose(isolation={isolation!r})\n"
        said = run(named, on + program + everything).stdout.split()
        on_stacks = ["RecursionError"] * 3 + ["freed"] * 3 + ["5001"] * 3
        assert said == [*on_stacks, "RecursionError", "freed"]


def test_python_frames_interleave_on_such_stacks(named):
    program = interleaved("straight", False, False) + "work()"
    run(named, program, ends=-signal.SIGSEGV)
    on = "interposition = stackwarden.interpose(isolation='frames')\n"
    run(named, on + program + ENDED_WELL)
