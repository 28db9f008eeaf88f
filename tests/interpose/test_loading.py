"""Where foreign code gets the functions from that are interposed, and when it is loaded."""

import signal

import pytest

from foreign import build, run

ON = "stackwarden.interpose()\n"
BEFORE = "import stackwarden\nstackwarden.interpose()\n"
WORK = """
coroutine = foreign.make(workloads.add)
foreign.resume(coroutine)
print(foreign.result(coroutine))
"""

LINKS = {
    "lazily": ["-Wl,-z,lazy", "-Wl,-z,norelro"],
    "lazily, partly read-only": ["-Wl,-z,lazy", "-Wl,-z,relro"],
    "at once, read-only": ["-Wl,-z,now", "-Wl,-z,relro"],
    "without a linkage table": ["-fno-plt", "-Wl,-z,now", "-Wl,-z,relro"],
    "through pointers": ["-DFOREIGN_POINTERS"],
    "by an old hash table": ["-Wl,--hash-style=sysv"],
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("loaded", ["before", "later"])
def test_however_it_was_linked(link, loaded):
    module = build("ucontext", *LINKS[link])
    run(module, WORK, ends=-signal.SIGSEGV)
    done = run(
        module, WORK if loaded == "later" else ON + WORK, first=BEFORE if loaded == "later" else ""
    )
    assert done.stdout.split() == ["RecursionError"]


def test_functions_that_are_looked_up_by_name_are_interposed():
    """PythonCall.jl gets all of CPython's functions so."""
    done = run(
        build("static"),
        ON
        + """
import ctypes

def looked_up(name):
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value

from _stackwarden_start.environment import LIBRARY as library
def owner(address):
    for line in open("/proc/self/maps"):
        low, high = (int(part, 16) for part in line.split()[0].split("-"))
        if low <= address < high:
            return line.split()[-1]

print(owner(looked_up("PyGILState_Ensure")) == library, owner(looked_up("PyObject_Repr")) == library)
""",
    )
    assert done.stdout.split() == ["True", "False"]


def test_what_is_no_function_of_the_tables_is_looked_up_as_before():
    done = run(
        build("static"),
        ON
        + """
import ctypes
print(hasattr(ctypes.CDLL(None), "no_such_function"), ctypes.CDLL("libm.so.6").abs is not None)
try:
    ctypes.CDLL("/no/such/library.so")
except OSError as error:
    print("/no/such/library.so" in str(error))
""",
    )
    assert done.stdout.split() == ["False", "True", "True"]


@pytest.mark.parametrize("link", ["lazily", "at once, read-only", "through pointers"])
def test_on_off_and_on_again(link):
    module = build("ucontext", *LINKS[link])
    lines = """
    def work():
        coroutine = foreign.make(lambda: stackwarden.current_stack().base)
        foreign.resume(coroutine)
        return foreign.result(coroutine) == foreign.bounds(coroutine)[0]

    seen = [work()]
    for _ in range(3):
        with stackwarden.interpose():
            seen.append(work())
        seen.append(work())
    print(*seen)
    """
    expected = ["False"] + ["True", "False"] * 3
    assert run(module, lines).stdout.split() == expected


def test_the_last_one_turns_it_off():
    run(
        build("ucontext"),
        """
        first, second = stackwarden.interpose(), stackwarden.interpose()
        first.undo()
        first.undo()
        assert stackwarden.status()["interposition"] == "on"
        second.undo()
        assert stackwarden.status()["interposition"] == "off"
        """,
    )


def test_read_only_pages_are_read_only_afterwards():
    run(
        build("ucontext", *LINKS["at once, read-only"]),
        """
        def writable():
            name = foreign.__name__
            return [line for line in open("/proc/self/maps") if name in line and "w" in line.split()[1]]
        before = writable()
        with stackwarden.interpose():
            assert writable() == before
        assert writable() == before
        """,
    )
