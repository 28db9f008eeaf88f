"""Fixtures: programs that use user threads in C (tests/extensions/fibers), in children."""

import textwrap

import pytest

import stackwarden

PRELUDE = """\
import contextvars, gc, random, sys, threading
import stackwarden
import fibers
from fibers import *
"""
ISOLATIONS = [word for word in stackwarden.status()["isolation"] if word != "none"]

collect_ignore = [] if "thread-state" in ISOLATIONS else ["test_moving.py", "test_own_states.py"]


def pytest_generate_tests(metafunc):
    """`isolation` stands for each kind that can be had on this interpreter."""
    if "isolation" in metafunc.fixturenames:
        metafunc.parametrize("isolation", ISOLATIONS)


@pytest.fixture
def fiber_child(fibers, child):
    """fiber_child(program, ends=0, arguments=()): the lines that a program printed in a child."""

    def run(program, **options):
        done = child(PRELUDE + textwrap.dedent(program), **{"seconds": 20} | options)
        return done.stdout.splitlines()

    return run
