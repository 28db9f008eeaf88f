"""Budgets: how much of its thread's stack one greenlet may use.

The twin of each greenlet with a budget is one without, which goes as deep as the thread itself may.
"""

import sys
import textwrap

import pytest

from availability import unavailable

try:
    import greenlet  # noqa: F401
except ImportError as error:
    unavailable("greenlet", str(error))

LEVELS = """
import sys
from greenlet import getcurrent, greenlet
import stackwarden
from stackwarden import adapters

sys.setrecursionlimit(10**7)
KIB = 1024

class Sum:
    calls = 0
    def __add__(self, other):
        Sum.calls += 1
        return self + other

def levels():
    Sum.calls = 0
    try:
        Sum() + 1
    except RecursionError:
        return Sum.calls

def limited(function, budget):
    one = greenlet(function)
    adapters.greenlet.record_of(one).budget = budget
    return one

def near(one, other):
    return abs(one - other) <= 16
"""
INSTALLED = LEVELS + "adapters.install('greenlet')\n"

pointed = pytest.mark.skipif(sys.version_info < (3, 14, 1), reason="CPython has no such bounds")


@pytest.fixture
def run(child):
    def lines(program, prelude=INSTALLED):
        return child(prelude + textwrap.dedent(program)).stdout.splitlines()

    return lines


@pointed
def test_a_greenlet_with_a_budget_ends_where_a_stack_of_that_size_would(run):
    assert run("""
        from stackwarden.adapters.ucontext import Coroutine
        native = levels()
        for size in (128 * KIB, 1024 * KIB):
            on_stack = Coroutine(levels, stack_size=size).resume()
            print(near(limited(levels, size).switch(), on_stack), on_stack < native / 4)
        print(near(limited(levels, None).switch(), native), near(levels(), native))
    """) == ["True True", "True True", "True True"]  # fmt: skip


@pointed
def test_it_holds_after_each_switch_and_for_no_other_greenlet(run):
    assert run("""
        def work():
            found = []
            while len(found) < 3:
                found.append(levels())
                getcurrent().parent.switch()
            inner = limited(levels, None).switch()
            return *found, levels(), inner

        native, few = levels(), limited(levels, 256 * KIB).switch()
        one, outside = limited(work, 256 * KIB), []
        for _ in range(3):
            one.switch()
            outside.append(levels())
        *found, inner = one.switch()
        print(len(found), all(near(count, few) for count in found), near(inner, native))
        print(all(near(count, native) for count in outside), near(levels(), native))
    """) == ["4 True True", "True True"]  # fmt: skip


@pointed
def test_it_is_lifted_on_every_way_out(run):
    assert run("""
        def fails():
            raise KeyError

        def waits():
            getcurrent().parent.switch()

        native = levels()
        for end in ("raise", "throw", "kill", "uninstall"):
            one = limited(fails if end == "raise" else waits, 128 * KIB)
            try:
                one.switch()
                if end == "throw":
                    one.throw(KeyError)
            except KeyError:
                pass
            if end == "uninstall":
                adapters.uninstall("greenlet")
            del one
            print(end, near(levels(), native))
    """) == ["raise True", "throw True", "kill True", "uninstall True"]  # fmt: skip


@pointed
def test_it_can_be_set_from_inside_and_for_all(run):
    assert run("""
        def work():
            record = adapters.greenlet.record_of(getcurrent())
            first, record.budget = levels(), None
            second, record.budget = levels(), "512K"
            return first, second, levels(), record.budget

        adapters.install("greenlet", budget="128K")
        native = levels()
        small, all_there_is, larger, budget = greenlet(work).switch()
        print(small < larger / 3, larger < all_there_is / 4, near(all_there_is, native), budget)
    """, prelude=LEVELS) == ["True True True 524288"]  # fmt: skip


@pointed
def test_what_cannot_be_is_refused(run):
    assert run("""
        def work():
            getcurrent().parent.switch()

        before = greenlet(work)
        before.switch()
        for budget in (1024, "many", "2T", True):
            try:
                adapters.install("greenlet", budget=budget)
            except (stackwarden.StackTooSmallError, stackwarden.StackRangeError, TypeError) as error:
                print(error, adapters.installed())
        adapters.install("greenlet")
        for one in (before, getcurrent()):
            try:
                adapters.greenlet.record_of(one).budget = 128 * KIB
            except ValueError as error:
                print(str(error).rpartition(">")[2])
    """, prelude=LEVELS) == [
        "a budget of 1024 bytes: at least 49152 are needed []",
        "a budget 'many': not a size; write 65536, 256K, 512M or 4G []",
        "a budget of 2199023255552 bytes: must be between 1 and 2**40 (1T) []",
        "a budget must be bytes (int) or a text such as \"512M\", not bool: True []",
        ": it is not known where its stack begins",
        ": it is not known where its stack begins",
    ]  # fmt: skip


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there it can be had")
def test_before_3_14_a_budget_is_refused(run):
    assert run("""
        try:
            adapters.install("greenlet", budget=128 * KIB)
        except stackwarden.errors.SystemUnfitError as error:
            print(error, adapters.installed())
    """, prelude=LEVELS) == [
        "a budget of stack needs CPython 3.14.1 or later (PyUnstable_ThreadState_SetStackProtection) []",
    ]  # fmt: skip
