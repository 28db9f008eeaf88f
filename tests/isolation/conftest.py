"""Fixtures of the tests of isolation: every test leaves no stack behind that cannot be ended."""

import gc
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from stackwarden.adapters.ucontext import Coroutine

import children
import stackwarden

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

MODES = ("frames",) if sys.version_info < (3, 12) else ("frames", "thread-state")


def pytest_generate_tests(metafunc):
    """A test that takes `coroutine` or `mode` runs once for each isolation that there is."""
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", MODES)


@pytest.fixture
def coroutine(mode):
    """coroutine(function, *arguments, **options): a Coroutine with the isolation under test."""
    return partial(Coroutine, isolation=mode)


@pytest.fixture(autouse=True)
def nothing_is_lost():
    def lost():
        gc.collect()
        status = stackwarden.status()
        return status["leaked_stacks"], status["dropped_states"]

    before = lost()
    yield
    assert lost() == before


PRELUDE = """\
import gc, sys, threading, weakref
import stackwarden
from stackwarden.adapters.ucontext import Coroutine, suspend

def coroutine(*arguments, **options):
    return Coroutine(*arguments, isolation={mode!r}, **options)
"""


@pytest.fixture
def quiet_child():
    """quiet_child(program, mode="frames"): a process that must end well and complain of nothing.

    The program finds `coroutine`, `suspend`, `stackwarden` and some modules. Returns what it printed.
    """

    def run(program, mode="frames", **how):
        done = children.run_python(PRELUDE.format(mode=mode) + textwrap.dedent(program), **how)
        assert done.stderr == ""
        return done.stdout

    return run
