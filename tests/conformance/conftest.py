"""Fixtures: programs on the user threads of the example of docs/user-threads.md, a small scheduler on pthreads."""

import textwrap
from pathlib import Path

import pytest

import user_threads

BARE = Path(__file__).parent / "bare"

PRELUDE = """\
import sys, threading, time
from concurrent.futures import Future
from functools import partial
import stackwarden
from stackwarden.testing import check_adapter, check_user_threads
from stackwarden.testing.workloads import WORKLOADS
import my_system

def settle(future, function):
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)

def run_all(functions, stack_size):
    futures = [Future() for _ in functions]
    my_system.run_all(tuple(partial(settle, *pair) for pair in zip(futures, functions)), stack_size)
    return [future.result() for future in futures]

def run(function, stack_size):
    return run_all([function], stack_size)[0]

def interleave(functions, stack_size):
    return run_all([partial(function, my_system.pause) for function in functions], stack_size)

my_system.start(int(sys.argv[1]))
"""


@pytest.fixture(scope="session")
def protected(tmp_path_factory):
    """The folder of the example's module."""
    return user_threads.build_example(tmp_path_factory.mktemp("protected")).parent


@pytest.fixture(scope="session")
def unprotected(tmp_path_factory):
    """The same, with a header that does what an extension does that knows of no user threads."""
    return user_threads.build_example(tmp_path_factory.mktemp("unprotected"), headers=BARE).parent


@pytest.fixture
def on_workers(child):
    """on_workers(count, program, folder, ends=0): what it printed, and what it wrote to standard error."""

    def run(count, program, folder, **options):
        done = child(
            PRELUDE + textwrap.dedent(program),
            arguments=[str(count)],
            PYTHONPATH=str(folder),
            **options,
        )
        return done.stdout.splitlines(), done.stderr

    return run
