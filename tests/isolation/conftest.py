"""Fixtures of the tests of isolation: every test leaves no stack behind that cannot be ended."""

import gc
import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from stackwarden.adapters.ucontext import Coroutine

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

    def run(program, mode="frames", options=(), **variables):
        done = run_python(
            "-c", PRELUDE.format(mode=mode) + textwrap.dedent(program), options=options, **variables
        )
        assert done.stderr == ""
        return done.stdout

    return run


def run_python(*arguments, python=sys.executable, options=(), **variables):
    """Run Python in this folder; it must end with status 0."""
    done = subprocess.run(
        [python, "-X", "faulthandler", *options, *arguments],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        cwd=HERE,
    )
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done
