"""Twins of greenlets that began on a foreign stack and are resumed from the thread's own.

Claims: below the thread's own stack, protected work comes out right, and unprotected work ends as the table
says. Above it greenlet itself ends the process inside switch(), which is refused; and what the foreign stack
has put since where the greenlet lay is lost: nothing is promised there.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from availability import unavailable
from stackwarden.testing import child
from stackwarden.testing.workloads import WORKLOADS

try:
    import greenlet  # noqa: F401
except ImportError as error:
    unavailable("greenlet", str(error))

BEGUN = Path(__file__).with_name("begun.py")
KIB = 1024
SIZE = 256 * KIB
OTHER_SIZES = (128 * KIB, 1024 * KIB, 8192 * KIB)
VERSION = sys.version_info[:2]

# Measured on Linux x86-64 with CPython 3.14.10 and 3.15.2, greenlet 3.5.6, on 256 KiB.
# 3.11 to 3.13 count calls, and greenlet takes the counters along: all comes out right by itself.
UNPROTECTED = {
    "add": "SIGSEGV",
    "repr": "SIGSEGV",
    "containers": "leaked",
    "sorted": "SIGSEGV",
    "json": "SIGSEGV",
    "pickle": "SIGSEGV",
    "tuples": "leaked",
}


def end_of(workload: str, placement: str, adapter: str, size: int = SIZE) -> child.End:
    return child.wait(child.start_python(BEGUN, workload, placement, str(size), adapter))


RUNS = [(workload, "below", "yes") for workload in WORKLOADS]
RUNS += [(workload, "below", "no") for workload in UNPROTECTED]
RUNS += [(name, "below", "yes", size) for size in OTHER_SIZES for name in ("add", "containers")]
RUNS += [("add", "below", "late"), ("containers", "below", "late")]
RUNS += [("add", place, adapter) for place in ("above", "above-later") for adapter in ("yes", "no")]
RUNS += [("containers", "deeper", "yes"), ("containers", "deeper", "no")]


@pytest.fixture(scope="module")
def ends() -> Iterator[dict[tuple[object, ...], Future[child.End]]]:
    pool = ThreadPoolExecutor(2)
    try:
        yield {run: pool.submit(end_of, *run) for run in RUNS}
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_protected_work_comes_out_right_below(workload, ends):
    end = ends[workload, "below", "yes"].result()
    assert end.outcome == WORKLOADS[workload].expected, end.errors
    assert end.report["stack_base"] + SIZE <= end.report["native_base"]
    assert end.report["afterwards"] == {"add": "RecursionError", "containers": "freed"}


@pytest.mark.parametrize("size", OTHER_SIZES)
@pytest.mark.parametrize("workload", ["add", "containers"])
def test_protected_work_comes_out_right_on_stacks_of_other_sizes(workload, size, ends):
    end = ends[workload, "below", "yes", size].result()
    assert end.outcome == WORKLOADS[workload].expected, end.errors
    assert end.report["afterwards"] == {"add": "RecursionError", "containers": "freed"}


@pytest.mark.parametrize("workload", ["add", "containers"])
def test_a_greenlet_that_began_before_install_is_protected_too(workload, ends):
    end = ends[workload, "below", "late"].result()
    assert end.outcome == WORKLOADS[workload].expected, end.errors
    assert end.report["afterwards"] == {"add": "RecursionError", "containers": "freed"}


@pytest.mark.parametrize("workload", UNPROTECTED)
def test_unprotected_twin_ends_as_the_table_says(workload, ends):
    end = ends[workload, "below", "no"].result()
    counted = VERSION < (3, 14)
    expected = WORKLOADS[workload].expected if counted else UNPROTECTED[workload]
    assert end.outcome == expected, end.errors
    assert end.report["inside"]


@pytest.mark.parametrize("placement", ["above", "above-later"])
@pytest.mark.parametrize(("adapter", "outcome"), [("yes", "exit status 1"), ("no", "SIGSEGV")])
def test_above_the_process_ends_inside_switch_or_it_is_refused(placement, adapter, outcome, ends):
    """Wherever the thread's first switch was made."""
    end = ends["add", placement, adapter].result()
    assert end.outcome == outcome, end.errors
    assert ("IsolationRequiredError" in end.errors) == (adapter == "yes")
    assert end.report["stack_base"] > end.report["native_base"]
    assert "inside" not in end.report


@pytest.mark.parametrize("adapter", ["yes", "no"])
def test_a_foreign_stack_that_has_gone_deeper_since_is_overwritten(adapter, ends):
    """The greenlet goes on; the foreign stack does not."""
    end = ends["containers", "deeper", adapter].result()
    assert end.outcome == "SIGSEGV", end.errors
    assert end.report["inside"]
    assert "afterwards" in end.report
