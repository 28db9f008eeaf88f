"""The map of memory and its pages are kept open between two questions: one file each at most, and none that means
something else."""

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

def kept(name="maps"):
    found = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith(f"/{name}"):
                found.append(descriptor)
        except OSError:
            pass  # the listing's own
    return found

def base_seen(base, size):
    def look():
        stackwarden.sync_stack()
        return stackwarden.current_stack().base
    return probe.call_on(base, size, look)

def is_right(size=SIZE):
    whole = probe.map_memory(size + 8 * KIB)
    probe.forbid(whole, 4 * KIB)
    probe.forbid(whole + size + 4 * KIB, 4 * KIB)
    return base_seen(whole + 4 * KIB, size) == whole + 4 * KIB

def is_large_right():
    return is_right(2048 * KIB)
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


# ---- the pages ----


@pytest.fixture
def ask_pages(ask):
    def run(program):
        printed = ask(
            "if not is_large_right():\n    print('no pages')\n    raise SystemExit\n" + program
        )
        if printed == ["no pages"]:
            unavailable("/proc/self/pagemap", "this kernel does not show which pages are in use")
        return printed

    return run


def test_one_file_of_pages_is_kept(ask_pages):
    program = """
assert all(is_large_right() for _ in range(100))
print(len(kept("pagemap")), os.get_inheritable(kept("pagemap")[0]))
"""
    assert ask_pages(program) == ["1 False"]


def test_all_descriptors_may_be_closed_and_given_to_other_files(ask_pages, tmp_path):
    program = f"""
(pages,) = kept("pagemap")
os.closerange(3, 1000)
others = [os.open({str(tmp_path)!r} + f"/{{i}}", os.O_CREAT | os.O_RDWR) for i in range(8)]
assert pages in others
print(is_large_right(), is_large_right(), len(kept("pagemap")), pages in kept("pagemap"))
for other in others:
    os.write(other, b"still open")
"""
    assert ask_pages(program) == ["True True 1 False"]
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"still open"}


def test_a_nested_entry_asks_no_other_file(ask_pages, tmp_path):
    """The descriptor is not checked there: whatever else has its number refuses the request."""
    program = f"""
whole = probe.map_memory(2048 * KIB + 8 * KIB)
base = whole + 4 * KIB
probe.forbid(whole, 4 * KIB)
probe.forbid(base + 2048 * KIB, 4 * KIB)

def work():
    stackwarden.sync_stack()
    os.closerange(3, 1000)
    others = [os.open({str(tmp_path / "other")!r}, os.O_CREAT | os.O_RDWR) for _ in range(8)]
    probe.sync_below(64 * KIB)
    nested = stackwarden.current_stack()
    print(nested.base == base, nested.size == 2048 * KIB, len(others))

probe.call_on(base, 2048 * KIB, work)
"""
    assert ask_pages(program) == ["True True 8"]


def test_a_forked_child_sees_pages_of_its_own(ask_pages):
    """In the child the lower stack has begun, and in the parent it has not."""
    program = """
SIZE = 1024 * KIB
whole = probe.map_memory(2 * SIZE + 8 * KIB)
base = whole + 4 * KIB
probe.forbid(whole, 4 * KIB)
probe.forbid(base + 2 * SIZE, 4 * KIB)

def bounds_from():
    stackwarden.sync_stack()
    return stackwarden.current_stack().bounds_from

def upper():
    return probe.call_on(base + SIZE, SIZE, bounds_from)

print(upper(), flush=True)
if os.fork() == 0:
    print(len(kept("pagemap")), probe.call_on(base, SIZE, bounds_from), upper(), flush=True)
    os._exit(0)
os.wait()
print(upper())
"""
    assert ask_pages(program) == ["map", "0 estimate estimate", "map"]
