"""Checks raise StackOverflow before a stack is used up, on every version; unchecked recursion dies."""

import sys
import textwrap

import pytest

import stackwarden
from stackwarden import RecursionOverflow, StackOverflow, check_stack_depth

KIB = 1024
MIB = 1024 * KIB
SIGSEGV = -11

DIVE = """
    import sys, threading
    import stackwarden
    import depth_probe
    from stackwarden.testing.child import in_thread
    if {told}:
        depth_probe.import_table()
    threading.stack_size(1 << 20)
    sys.setrecursionlimit(1000)

    def foreign(function):
        from stackwarden.adapters.ucontext import Coroutine
        return Coroutine(function, stack_size=256 << 10).resume()

    def dive():
        try:
            depth_probe.recurse({how!r}, 512)
        except RecursionError as error:
            return type(error).__name__

    for place in ({places}):
        print(place(dive))
"""


def dive(how, *, told=True, places="in_thread, foreign"):
    return textwrap.dedent(DIVE.format(how=how, told=told, places=places))


def overflow_of(diver, how="check", frame=512, where=None):
    with pytest.raises(StackOverflow) as caught:
        diver.recurse(how, frame, where)
    return caught.value


def test_a_check_raises_while_something_is_left(somewhere, diver):
    def work():
        stack = stackwarden.current_stack()
        return stack, [overflow_of(diver, where=" in a test") for _ in range(2)]

    stack, errors = somewhere(work)
    for error in errors:
        assert error.size == stack.size
        assert error.margin >= 32 * KIB
        assert 0 <= error.used - (error.size - error.margin) < 4 * KIB
        assert str(error) == f"Stack overflow (used {error.used} of {error.size} bytes) in a test"


def test_the_exception_names_the_stack(probe, diver):
    base = probe.map_memory(MIB)
    with stackwarden.register_stack(base, MIB, name="fiber 7"):
        error = probe.call_on(base, MIB, lambda: overflow_of(diver))
        assert (error.name, error.size) == ("fiber 7", MIB)
        stackwarden.reset_stack()
    assert overflow_of(diver).name is None
    probe.unmap_memory(base, MIB)


def test_unchecked_recursion_dies(child, diver):
    child(dive("none"), ends=SIGSEGV)


@pytest.mark.parametrize("how", ["check", "count"])
def test_checked_recursion_does_not(child, diver, how):
    first = "StackOverflow" if how == "check" else "RecursionOverflow"  # 1 MiB holds 1,000 calls
    assert child(dive(how)).stdout.splitlines() == [first, "StackOverflow"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there CPython counts, and 1 MiB is less")
def test_without_the_package_the_header_asks_cpython(child, diver):
    seen = child(dive("count", told=False, places="in_thread,"))
    assert seen.stdout.splitlines() == ["RecursionError"]


def test_calls_are_counted_against_the_users_limit(diver):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        for _ in range(2):  # nothing stays counted
            with pytest.raises(RecursionOverflow, match="maximum recursion depth exceeded in C"):
                diver.recurse("count", 16, " in C")
        calls, *_ = diver.recurse("count", 16, None, 50)
    finally:
        sys.setrecursionlimit(before)
    assert calls == 50


def test_python_says_the_same(somewhere):
    class Deeper:
        def __lt__(self, other):
            check_stack_depth(" in __lt__")
            return sorted([Deeper(), Deeper()]) is None

    def work():
        sys.setrecursionlimit(10**6)
        with pytest.raises(RecursionError) as caught:
            sorted([Deeper(), Deeper()])
        return caught.value

    before = sys.getrecursionlimit()
    try:
        error = somewhere(work)
    finally:
        sys.setrecursionlimit(before)
    if sys.version_info >= (3, 14):
        assert "Stack overflow" in str(error)


def test_a_check_looks_at_the_budget(somewhere, diver):
    def work():
        with stackwarden.stack_budget(100 * KIB):
            first = diver.look()[0]
            return first, overflow_of(diver).used

    first, used = somewhere(work)
    assert 90 * KIB < used - first <= 101 * KIB  # a call is checked once it has its frame


def test_a_check_keeps_the_high_water_mark(probe, diver):
    base = probe.map_memory(MIB)
    with stackwarden.register_stack(base, MIB) as stack:
        _, used, _ = probe.call_on(base, MIB, lambda: diver.recurse("check", KIB, None, 100))
        assert 100 * KIB < stack.high_water <= used
        assert used - stack.high_water < 2 * KIB
        stackwarden.reset_stack()
    probe.unmap_memory(base, MIB)


def test_where_must_be_a_text():
    with pytest.raises((TypeError, AttributeError)):
        check_stack_depth(3)
