"""Fixtures of the core's tests: memory for stacks, and each test leaves the core as it found it."""

import os
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import pytest

import stackwarden

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def child_without_a_limit(child):
    """child_without_a_limit(program): in a process whose native stack has no limit (`ulimit -s unlimited`)."""
    import resource

    if resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
        pytest.skip("the stack's size is limited for good here")

    def run(program):
        words = [sys.executable, "-c", textwrap.dedent(program)]
        return child(f"""
            import os, resource, sys
            resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY,) * 2)
            os.execv(sys.executable, {words!r})
        """)

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """The thread is on its native stack before and after each test, and nothing stays registered.

    Not a fixture: it goes back where fewer calls are active than where the test told, which counters
    (3.11 to 3.13) want.
    """
    test = pyfuncitem.obj

    def run(**arguments):
        wait_for_threads_that_ended()
        stackwarden.reset_stack()
        try:
            test(**arguments)
        finally:
            stackwarden.reset_stack()
            unregister_all()

    pyfuncitem.obj = run


def wait_for_threads_that_ended():
    """Until CPython 3.13 join() returns a little before the thread is gone, its stacks with it."""
    tasks, deadline = Path("/proc/self/task"), time.monotonic() + 5
    while len(list(tasks.iterdir())) > threading.active_count() and time.monotonic() < deadline:
        os.sched_yield()


def unregister_all():
    for stack in stackwarden.stacks():
        if stack.bounds_from == "told":
            try:
                stack.unregister()
            except stackwarden.StackInUseError:
                continue  # a transient record: it stays until it is needed again


@pytest.fixture
def new_stack(memory):
    """new_stack(size=1 MiB, **options): a registered Stack on memory of its own."""

    def get(size=MIB, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stackwarden.StackSizeWarning)
            return stackwarden.register_stack(memory(size), size, **options)

    return get


@pytest.fixture
def everything(effective_bounds):
    """everything(): all that a refused call must leave as it was. Call it at one depth."""

    def get():
        stacks = {
            (stack.handle, stack.base, stack.size, stack.name) for stack in stackwarden.stacks()
        }
        return stacks, stackwarden.status(), stackwarden.current_stack().handle, effective_bounds()

    return get


class Companion:
    """Another thread, that does one thing after another when asked to."""

    def __init__(self):
        self._ask, self._answered = threading.Semaphore(0), threading.Semaphore(0)
        self._errand = self._result = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    @property
    def ident(self):
        return self._thread.ident

    def __call__(self, function, *arguments):
        self._errand = lambda: function(*arguments)
        self._ask.release()
        self._answered.acquire()
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def end(self):
        self._errand = None
        self._ask.release()
        self._thread.join()

    def _work(self):
        while self._ask.acquire() and self._errand is not None:
            try:
                self._result = self._errand()
            except BaseException as error:
                self._result = error
            self._answered.release()


@pytest.fixture
def companion():
    """companion(function, *arguments): call it in another thread, always the same."""
    other = Companion()
    yield other
    other.end()
