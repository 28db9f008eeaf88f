"""Programs that link to the system, and call Python on its user threads with the public header alone."""

from pathlib import Path

import pytest

import commands
import extensions

HERE = Path(__file__).parent
LOADED = """\
import contextvars, ctypes, os, sys, threading
import stackwarden
from stackwarden.testing.workloads import WORKLOADS
SYSTEM, LIBRARY, WORKERS = sys.argv[1], sys.argv[2], int(sys.argv[3])
ctypes.CDLL(LIBRARY, ctypes.RTLD_GLOBAL)
os.environ.update(ABT_THREAD_STACKSIZE="262144")
"""
WORK = """
    name = contextvars.ContextVar("name", default=None)

    def work(number):
        assert name.get() in (None, number)
        name.set(number)
        count[number] = count.get(number, 0) + 1
        carriers.add(threading.get_native_id())
        if number % 10 == 0:
            assert WORKLOADS["add"].run() == "RecursionError"
        assert stackwarden.current_stack() == stackwarden.sync_stack()

    count, carriers = {}, set()
    home = threading.get_native_id()
"""
REPORT = """
    print(set(count.values()), len(count), 0 < len(carriers) <= WORKERS, home == threading.get_native_id())
    print(len(sys._current_frames()), stackwarden.status()["registered"], stackwarden.status()["leaked_stacks"])
"""
EXPECTED = ["{6} 500 True True", "1 0 0"]


@pytest.fixture
def argobots_user(headers_of):
    """The folder of the extension that links to Argobots."""
    return extensions.build(
        [HERE / "argobots_user.c"], "argobots_user", include=[headers_of("argobots")]
    ).parent


def test_python_on_user_threads_of_argobots(child, argobots_user, count):
    program = (
        WORK + "    import argobots_user; argobots_user.run(work, 500, 5, True, WORKERS)" + REPORT
    )
    assert child("argobots", count, program, prelude=LOADED, folder=argobots_user) == EXPECTED


def test_the_small_stacks_that_argobots_has_by_default_are_refused(child, argobots_user):
    program = """
        import argobots_user
        del os.environ["ABT_THREAD_STACKSIZE"]
        try:
            argobots_user.run(print, 10, 0, True, 1)
        except RuntimeError as error:
            print(error)
    """
    printed = child("argobots", 1, program, prelude=LOADED, folder=argobots_user)
    assert printed == ["0: refused: the stack is smaller than this interpreter can protect"]


def test_argobots_tells_the_bounds_of_those_that_did_not_enter(child, argobots_user):
    """With the tool interface: without it they are not protected, and nothing is promised."""
    program = """
        import argobots_user
        seen = set()

        def work(number):
            stack = stackwarden.current_stack()
            here = stackwarden._core._stack_pointer()
            seen.add((stack.base <= here < stack.top, WORKLOADS["add"].run()))

        if argobots_user.run(print, 0, 0, False, 1):
            argobots_user.run(work, 20, 0, False, 1)
        else:
            seen.add((True, "RecursionError"))
        print(seen)
    """
    printed = child("argobots", 1, program, prelude=LOADED, folder=argobots_user)
    assert printed == ["{(True, 'RecursionError')}"]


def test_python_on_user_threads_of_massivethreads(child, headers_of, count):
    """Child first: the main program is stolen each time that it makes one, and comes home."""
    folder = extensions.build(
        [HERE / "massivethreads_user.c"],
        "massivethreads_user",
        include=[headers_of("massivethreads")],
    ).parent
    program = (
        WORK
        + "    import massivethreads_user; massivethreads_user.run(work, 500, 5, WORKERS)"
        + REPORT
    )
    assert child("massivethreads", count, program, prelude=LOADED, folder=folder) == EXPECTED


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_headers_compile_as_what_they_say(headers_of, system, language, tmp_path):
    source = tmp_path / f"includes.{language.replace('+', 'p')}"
    source.write_text(f"#include <stackwarden/{system}.h>\n")
    commands.output(
        *extensions.compiler(language), f"-I{headers_of(system)}", "-fsyntax-only", source
    )
