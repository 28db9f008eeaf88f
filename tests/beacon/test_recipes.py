"""The examples of docs/examples/beacon: Python on user threads of runtimes that are built like real ones."""

import platform
import signal

import pytest

from availability import unavailable

RUN = """
import stackwarden
example = ctypes.CDLL(LIBRARIES[0])
example.run(WORK(lambda: print(stackwarden.current_stack().size >> 10, recurse(), flush=True)))
print(stackwarden.status()["beacons"], stackwarden.current_stack().bounds_from)
"""
STACKS = {"realm.cpp": ("realm", 256), "qthreads.c": ("qthreads", 256), "charm.c": ("charm++", 256)}


@pytest.fixture(params=STACKS)
def example(request):
    """The file name of each example whose threads have stacks of their own."""
    if request.param == "qthreads.c" and platform.machine() != "x86_64":
        unavailable("x86-64", "the example's jump is written for it")
    return request.param


def test_recursion_is_stopped(beacon_child, recipe, example):
    name, kib = STACKS[example]
    printed = beacon_child(RUN, recipe(example))
    assert printed == [f"{kib} RecursionError", f"('{name}',) native"]


def test_without_the_marked_lines_it_ends_the_process(beacon_child, recipe, silent, example):
    assert beacon_child(RUN, recipe(example, headers=silent), ends=-signal.SIGSEGV) == []


def test_the_workers_of_nosv_need_no_telling(beacon_child, recipe, silent):
    for headers in (None, silent):
        printed = beacon_child(RUN, recipe("nosv.c", headers=headers))
        assert [line.split()[-1] for line in printed] == [
            "RecursionError",
            "RecursionError",
            "native",
        ]


def test_the_workers_of_nosv_are_known_before_they_enter_python(beacon_child, recipe):
    program = """
        import stackwarden
        example = ctypes.CDLL(LIBRARIES[0])
        seen = []
        example.run(WORK(lambda: seen.append(sum(s.bounds_from == "native" for s in stackwarden.stacks()))))
        print(seen[0])
    """
    assert beacon_child(program, recipe("nosv.c")) == ["2"]
