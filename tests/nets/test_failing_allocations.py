"""Each allocation fails once, in every operation: a refusal each time, nothing changed, left behind or locked.

As SQLite's tests do. The operations are in operations.py, what is checked of each in failing.py.
"""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import commands
import extensions
from availability import unavailable

HERE = Path(__file__).parent
OURS, PYTHONS = "ours", "pythons"


@pytest.fixture(scope="module")
def failing_library(tmp_path_factory):
    target = tmp_path_factory.mktemp("failing") / "failing.so"
    commands.output(
        *extensions.compiler(), *("-shared", "-fPIC", "-O1"), HERE / "failing.c", "-o", target
    )
    return target


@pytest.fixture
def run(request, child):
    """run(way, ...): what failing.py says last, in two numbers: refusals, and wrong ends; and all that it says."""

    def run_way(way, *more):
        variables = {"MALLOC_ARENA_MAX": "1"}  # an arena would look like a stack that is left
        if way == OURS:
            variables["LD_PRELOAD"] = str(request.getfixturevalue("failing_library"))
        elif importlib.util.find_spec("_testcapi") is None:
            unavailable("_testcapi", "this CPython came without the modules of its tests")
        said = child(HERE / "failing.py", arguments=[way, *more], seconds=280, **variables).stdout
        refused, wrong = re.search(r"(\d+) refusals, (\d+) wrong\n$", said).groups()
        return int(refused), int(wrong), said

    return run_way


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD")
@pytest.mark.parametrize(("way", "least"), [(OURS, 40), (PYTHONS, 200)])
def test_every_allocation_may_fail_in_every_operation(run, way, least):
    refused, wrong, said = run(way)
    assert wrong == 0, said
    assert refused > least, said


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD")
@pytest.mark.parametrize("way", [OURS, PYTHONS])
def test_an_operation_that_leaves_something_behind_is_found(run, way):
    _, wrong, said = run(way, "planted")
    assert wrong > 0
    assert "a refusal changed" in said
