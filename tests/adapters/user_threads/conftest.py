"""Fixtures: child programs on real Argobots and real MassiveThreads."""

import textwrap

import pytest

import children
from user_threads import SYSTEMS, headers, library, python

PRELUDE = """\
import contextvars, ctypes, faulthandler, functools, gc, importlib, os, sys, threading
import stackwarden
from stackwarden import adapters
from stackwarden.testing.workloads import WORKLOADS
SYSTEM, LIBRARY, WORKERS = sys.argv[1], sys.argv[2], int(sys.argv[3])
system = importlib.import_module("stackwarden.adapters." + SYSTEM)
from_module = ["UserThread", "pause", "workers"]
UserThread, pause, workers = (getattr(system, name) for name in from_module)
"""
INSTALLED = PRELUDE + "adapters.install(SYSTEM, library=LIBRARY)\n"


@pytest.fixture(params=SYSTEMS)
def system(request):
    """Each system that can be had."""
    library(request.param)
    return request.param


@pytest.fixture(scope="session")
def headers_of():
    """headers_of(system): the folder of the system's own headers."""
    return headers


@pytest.fixture(params=[1, 2], ids=["1-worker", "2-workers"])
def count(request):
    """How many operating-system threads carry the user threads."""
    return request.param


@pytest.fixture
def child():
    """child(system, workers, program): the lines that it printed; it must end with `ends`."""

    def run(system, count, program, *, ends=0, prelude=INSTALLED, folder=None):
        done = children.run_python(
            prelude + textwrap.dedent(program),
            python=python(system),
            arguments=[system, library(system), str(count)],
            ends=ends,
            **({} if folder is None else {"PYTHONPATH": str(folder)}),
        )
        return done.stdout.splitlines()

    return run
