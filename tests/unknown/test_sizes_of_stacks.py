"""How large an unknown stack is: as large as its entry of the map where all signs say that the entry is one stack.

Where one sign is missing it stays an estimate, and no base lies below the stack's own.
"""

import ctypes
import sys
from pathlib import Path

import pytest

import commands
import extensions
import stackwarden
from availability import unavailable

KIB = 1024
MIB = 1024 * KIB
PAGE = 4 * KIB
GROWS_DOWN = 0x100  # MAP_GROWSDOWN

if sys.platform != "linux":
    unavailable("/proc/self/pagemap", "it is Linux's")


def seen(probe, base, size):
    """The stack that a sync finds on [base, base + size)."""

    def look():
        stackwarden.sync_stack()
        return stackwarden.current_stack()

    return probe.call_on(base, size, look)


def range_of(stack):
    return stack.base, stack.size, stack.bounds_from


@pytest.fixture(autouse=True)
def pages_are_shown(probe, area):
    base = area(2 * MIB)
    if seen(probe, base, 2 * MIB).bounds_from != "map":
        unavailable("PAGEMAP_SCAN", "this kernel does not show which pages are in use")
    stackwarden.sync_stack()


@pytest.fixture
def guards(probe):
    """guards(kind)(address): makes one page a guard, of a kind that the map shows or of one that it does not."""

    def hidden(address):
        try:
            probe.install_guard(address, PAGE)
        except OSError as error:
            unavailable("MADV_GUARD_INSTALL", str(error))

    return {"shown": lambda address: probe.forbid(address, PAGE), "hidden": hidden}.__getitem__


def use(address):
    """Write where the frames of a stack would begin."""
    ctypes.memset(address - 64, 1, 64)


def row(area, number, size):
    """The (base, top) of stacks side by side, all of which have begun."""
    low = area(number * size)
    stacks = [(low + i * size, low + (i + 1) * size) for i in range(number)]
    for _, top in stacks:
        use(top)
    return stacks


@pytest.mark.parametrize("size", [512 * KIB, 2 * MIB, 8 * MIB, 64 * MIB])
def test_a_stack_with_a_guard_of_its_own_is_as_large_as_it_is(probe, area, size):
    base = area(size)
    assert range_of(seen(probe, base, size)) == (base, size, "map")


@pytest.mark.parametrize("kind", ["shown", "hidden"])
def test_stacks_of_a_pool_with_a_guard_each(probe, area, guards, kind):
    size = 2 * MIB
    stacks = row(area, 3, size)
    for base, _ in stacks:
        guards(kind)(base)
    for base, top in stacks:
        expected = (base + PAGE, size - PAGE, "map")
        assert range_of(seen(probe, base + PAGE, top - base - PAGE)) == expected


@pytest.mark.parametrize("deep", [100 * KIB, 600 * KIB, 1200 * KIB])
def test_one_between_two_guards_may_be_deep_in_use_when_it_is_first_seen(probe, area, deep):
    """polars enters Python for the first time 1.2 MiB below the top of its stacks of 2 MiB."""
    base, size = area(2 * MIB), 2 * MIB

    def work():
        probe.sync_below(deep)
        return stackwarden.current_stack()

    assert range_of(probe.call_on(base, size, work)) == (base, size, "map")


def test_one_with_one_guard_may_not(probe, area):
    base, size = area(2 * MIB), 2 * MIB - PAGE
    probe.unmap_memory(base + size, PAGE)

    def work():
        probe.sync_below(600 * KIB)
        return stackwarden.current_stack()

    assert probe.call_on(base, size, work).bounds_from == "estimate"


def test_above_the_bound_it_is_an_estimate(probe, area):
    size = 64 * MIB + PAGE
    assert seen(probe, area(size), size).bounds_from == "estimate"


@pytest.mark.parametrize("size", [256 * KIB, 2 * MIB])
def test_stacks_behind_one_guard_are_estimates(probe, area, size):
    for base, top in row(area, 3, size)[1:]:
        stack = seen(probe, base, top - base)
        assert stack.base >= base
        assert stack.bounds_from == "estimate"


def test_small_stacks_behind_one_guard_are_not_taken_for_one(probe, area):
    stacks = row(area, 8, 64 * KIB)
    assert {seen(probe, base, top - base).bounds_from for base, top in stacks[4:]} == {"estimate"}


def test_a_stack_that_grows_downwards_is_an_estimate(probe, memory, map_anew):
    whole, size = memory(8 * MIB), 2 * MIB
    probe.unmap_memory(whole, 6 * MIB)
    map_anew(whole + 6 * MIB, size, GROWS_DOWN)
    stack = seen(probe, whole + 6 * MIB, size)
    assert stack.base >= whole + 6 * MIB
    assert stack.bounds_from == "estimate"


def test_neighbours_without_guard_are_estimates(probe, memory):
    size = 256 * KIB
    low = memory(2 * size)
    for base in (low, low + size):
        use(base + size)
    stack = seen(probe, low + size, size)
    assert stack.base >= low + size
    assert stack.bounds_from == "estimate"


def test_the_second_stack_that_begins_makes_the_first_an_estimate_again(probe, area):
    low, size = area(4 * MIB), 2 * MIB
    assert seen(probe, low + size, size).base == low  # nothing beneath has begun
    lower = seen(probe, low, size)
    upper = seen(probe, low + size, size)
    assert (lower.bounds_from, upper.bounds_from) == ("estimate", "estimate")
    assert upper.base >= low + size


def test_a_gap_beneath_says_nothing(probe, memory):
    whole, size = memory(4 * MIB), 2 * MIB
    probe.unmap_memory(whole, 2 * MIB)
    assert seen(probe, whole + 2 * MIB, size).bounds_from == "estimate"


def test_one_with_a_known_stack_beneath_is_an_estimate(probe, area):
    low, size = area(4 * MIB), 2 * MIB
    with stackwarden.register_stack(low, size):
        stack = seen(probe, low + size, size)
    assert stack.base >= low + size
    assert stack.bounds_from == "estimate"


@pytest.mark.parametrize("in_thread", [False, True])
def test_memory_of_malloc_stays_an_estimate(probe, area, in_thread):
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    size = 96 * KIB  # less than what malloc maps by itself

    def work():
        memory = libc.malloc(size)
        base = memory + -memory % 16
        stack = seen(probe, base, (memory + size - base) & -16)
        stackwarden.sync_stack()
        libc.free(memory)
        return stack.bounds_from

    native = area(MIB)
    assert (probe.call_in_thread(work, native, MIB) if in_thread else work()) == "estimate"


def test_a_nested_entry_deep_down_finds_the_same_stack(probe, area):
    base, size = area(2 * MIB), 2 * MIB

    def work():
        stackwarden.sync_stack()
        first = stackwarden.current_stack()
        probe.sync_below(MIB)
        return first, stackwarden.current_stack()

    first, second = probe.call_on(base, size, work)
    assert range_of(first) == range_of(second) == (base, size, "map")


DEEP = """
import stackwarden, capi_probe as probe

probe.import_table()
KIB, SIZE = 1024, 2048 * 1024
whole = probe.map_memory(SIZE + 8 * KIB)
base = whole + 4 * KIB
probe.forbid(whole, 4 * KIB)
probe.forbid(base + SIZE, 4 * KIB)
{several}
deep = None
for _ in range(3000):
    deep = [deep]

def work():
    stackwarden.sync_stack()
    return len(repr(deep))

try:
    print(probe.call_on(base, SIZE, work))
except RecursionError:
    print("RecursionError")
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="calls are counted before 3.14")
@pytest.mark.parametrize(
    ("several", "printed"),
    [("", "6004"), ("import ctypes; ctypes.memset(base, 1, 1)", "RecursionError")],
    ids=["one", "several"],
)
def test_what_works_without_bounds_works_on_a_stack_of_two_mebibytes(child, several, printed):
    """The twin, which an estimate is made for, does not."""
    assert child(DEEP.format(several=several)).stdout.split() == [printed]


# ---- kernels that know less ----

OLDER = """
import stackwarden, capi_probe as probe

probe.import_table()
KIB, SIZE, PAGE = 1024, 2048 * 1024, 4096

def seen():
    stackwarden.sync_stack()
    outer = stackwarden.current_stack()
    probe.sync_below(64 * KIB)
    nested = stackwarden.current_stack()
    assert nested == outer, (outer, nested)
    return outer

def show(base, size):
    for _ in range(2):
        stack = probe.call_on(base, size, seen)
        stackwarden.sync_stack()
        print(stack.base - base, stack.size - size, stack.bounds_from)

def area(size):
    whole = probe.map_memory(size + 2 * PAGE)
    probe.forbid(whole, PAGE)
    probe.forbid(whole + PAGE + size, PAGE)
    return whole + PAGE

show(area(SIZE), SIZE)
pool = area(2 * SIZE)
try:
    probe.install_guard(pool + SIZE, PAGE)
    show(pool + SIZE + PAGE, SIZE - PAGE)
except OSError:
    show(area(SIZE), SIZE)
pool = area(2 * SIZE)
probe.call_on(pool, SIZE, seen)
stackwarden.sync_stack()
stack = probe.call_on(pool + SIZE, SIZE, seen)
print(stack.base >= pool + SIZE, stack.bounds_from)
"""


@pytest.mark.parametrize(
    "refused", ["", "16", "17", "16 17"], ids=["nothing", "scan", "query", "both"]
)
def test_older_kernels_show_it_too(child, tmp_path, refused):
    library = tmp_path / "refused.so"
    source = Path(__file__).parent / "refused.c"
    commands.output(*extensions.compiler(), *("-shared", "-fPIC"), source, "-o", library)
    printed = child(OLDER, LD_PRELOAD=str(library), REFUSED=refused).stdout.splitlines()
    assert printed == ["0 0 map"] * 4 + ["True estimate"]
