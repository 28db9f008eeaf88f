"""The map of memory is kept open between two questions: one file at most, and none that means something else."""

import sys

import pytest

from availability import unavailable

if sys.platform != "linux":
    unavailable("/proc/self/maps", "it is Linux's")

PROGRAM = """
import os
import stackwarden, capi_probe as probe

probe.import_table()
KIB, SIZE = 1024, 192 * 1024

def kept():
    found = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/maps"):
                found.append(descriptor)
        except OSError:
            pass  # the listing's own
    return found

def base_seen(base, size):
    def look():
        stackwarden.sync_stack()
        return stackwarden.current_stack().base
    return probe.call_on(base, size, look)

def is_right():
    whole = probe.map_memory(SIZE + 8 * KIB)
    probe.forbid(whole, 4 * KIB)
    probe.forbid(whole + SIZE + 4 * KIB, 4 * KIB)
    return base_seen(whole + 4 * KIB, SIZE) == whole + 4 * KIB
"""


@pytest.fixture
def ask(child):
    """ask(program): the lines that it printed."""

    def run(program):
        printed = child(PROGRAM + program).stdout.splitlines()
        if printed == ["no query"]:
            unavailable("PROCMAP_QUERY", "this kernel does not have it")
        return printed

    return run


def test_one_file_is_kept_however_often_it_is_asked(ask):
    program = """
assert all(is_right() for _ in range(100))
print(len(kept()) or "no query")
"""
    assert ask(program) == ["1"]


def test_a_descriptor_that_was_closed_and_given_to_another_file(ask, tmp_path):
    program = f"""
assert is_right()
if not kept():
    print("no query")
    raise SystemExit
(descriptor,) = kept()
os.close(descriptor)
assert os.open({str(tmp_path / "other")!r}, os.O_CREAT | os.O_RDWR) == descriptor
print(is_right(), is_right(), len(kept()), descriptor in kept())
os.write(descriptor, b"still open")
"""
    assert ask(program) == ["True True 1 False"]
    assert (tmp_path / "other").read_bytes() == b"still open"


def test_a_forked_child_asks_for_a_map_of_its_own(ask):
    program = """
assert is_right()
if not kept():
    print("no query")
    raise SystemExit
if os.fork() == 0:
    before = len(kept())
    print(before, is_right(), is_right(), len(kept()), flush=True)
    os._exit(0)
os.wait()
print(len(kept()), is_right())
"""
    assert ask(program) == ["0 True True 1", "1 True"]
