"""Pools that run tasks on stacks which they made themselves: known ones are used, from unknown ones is carried."""

from pathlib import Path

import pytest

import commands
import extensions

BEACON = Path(__file__).parents[1] / "beacon"

PROGRAM = """
runtime = ctypes.CDLL({library!r})
TASK = ctypes.CFUNCTYPE(None)
pool, end = start("pthreads 1024K")

def on_a_fiber(task):
    pool.enqueue(lambda: runtime.call_on_new_stack(TASK(task)))

def work():
    here = stackwarden.current_stack()
    return recurse(), here.size >> 10 if here.size < 1 << 20 else "large"

with wrap_thread_pool(on_a_fiber, min_stack={least!r}) as executor:
    print(*{{future.result() for future in [executor.submit(work) for _ in range(9)]}})
end()
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """runtime(headers=None): the small runtime of tests/beacon as a library, whose stacks have 256 KiB."""
    folder = tmp_path_factory.mktemp("runtime")

    def get(headers=None):
        target = folder / f"libruntime{headers is None:d}.so"
        commands.output(
            *extensions.compiler("c", headers), "-O1", "-shared", "-fPIC", "-pthread",
            '-DNAME="fibers"', BEACON / "runtime.c", "-o", target,
        )  # fmt: skip
        return str(target)

    return get


def test_where_a_beacon_tells_of_them_they_are_used(pool_child, runtime):
    program = PROGRAM.format(library=runtime(), least="64K")
    assert pool_child("pthreads", program) == ["('RecursionError', 256)"]


def test_where_they_are_too_small_tasks_are_carried(pool_child, runtime):
    program = PROGRAM.format(library=runtime(), least="512K")
    assert pool_child("pthreads", program) == ["('RecursionError', 'large')"]


def test_where_nobody_tells_tasks_are_carried_too(pool_child, runtime):
    program = PROGRAM.format(library=runtime(BEACON / "silent"), least="512K")
    assert pool_child("pthreads", program) == ["('RecursionError', 'large')"]
