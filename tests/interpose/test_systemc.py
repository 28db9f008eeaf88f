"""Real SystemC: SC_THREADs are reached by QuickThreads' jumps, with the GIL held.

Debian's libsystemc, unpacked into the cache.
"""

import pytest

import commands
import debian
import extensions
import foreign
import paths
from availability import unavailable

SOURCE = paths.SHARED / "systemc" / "systemc_threads.cpp"

RELEASES = """
    foreign.simulate(None, True)
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
