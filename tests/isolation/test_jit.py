"""Coroutines that are left in machine code of the JIT. What runs is in crowd.py and jit.py.

The JIT drops what it made for a loop, and frees it when no thread state says that it is in it: a
suspended stack has to hold what it will go back to. 3.14 (3.14.10) was seen to drop, but not to
free; 3.15 does both.
"""

import json
import sys
from pathlib import Path

import pytest

import children
from availability import unavailable

HERE = Path(__file__).parent


def run(script, *arguments):
    return children.run_python(
        HERE / script, arguments=arguments, seconds=250, PYTHON_JIT="1"
    ).stdout


if sys.version_info >= (3, 14):

    @pytest.fixture(autouse=True)
    def jit_is_there():
        if not sys._jit.is_available():
            unavailable("the JIT", f"{sys.executable} was built without it")

    def test_hot_loops_are_left_thrown_away_and_resumed():
        said = json.loads(run("jit.py"))
        assert said["enabled"]
        assert all(said["executors"].values()), said

    def test_a_crowd_in_random_order_keeps_its_state():
        counted = json.loads(run("crowd.py", "1", "300", "60000"))
        assert counted["checks"] > 120_000
        assert counted["leaked_stacks"] == 0
        before, after = counted["blocks"]
        # Machine code is made as code becomes hot; a leak would be one block for each coroutine.
        assert after - before < 150
