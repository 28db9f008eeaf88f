"""Python on Boost.Context stacks, told of through the public header alone: it ends exactly right.

The extension under test is built as a package outside this checkout would build it. Each workload
runs in a child process; its twin of which CPython is told nothing ends as the table says, so that a
guard that works can be told from a workload that is harmless. By default a fixed subset of the
matrix runs in which every pair of values meets; STACKWARDEN_MATRIX=full runs it whole.
"""

import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

import children
import commands
import debian
import stackwarden
from availability import find_program, unavailable
from stackwarden.testing.workloads import WORKLOADS

HERE = Path(__file__).parent
KIB = 1024
SIZES = [128 * KIB, 256 * KIB, 1024 * KIB, 8192 * KIB]
PLACEMENTS = ["below", "above"]
ENGINES = ["fiber", "fcontext"]
TELLERS = ["handle", "scope", "notify", "sync"]

TWIN_SIZE = 256 * KIB

# How CPython limits recursion, which decides what it does on a stack that it is not told of. Patch
# releases of 3.12 and 3.13 differ in the C calls they count: 1,500 on 3.12.1, 10,000 on 3.13.0.
POINTER = "stack pointer"
MANY_CALLS = "10,000 C calls"
FEW_CALLS = "1,500 C calls"
ONE_LIMIT = "one limit for Python and C calls"


def limit() -> str:
    """The kind of the running CPython."""
    if sys.version_info >= (3, 14):
        return POINTER
    if sys.version_info < (3, 12):
        return ONE_LIMIT
    return MANY_CALLS if stackwarden.status()["native_levels"] > 5000 else FEW_CALLS


# Stacks too small for the fewest calls (120) that the package leaves a stack on these versions.
NOT_COVERED = {
    ONE_LIMIT: {("sorted", 128 * KIB), ("sorted", 256 * KIB)},
    FEW_CALLS: {("sorted", 128 * KIB)},
    MANY_CALLS: {("sorted", 128 * KIB)},
    POINTER: set(),
}[limit()]

# How a workload ends unprotected, (below, above): the process dies of SIGSEGV, or memory is never
# freed, or the workload is no twin because CPython ends it well by itself.
DIES, LEAKS, NO_TWIN = "dies", "leaks", "no twin"
UNPROTECTED = {
    ONE_LIMIT: {
        "add": (DIES, DIES),
        "repr": (NO_TWIN, NO_TWIN),
        "containers": (NO_TWIN, NO_TWIN),
        "sorted": (DIES, DIES),
        "json": (NO_TWIN, NO_TWIN),
        "deepcopy": (NO_TWIN, NO_TWIN),
        "pickle": (NO_TWIN, NO_TWIN),
        "tuples": (NO_TWIN, NO_TWIN),
    },
    FEW_CALLS: {
        "add": (DIES, DIES),
        "repr": (NO_TWIN, NO_TWIN),
        "containers": (NO_TWIN, NO_TWIN),
        "sorted": (DIES, DIES),
        "json": (NO_TWIN, NO_TWIN),
        "deepcopy": (NO_TWIN, NO_TWIN),
        "pickle": (NO_TWIN, NO_TWIN),
        "tuples": (NO_TWIN, NO_TWIN),
    },
    MANY_CALLS: {
        "add": (DIES, DIES),
        "repr": (DIES, DIES),
        "containers": (NO_TWIN, NO_TWIN),
        "sorted": (DIES, DIES),
        "json": (DIES, DIES),
        "deepcopy": (DIES, DIES),
        "pickle": (DIES, DIES),
        "tuples": (DIES, DIES),
    },
    POINTER: {
        "add": (DIES, DIES),
        "repr": (DIES, DIES),
        "containers": (LEAKS, NO_TWIN),
        "sorted": (DIES, DIES),
        "json": (DIES, DIES),
        "deepcopy": (NO_TWIN, DIES),
        "pickle": (DIES, DIES),
        "tuples": (LEAKS, DIES),
    },
}[limit()]


def covering_pairs(rows: Iterable[Sequence[object]]) -> Iterator[Sequence[object]]:
    """The fixed few of these rows that hold every pair of values that meets in any of them."""
    pairs_of = {tuple(row): set(itertools.combinations(list(enumerate(row)), 2)) for row in rows}
    missing = set().union(*pairs_of.values())
    while missing:
        best = max(pairs_of, key=lambda row: len(pairs_of[row] & missing))
        missing -= pairs_of[best]
        yield best


def matrix() -> list[Sequence[object]]:
    """The protected cases to run: workload, size, placement, engine, teller."""
    rows = [
        row
        for row in itertools.product(WORKLOADS, SIZES, PLACEMENTS, ENGINES, TELLERS)
        if row[:2] not in NOT_COVERED
    ]
    return rows if os.environ.get("STACKWARDEN_MATRIX") == "full" else list(covering_pairs(rows))


@pytest.fixture(scope="session")
def extension(tmp_path_factory) -> Path:
    """The folder with the extension, built for this interpreter."""
    try:
        boost = debian.unpack("libboost-context-dev", release=debian.own_release())
    except commands.HarnessError as error:
        unavailable("boost", str(error))
    cmake = find_program("cmake")
    folder = tmp_path_factory.mktemp("boost")
    cmake_dir = commands.output(sys.executable, "-m", "stackwarden", "--cmakedir").strip()
    commands.output(
        *(cmake, "-S", HERE, "-B", folder, "-DCMAKE_BUILD_TYPE=Release"),
        *(f"-DPython_EXECUTABLE={sys.executable}", f"-Dstackwarden_DIR={cmake_dir}"),
        f"-DCMAKE_PREFIX_PATH={boost / 'usr'}",
    )
    commands.output(cmake, "--build", folder)
    return folder


def run(extension: Path, program: str | Path, **how) -> str:
    return children.run_python(program, PYTHONPATH=str(extension), **how).stdout.strip()


def run_workload(extension: Path, workload, size, placement, engine, teller, **how) -> str:
    arguments = [workload, placement, str(size), engine, teller]
    return run(extension, HERE / "child.py", arguments=arguments, **how)


@pytest.mark.parametrize(("workload", "size", "placement", "engine", "teller"), matrix())
def test_protected_work_ends_exactly_right(extension, workload, size, placement, engine, teller):
    said = run_workload(extension, workload, size, placement, engine, teller)
    assert json.loads(said) == {
        "outcome": WORKLOADS[workload].expected,
        "placement": placement,
        "back_on_own_stack": True,
        "registered": 0,
        "afterwards": "RecursionError",
        "memory_afterwards": "freed",
    }


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_unprotected_twin_ends_as_the_table_says(extension, workload, placement):
    end = UNPROTECTED[workload][PLACEMENTS.index(placement)]
    twin = (extension, workload, TWIN_SIZE, placement, "fiber", "none")
    if end == DIES:
        run_workload(*twin, ends=-11)
        return
    report = json.loads(run_workload(*twin))
    assert report["outcome"] == ("leaked" if end == LEAKS else WORKLOADS[workload].expected)
    assert report["placement"] == placement


@pytest.mark.parametrize("way", ["return", "throw", "throw through two", "end of block, by handle"])
def test_a_stack_scope_restores_on_every_way_out(extension, way):
    script = f"""
import fibers, stackwarden
base = fibers.map_stack(1 << 20)
native = stackwarden.current_stack()
inside, after = fibers.scope_left_by({way!r}, base, 1 << 20)
assert inside == base, (inside, base)
assert after == native.base, (after, native)
assert stackwarden.current_stack() == native
def recurse():
    recurse()
try:
    recurse()
except RecursionError:
    print("protected")
"""
    assert run(extension, script) == "protected"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("teller", TELLERS)
def test_what_is_raised_on_a_fiber_comes_out_of_it(extension, engine, teller):
    script = f"""
import fibers, stackwarden
base = fibers.map_stack(1 << 18)
native = stackwarden.current_stack()
def fail():
    assert stackwarden.current_stack().base == base
    raise LookupError("from the fiber")
try:
    fibers.run(fail, base, 1 << 18, {engine!r}, {teller!r})
except LookupError as error:
    print(error)
assert stackwarden.current_stack() == native
"""
    assert run(extension, script) == "from the fiber"


@pytest.mark.parametrize("teller", ["handle", "scope", "sync"])
def test_a_fiber_started_on_a_fiber_returns_to_that_fiber(extension, teller):
    script = f"""
import fibers, stackwarden
from stackwarden.testing.workloads import WORKLOADS
size = 1 << 20
outer, inner = fibers.map_stack(size), fibers.map_stack(size)
outcomes = []
def work(base):
    assert stackwarden.current_stack().base == base
    outcomes.append(WORKLOADS["add"].run())
def on_outer():
    work(outer)
    fibers.run(lambda: work(inner), inner, size, "fiber", {teller!r})
    work(outer)
fibers.run(on_outer, outer, size, "fiber", {teller!r})
print(outcomes == ["RecursionError"] * 3)
"""
    assert run(extension, script) == "True"


def test_a_refused_stack_is_reported_and_the_former_one_stays_current(extension):
    script = """
import fibers, stackwarden
base = fibers.map_stack(1 << 18)
native = stackwarden.current_stack()
for teller in "handle", "scope", "notify", "sync":
    try:
        fibers.run(print, base, 16384, "fiber", teller)
    except RuntimeError as error:
        assert "smaller than this interpreter can protect" in str(error), error
    assert stackwarden.current_stack() == native, teller
print("refused")
"""
    assert run(extension, script) == "refused"


CONFORMANCE = """
import fibers
from stackwarden.testing import check_adapter
pools = {{}}
def run(function, stack_size):
    pool = pools.setdefault(stack_size, [])
    base = pool.pop() if pool else fibers.map_stack(stack_size)
    try:
        return fibers.run(function, base, stack_size, {engine!r}, {teller!r})
    finally:
        pool.append(base)
try:
    print(len(check_adapter(run)) > 0)
except AssertionError as error:
    print(error)
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("teller", ["handle", "scope", "sync"])
def test_the_conformance_kit_finds_no_fault(extension, engine, teller):
    script = CONFORMANCE.format(engine=engine, teller=teller)
    assert run(extension, script) == "True"


def test_the_conformance_kit_finds_that_a_bare_notify_and_reset_does_not_nest(extension):
    script = CONFORMANCE.format(engine="fiber", teller="notify")
    assert run(extension, script).startswith("nesting, stack of 262144 bytes: left <Stack")
