"""Real SystemC: SC_THREADs are reached by QuickThreads' jumps, with the GIL held.

Debian's libsystemc, unpacked into the cache.
"""

import signal

import pytest

import commands
import debian
import extensions
import foreign
import paths
from availability import unavailable

SOURCE = paths.SHARED / "systemc" / "systemc_threads.cpp"

RELEASES = """
    foreign.simulate((None,), True)
    if sys.version_info >= (3, 14):
        sys.setrecursionlimit(10**6)  # the stack alone ends recursion
    print(workloads.add(), workloads.containers())
"""


@pytest.fixture(scope="module")
def systemc():
    try:
        root = debian.unpack("libsystemc-dev", release=debian.own_release())
    except commands.HarnessError as error:
        unavailable("systemc", str(error))
    (library,) = root.glob("usr/lib/*/libsystemc.so")
    return extensions.build(
        [SOURCE],
        "systemc_threads",
        language="c++",
        args=[
            *("-isystem", str(root / "usr/include")),
            *(f"-L{library.parent}", f"-Wl,-rpath,{library.parent}", "-lsystemc"),
        ],
    )


@pytest.mark.parametrize("time", range(10))
def test_a_thread_that_released_the_gil_leaves_its_resumers_stack_protected(systemc, time):
    """The bounds of an SC_THREAD on the thread's own stack would let recursion go down to the end of that."""
    del time
    assert foreign.run(systemc, RELEASES).stdout.split()[-2:] == ["RecursionError", "freed"]
    interposed = "    stackwarden.interpose()" + RELEASES
    assert foreign.run(systemc, interposed).stdout.split()[-2:] == ["RecursionError", "freed"]


LOADS = """
    def work():
        print(workloads.add(), workloads.containers())
    foreign.simulate((work, work))
    print(workloads.add(), workloads.containers())
"""
EXCEPTIONS = """
    def handles():
        try:
            raise KeyError
        except KeyError as error:
            foreign.pause()
            print(sys.exc_info()[1] is error)
    foreign.simulate((handles, handles))
"""
DEEP = """
    def work(depth, number):
        kept = [number] * depth
        foreign.pause()
        total = work(depth - 1, number) if depth else 0
        foreign.pause()
        return total + sum(kept)
    def check(number):
        assert work(10, number) == number * 55
        print(number)
    foreign.simulate(tuple(lambda number=number: check(number) for number in range(20)))
    assert workloads.add() == "RecursionError" and workloads.containers() == "freed"
    assert stackwarden.status()["refused_switches"] == 0
"""


def test_sc_threads_are_protected(systemc):
    foreign.run(systemc, LOADS, ends=-signal.SIGSEGV)
    for isolation in "none", "frames":
        interposed = f"    stackwarden.interpose(isolation={isolation!r})" + LOADS
        said = foreign.run(systemc, interposed).stdout.split()
        assert said[-10:] == ["RecursionError", "freed"] * 5


def test_python_frames_of_sc_threads_interleave(systemc):
    on = '    stackwarden.interpose(isolation="frames")'
    assert "False" in foreign.run(systemc, EXCEPTIONS, ends=None).stdout
    assert foreign.run(systemc, on + EXCEPTIONS).stdout.split()[-4:] == ["True"] * 4
    said = foreign.run(systemc, on + DEEP).stdout.split()
    assert sorted(said[-40:], key=int) == [str(number // 2) for number in range(40)]
